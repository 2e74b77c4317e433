package sandbox

import (
	"fmt"
	"math/rand/v2"
)

// MaxCopies bounds Mode.Copies.
const MaxCopies = 1000

// Mode says how webhooks leave the sandbox.
type Mode struct {
	// Hold queues webhooks until Release.
	Hold bool `json:"hold"`
	// Copies is how often each event is delivered; 0 and 1 both mean once.
	Copies int `json:"duplicate"`
	// Shuffle makes Release send in random order, one after the other, instead of
	// in the order of the events.
	Shuffle bool `json:"shuffle"`
}

// Mode returns how webhooks leave the sandbox at present.
func (s *Sandbox) Mode() Mode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode
}

// SetMode changes how webhooks leave the sandbox. Turning Hold off releases
// what was held.
func (s *Sandbox) SetMode(m Mode) error {
	if m.Copies < 0 || m.Copies > MaxCopies {
		return fmt.Errorf("%d copies: %w", m.Copies, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
	if !m.Hold {
		s.release()
	}
	s.changed()
	return nil
}

// Hold queues webhooks from now on. Deliveries under way go on.
func (s *Sandbox) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode.Hold = true
	s.changed()
}

// Release sends what was held and holds no longer.
func (s *Sandbox) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode.Hold = false
	s.release()
	s.changed()
}

// release starts the held deliveries. Callers hold mu.
func (s *Sandbox) release() {
	var held []*delivery
	for d := range s.deliveries.all() {
		if d.Status == StatusHeld {
			held = append(held, d)
		}
	}
	if s.mode.Shuffle {
		rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		// One after the other: side by side, the network would choose the order.
		var after <-chan struct{}
		for _, d := range held {
			d.after, after = after, d.tried
		}
	}
	for _, d := range held {
		s.start(d)
	}
}

// Resend delivers once more, whatever became of the delivery so far: it sends a
// held one without releasing the others, repeats a delivered one, and tries a
// pending one at once.
func (s *Sandbox) Resend(deliveryID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.deliveries.find("delivery", deliveryID)
	if err != nil {
		return err
	}
	if s.closed {
		return ErrClosed
	}
	if d.stop != nil && d.Status == StatusPending {
		select {
		case d.wake <- struct{}{}:
		default: // it is awake
		}
		return nil
	}
	if d.stop != nil { // it has just ended, and its goroutine is signing off
		d.again = true
		return nil
	}
	d.after = nil // what it waited for may be held
	s.start(d)
	s.changed()
	return nil
}

// SetWebhookURL is PUT /business/config without the API.
func (s *Sandbox) SetWebhookURL(target string) error {
	if err := checkURL(target); err != nil {
		return fmt.Errorf("webhook URL: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhookURL, s.configuredURL = target, target
	s.changed()
	return nil
}

// WebhookURL returns where webhooks go; empty for nowhere.
func (s *Sandbox) WebhookURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhookURL
}

// SetWebhookSecret changes what signs from the next attempt on, as when a
// merchant rotates the secret. It lasts until Reset.
func (s *Sandbox) SetWebhookSecret(secret string) error {
	if secret == "" {
		return fmt.Errorf("empty webhook secret: %w", ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhookSecret = secret
	return nil
}
