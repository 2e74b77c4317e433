package payments

import (
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// Stage is how far the payment of an unpaid session has come.
type Stage string

// The stages that Axra reports by events.
const (
	Failed     Stage = "failed"
	Processing Stage = "processing"
)

const (
	maxSessions  = 10_000
	progressLife = 24 * time.Hour
)

// Progress remembers the stages of unpaid sessions, for waiting visitors. Its memory is bounded, since an unpaid session
// must cost no storage. It survives reloads, and is safe for concurrent use.
type Progress struct {
	sessions *otter.Cache[string, any] // of progress
	now      func() time.Time
}

type progress struct {
	stage Stage
	at    time.Time // Axra's timestamp
}

// NewProgress returns an empty Progress.
func NewProgress(now func() time.Time) *Progress {
	return &Progress{sessions: otter.Must(&otter.Options[string, any]{
		MaximumSize: maxSessions, ExpiryCalculator: otter.ExpiryWriting[string, any](progressLife),
	}), now: now}
}

// Note remembers the stage that an event reports. Events come in any order: the one with the latest timestamp counts.
func (p *Progress) Note(event webhook.Event, stage Stage) {
	if event.Session == "" {
		return
	}
	at := event.Timestamp.Truncate(time.Millisecond)
	if at.IsZero() {
		at = p.now()
	}
	if !p.find(event.Session).at.After(at) {
		p.sessions.Set(event.Session, progress{stage, at})
	}
}

func (p *Progress) find(sessionID string) progress {
	found, _ := p.sessions.GetIfPresent(sessionID)
	known, _ := found.(progress)
	return known
}

// Of returns the stage of an unpaid checkout; empty if Axra sent no event. It ignores a failure from before the visitor
// returned: a successful attempt in the same checkout followed it.
func (p *Progress) Of(entry session.Pending) Stage {
	known := p.find(entry.Session)
	if known.stage == Failed && entry.State == session.Returned && !known.at.After(entry.ReturnedAt) {
		return ""
	}
	return known.stage
}

// Forget drops a session that has been paid.
func (p *Progress) Forget(sessionID string) { p.sessions.Invalidate(sessionID) }

// Destruct stops the background work of the cache.
func (p *Progress) Destruct() error {
	p.sessions.StopAllGoroutines()
	return nil
}
