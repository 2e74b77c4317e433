package payments

import (
	"time"

	"github.com/caddy-axra/paywall/cache"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// Stage is how far the payment of a session has come that is not paid.
type Stage string

// The stages of which Axra sends events.
const (
	Failed     Stage = "failed"
	Processing Stage = "processing"
)

const (
	maxSessions  = 10_000
	progressLife = 24 * time.Hour
)

// Progress remembers the stages of sessions that are not paid, for the visitors who wait. Its memory is bounded: an
// unpaid session costs no storage. It outlives reloads, and is safe for concurrent use.
type Progress struct {
	sessions cache.Cache[*progress]
	now      func() time.Time
}

type progress struct {
	stage Stage
	at    time.Time // as Axra states it
}

// NewProgress returns an empty memory.
func NewProgress(now func() time.Time) *Progress {
	return &Progress{sessions: cache.Expiring[*progress](maxSessions, progressLife), now: now}
}

// Note remembers the stage that an event states. Events come in any order: the one that happened last counts.
func (p *Progress) Note(event webhook.Event, stage Stage) {
	if event.Session == "" {
		return
	}
	at := event.Timestamp.Truncate(time.Millisecond)
	if at.IsZero() {
		at = p.now()
	}
	if known, ok := p.sessions.GetIfPresent(event.Session); ok && known.at.After(at) {
		return
	}
	p.sessions.Set(event.Session, &progress{stage, at})
}

// Of is the stage of a checkout that is not paid; empty: Axra sent no event. A failure from before the visitor
// returned was an earlier attempt in the same checkout, which a successful one followed.
func (p *Progress) Of(entry session.Pending) Stage {
	known, ok := p.sessions.GetIfPresent(entry.Session)
	if !ok || known.stage == Failed && entry.State == session.Returned && !known.at.After(entry.ReturnedAt) {
		return ""
	}
	return known.stage
}

// Forget forgets a session, which is paid.
func (p *Progress) Forget(sessionID string) { p.sessions.Invalidate(sessionID) }

// Destruct ends the background work of the memory.
func (p *Progress) Destruct() error {
	p.sessions.StopAllGoroutines()
	return nil
}
