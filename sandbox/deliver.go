package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// maxPosts bounds the webhook requests on the wire.
	maxPosts = 64
	// maxAttemptsKept bounds the attempts remembered per delivery.
	maxAttemptsKept = 50
)

// Event is what Send delivers.
type Event struct {
	// Body is sent byte for byte.
	Body []byte
	// Secret signs the body; empty means the sandbox's webhook secret.
	Secret string
	// Header is set after the signature and so can replace it.
	Header map[string]string
}

// Delivery is one copy of one event on its way to the webhook URL.
type Delivery struct {
	ID        string    `json:"deliveryId"`
	Event     string    `json:"event"` // as the body says; empty when it says nothing
	SessionID string    `json:"sessionId,omitempty"`
	PaymentID string    `json:"paymentId,omitempty"`
	Status    Status    `json:"status"`
	CreatedAt time.Time `json:"createdAt"`
	Body      []byte    `json:"body"` // the exact bytes; base64 in JSON
	// Tried counts all attempts; Attempts keeps the newest of them.
	Tried    int       `json:"tried"`
	Attempts []Attempt `json:"attempts"`

	Secret string            `json:"secret,omitempty"` // Event.Secret
	Header map[string]string `json:"header,omitempty"` // Event.Header
}

// Attempt is one webhook request.
type Attempt struct {
	Number int       `json:"number"` // 1 for the first
	Time   time.Time `json:"time"`
	Status int       `json:"status,omitempty"` // 0 when there was no answer
	Error  string    `json:"error,omitempty"`
}

// delivery is a Delivery with what need not survive a restart.
type delivery struct {
	Delivery
	after <-chan struct{} // the first attempt waits for this; nil for nothing
	tried chan struct{}   // closed after the first attempt, or when there will be none
	once  sync.Once       // closes tried
	wake  chan struct{}   // cuts a pause between attempts short
	stop  context.CancelFunc
	again bool // finish starts it anew
}

func newDelivery(d Delivery) *delivery {
	return &delivery{Delivery: d, tried: make(chan struct{}), wake: make(chan struct{}, 1)}
}

func (d *delivery) markTried() { d.once.Do(func() { close(d.tried) }) }

// drop gives a delivery up. Callers hold mu.
func (d *delivery) drop() {
	if d.stop != nil {
		d.stop()
	}
	d.markTried()
}

// Deliveries returns what is remembered, oldest first.
func (s *Sandbox) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Delivery, 0, s.deliveries.len())
	for d := range s.deliveries.all() {
		out = append(out, d.snapshot())
	}
	return out
}

func (d *delivery) snapshot() Delivery {
	out := d.Delivery
	out.Attempts = slices.Clone(d.Attempts)
	return out
}

// Send delivers an event of the caller's making: signed, retried, held and
// duplicated like any other. It returns the ids of the deliveries.
func (s *Sandbox) Send(e Event) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var peek struct {
		Event string `json:"event"`
	}
	// A body that is no JSON has no name, and is sent all the same.
	_ = json.Unmarshal(e.Body, &peek)
	return s.post(e, peek.Event, "", ""), nil
}

// post makes the deliveries of an event and starts them, unless webhooks are
// held. The copies of one event go out side by side; the same session's next
// event waits until the first copy was tried, so that events normally arrive in
// order. Callers hold mu.
func (s *Sandbox) post(e Event, name, sessionID, paymentID string) []string {
	sess := s.sessions.byID[sessionID]
	var after <-chan struct{}
	if sess != nil {
		after = sess.lastTried
	}
	var ids []string
	for i := range max(s.mode.Copies, 1) {
		d := newDelivery(Delivery{
			ID:        newID("dlv_", s.now()),
			Event:     name,
			SessionID: sessionID,
			PaymentID: paymentID,
			Status:    StatusHeld,
			CreatedAt: s.now(),
			Body:      e.Body,
			Secret:    e.Secret,
			Header:    e.Header,
		})
		d.after = after
		if i == 0 && sess != nil {
			sess.lastTried = d.tried
		}
		s.remember(d)
		if !s.mode.Hold {
			s.start(d)
		}
		ids = append(ids, d.ID)
	}
	s.changed()
	return ids
}

// remember gives up the delivery that has to make room. Callers hold mu.
func (s *Sandbox) remember(d *delivery) {
	if old, full := s.deliveries.add(d.ID, d); full {
		old.drop()
	}
}

// start sets a delivery going. Callers hold mu.
func (s *Sandbox) start(d *delivery) {
	if d.stop != nil {
		return // it is going already
	}
	if s.webhookURL == "" {
		d.Status = StatusUnsent
		d.markTried()
		return
	}
	d.Status = StatusPending
	ctx, stop := context.WithCancel(s.ctx)
	after := d.after
	if !s.spawn(func() { s.deliver(ctx, d, after) }) {
		stop()
		return // closed: it stays pending for the next start
	}
	d.stop = stop
	if s.active++; s.active == 1 {
		s.idle = make(chan struct{})
	}
}

// deliver tries until the answer is 2xx, the attempts are used up, or ctx ends.
func (s *Sandbox) deliver(ctx context.Context, d *delivery, after <-chan struct{}) {
	defer s.finish(d)
	if after != nil {
		select {
		case <-after:
		case <-ctx.Done():
			return
		}
	}
	for tries := 1; ; tries++ {
		done := s.try(ctx, d)
		d.markTried()
		if done || ctx.Err() != nil {
			return
		}
		if tries >= s.cfg.MaxAttempts {
			s.giveUp(d)
			return
		}
		delay := s.cfg.RetryDelays[min(tries, len(s.cfg.RetryDelays))-1]
		if !pause(ctx, delay, d.wake) {
			return
		}
	}
}

// finish signs a delivery's goroutine off.
func (s *Sandbox) finish(d *delivery) {
	d.markTried()
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.stop = nil
	s.active--
	if d.again {
		d.again, d.after = false, nil
		s.start(d)
	}
	if s.active == 0 {
		close(s.idle)
	}
}

// pause waits, and reports whether there is a reason to go on.
func pause(ctx context.Context, delay time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// try makes one attempt and records it. It reports whether the answer was 2xx.
func (s *Sandbox) try(ctx context.Context, d *delivery) bool {
	select {
	case s.posts <- struct{}{}:
		defer func() { <-s.posts }()
	case <-ctx.Done():
		return false
	}
	s.mu.Lock()
	target, secret := s.webhookURL, or(d.Secret, s.webhookSecret)
	s.mu.Unlock()

	status, err := s.postOnce(ctx, target, secret, d)
	if ctx.Err() != nil {
		return false // Close, Reset or eviction cut it off: that is no attempt
	}
	return s.recordAttempt(d, status, err)
}

func (s *Sandbox) recordAttempt(d *delivery, status int, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Tried++
	attempt := Attempt{Number: d.Tried, Time: s.now(), Status: status}
	if err != nil {
		attempt.Error = err.Error()
	}
	if len(d.Attempts) == maxAttemptsKept {
		d.Attempts = d.Attempts[1:]
	}
	d.Attempts = append(d.Attempts, attempt)
	success := err == nil && status >= 200 && status < 300
	if success {
		d.Status = StatusDelivered
	}
	s.changed()
	s.log.Info("webhook sent", "event", d.Event, "delivery", d.ID, "attempt", attempt.Number, "status", status, "error", attempt.Error)
	return success
}

func (s *Sandbox) giveUp(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Status = StatusFailed
	s.changed()
}

// postOnce sends the webhook. Of a delivery it reads only what never changes.
func (s *Sandbox) postOnce(ctx context.Context, target, secret string, d *delivery) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(d.Body))
	if err != nil {
		return 0, fmt.Errorf("building the webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "axra-sandbox")
	s.sign(req.Header, secret, d.Body)
	for name, value := range d.Header {
		req.Header.Set(name, value)
	}
	resp, err := s.cfg.Client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("sending the webhook: %w", err)
	}
	defer resp.Body.Close()
	// Reading to the end lets the connection be used again; the answer counts
	// for nothing, so that an endless one is left alone.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return resp.StatusCode, nil
}

// Idle waits until every delivery is delivered, given up, held or unsent. It
// returns the error of ctx when that comes first.
func (s *Sandbox) Idle(ctx context.Context) error {
	for {
		s.mu.Lock()
		idle, active := s.idle, s.active
		s.mu.Unlock()
		if active == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d deliveries: %w", active, ctx.Err())
		}
	}
}
