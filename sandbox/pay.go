package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// PayWith says how Pay pays.
type PayWith struct {
	// Card is the card's number, with or without spaces.
	Card string `json:"card"`
	// Approve answers the 3-D Secure question, if one is asked.
	Approve bool `json:"approve"`
	// Local pays by bank transfer or mobile money instead of a card.
	Local bool `json:"local"`
}

// Outcome is what came of an attempt to pay.
type Outcome struct {
	Status       OutcomeStatus `json:"status"`
	Redirect     string        `json:"redirect,omitempty"` // where the customer is sent; empty after a failure
	PaymentID    string        `json:"paymentId,omitempty"`
	CollectionID string        `json:"collectionId,omitempty"`
	Message      string        `json:"message,omitempty"` // what the customer reads after a failure
}

// OutcomeStatus names what came of an attempt to pay.
type OutcomeStatus string

// The outcomes.
const (
	OutcomePaid       OutcomeStatus = "paid"
	OutcomeDeclined   OutcomeStatus = "declined"   // the session stays open
	OutcomeProcessing OutcomeStatus = "processing" // a local payment is under way
	OutcomeChallenge  OutcomeStatus = "challenge"  // the bank asks; Pay answers it itself
)

// Pay does what a customer does on the checkout page.
func (s *Sandbox) Pay(sessionID string, with PayWith) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.payable(sessionID)
	if err != nil {
		return Outcome{}, err
	}
	if with.Local {
		return s.payLocally(rec)
	}
	out := s.payByCard(rec, cardDigits(with.Card))
	if out.Status == OutcomeChallenge {
		out = s.answerChallenge(rec, with.Approve)
	}
	return out, nil
}

// CancelSession does what the checkout page's "Cancel" does, and returns where
// the customer is sent; empty when the session has no cancelUrl.
func (s *Sandbox) CancelSession(id string) (redirect string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.payable(id)
	if err != nil {
		return "", err
	}
	rec.Challenge = ""
	if s.cfg.CancelCloses {
		rec.Status = StatusCancelled
	}
	s.changed()
	return rec.CancelURL, nil
}

// ExpireSession ends a session's time now.
func (s *Sandbox) ExpireSession(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.payable(id)
	if err != nil {
		return err
	}
	rec.ExpiresAt = s.now()
	s.changed()
	return nil
}

// payable finds a session that can be paid now. Callers hold mu.
func (s *Sandbox) payable(id string) (*session, error) {
	rec, err := s.sessions.find("session", id)
	if err != nil {
		return nil, err
	}
	if status := s.view(rec).Status; status != StatusOpen {
		return nil, fmt.Errorf("session %q is %s: %w", id, status, ErrConflict)
	}
	return rec, nil
}

// payByCard charges a card or asks the bank. Callers hold mu.
func (s *Sandbox) payByCard(rec *session, digits string) Outcome {
	card := lookUpCard(digits)
	rec.Challenge = "" // another card ends the question about the last one
	if card.challenge {
		rec.Challenge = digits
		s.changed()
		return Outcome{Status: OutcomeChallenge}
	}
	return s.charge(rec, card.failure)
}

// answerChallenge ends the 3-D Secure question of a session. Callers hold mu.
func (s *Sandbox) answerChallenge(rec *session, approve bool) Outcome {
	card := lookUpCard(rec.Challenge)
	rec.Challenge = ""
	if !approve && card.failure == "" {
		card.failure = "3-D Secure authentication was declined."
	}
	return s.charge(rec, card.failure)
}

// charge records a payment and tells the merchant. A failed one leaves the
// session open. Callers hold mu.
func (s *Sandbox) charge(rec *session, failure string) Outcome {
	p := s.newPayment(rec, StatusCompleted)
	if failure != "" {
		p.Status, p.Reason = StatusFailed, failure
		s.emitPayment(EventPaymentFailed, p)
		return Outcome{Status: OutcomeDeclined, PaymentID: p.ID, Message: failure}
	}
	rec.Status = StatusCompleted
	s.emitPayment(EventPaymentCompleted, p)
	return Outcome{Status: OutcomePaid, PaymentID: p.ID, Redirect: rec.successRedirect()}
}

// newPayment remembers a payment. Callers hold mu.
func (s *Sandbox) newPayment(rec *session, status Status) *Payment {
	p := &Payment{
		ID:        newID("bpay_", s.now()),
		SessionID: rec.ID,
		Status:    status,
		Amount:    rec.Amount,
		Currency:  rec.Currency,
		CreatedAt: s.now(),
		Metadata:  rec.Metadata,
	}
	s.payments.add(p.ID, p)
	s.changed()
	s.log.Info("payment", "payment", p.ID, "session", rec.ID, "status", status)
	return p
}

// successRedirect is where a customer goes after paying. The placeholder is
// replaced as plain text. [payments/checkout-sessions]
func (rec *Session) successRedirect() string {
	return strings.ReplaceAll(rec.SuccessURL, "{SESSION_ID}", rec.ID)
}

// payLocally starts a payment over a local rail: the customer goes back at
// once, the money comes later. [payments/local-rails-checkout] Callers hold mu.
func (s *Sandbox) payLocally(rec *session) (Outcome, error) {
	if !isLocal(rec.Currency) {
		return Outcome{}, fmt.Errorf("no local payment in %q: %w", rec.Currency, ErrInvalid)
	}
	rec.Status, rec.Challenge = StatusProcessing, ""
	c := &Collection{
		ID:        newID("lcoll_", s.now()),
		SessionID: rec.ID,
		Status:    StatusOpen,
		Amount:    rec.Amount,
		Currency:  rec.Currency,
		CreatedAt: s.now(),
		Metadata:  rec.Metadata,
	}
	s.collections.add(c.ID, c)
	s.emitCollection(EventCollectionCreated, c)
	c.Status = StatusProcessing
	s.emitCollection(EventCollectionProcessing, c)
	out := Outcome{Status: OutcomeProcessing, CollectionID: c.ID, Redirect: rec.successRedirect()}
	switch {
	case s.cfg.SettleAfter == SettleByHand:
	case s.cfg.SettleAfter < 0: // SettleAtOnce
		out.Status = OutcomePaid
		out.PaymentID = s.complete(c)
	default:
		c.SettleAt = s.now().Add(s.cfg.SettleAfter)
		s.settleLater(c.ID, s.cfg.SettleAfter)
	}
	s.changed()
	return out, nil
}

// settleLater completes a collection after a delay, if nobody has ended it
// otherwise by then. Callers hold mu.
func (s *Sandbox) settleLater(id string, delay time.Duration) {
	s.spawn(func() {
		if !pause(s.ctx, delay, nil) {
			return
		}
		if err := s.CompleteCollection(id); err != nil {
			s.log.Debug("collection not completed", "collection", id, "reason", err)
		}
	})
}

// CompleteCollection lets the money of a local payment arrive.
func (s *Sandbox) CompleteCollection(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.processing(id)
	if err != nil {
		return err
	}
	s.complete(c)
	return nil
}

// FailCollection lets a local payment fail; its session is open again.
func (s *Sandbox) FailCollection(id string) error {
	return s.endCollection(id, StatusFailed, EventCollectionFailed)
}

// ExpireCollection lets a local payment run out of time; its session is open
// again, unless its own time is over.
func (s *Sandbox) ExpireCollection(id string) error {
	return s.endCollection(id, StatusExpired, EventCollectionExpired)
}

// complete sends the three events of a local payment that arrived, and returns
// the payment's id. Callers hold mu.
func (s *Sandbox) complete(c *Collection) string {
	c.Status = StatusCompleted
	s.emitCollection(EventCollectionCompleted, c)
	rec := s.sessions.byID[c.SessionID]
	if rec == nil { // forgotten meanwhile: the money came all the same
		rec = &session{Session: Session{ID: c.SessionID, Amount: c.Amount, Currency: c.Currency, Metadata: c.Metadata}}
	}
	rec.Status = StatusCompleted
	p := s.newPayment(rec, StatusCompleted)
	s.emitPayment(EventLocalSession, p)
	s.emitPayment(EventPaymentCompleted, p)
	return p.ID
}

func (s *Sandbox) endCollection(id string, status Status, event string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.processing(id)
	if err != nil {
		return err
	}
	c.Status = status
	if rec := s.sessions.byID[c.SessionID]; rec != nil {
		rec.Status = StatusOpen
	}
	s.emitCollection(event, c)
	s.changed()
	return nil
}

// processing finds a collection that is still under way. Callers hold mu.
func (s *Sandbox) processing(id string) (*Collection, error) {
	c, err := s.collections.find("collection", id)
	if err != nil {
		return nil, err
	}
	if c.Status != StatusProcessing {
		return nil, fmt.Errorf("collection %q is %s: %w", id, c.Status, ErrConflict)
	}
	return c, nil
}
