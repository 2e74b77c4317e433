package sandbox

import (
	"fmt"
	"slices"
)

// Settle clears the funds of a payment. [manage/webhooks]
func (s *Sandbox) Settle(paymentID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.payment(paymentID, StatusCompleted, StatusDisputeWon)
	if err != nil {
		return err
	}
	if p.Settled {
		return fmt.Errorf("payment %q is settled: %w", paymentID, ErrConflict)
	}
	p.Settled = true
	s.emitPayment(EventPaymentSettled, p)
	return nil
}

// Refund gives a payment back.
func (s *Sandbox) Refund(paymentID string) error {
	return s.move(paymentID, StatusRefunded, EventPaymentRefunded, StatusCompleted, StatusDisputeWon)
}

// Dispute opens a chargeback. [manage/disputes]
func (s *Sandbox) Dispute(paymentID string) error {
	return s.move(paymentID, StatusDisputed, EventPaymentDisputed, StatusCompleted)
}

// Win ends a dispute in the merchant's favour. [manage/disputes]
func (s *Sandbox) Win(paymentID string) error {
	return s.move(paymentID, StatusDisputeWon, EventDisputeWon, StatusDisputed)
}

// Lose ends a dispute in the customer's favour. [manage/disputes]
func (s *Sandbox) Lose(paymentID string) error {
	return s.move(paymentID, StatusDisputeLost, EventDisputeLost, StatusDisputed)
}

// move takes a payment from one of the given statuses to the next, and tells
// the merchant.
func (s *Sandbox) move(id string, to Status, event string, from ...Status) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.payment(id, from...)
	if err != nil {
		return err
	}
	p.Status = to
	s.emitPayment(event, p)
	return nil
}

// payment finds a payment in one of the given statuses. Callers hold mu.
func (s *Sandbox) payment(id string, in ...Status) (*Payment, error) {
	p, err := s.payments.find("payment", id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(in, p.Status) {
		return nil, fmt.Errorf("payment %q is %s: %w", id, p.Status, ErrConflict)
	}
	return p, nil
}
