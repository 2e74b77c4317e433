package sandbox

import (
	"encoding/json"
	"strings"
)

// The names of the events. [manage/webhooks, manage/disputes, payments/local-rails-checkout]
const (
	EventPaymentCompleted     = "payment.completed"
	EventPaymentFailed        = "payment.failed"
	EventPaymentSettled       = "payment.settled"
	EventPaymentRefunded      = "payment.refunded"
	EventPaymentDisputed      = "payment.disputed"
	EventDisputeWon           = "payment.dispute_won"
	EventDisputeLost          = "payment.dispute_lost"
	EventLocalSession         = "payment_link.session.completed"
	EventCollectionCreated    = "collection.created"
	EventCollectionProcessing = "collection.processing"
	EventCollectionCompleted  = "collection.completed"
	EventCollectionFailed     = "collection.failed"
	EventCollectionExpired    = "collection.expired"
)

// envelope is the body of every webhook. [manage/webhooks]
type envelope struct {
	Event     string    `json:"event"`
	Timestamp string    `json:"timestamp"`
	Data      eventData `json:"data"`
}

// eventData is the union of what the events carry. Only metadata is documented;
// the other names are a guess.
type eventData struct {
	PaymentID     string                     `json:"paymentId,omitempty"`
	CollectionID  string                     `json:"collectionId,omitempty"`
	SessionID     string                     `json:"sessionId,omitempty"`
	Amount        json.Number                `json:"amount"`
	Currency      string                     `json:"currency"`
	Status        Status                     `json:"status"`
	FailureReason string                     `json:"failureReason,omitempty"`
	Metadata      map[string]json.RawMessage `json:"metadata,omitempty"`
}

// emitPayment sends an event about a payment. Callers hold mu.
func (s *Sandbox) emitPayment(name string, p *Payment) {
	data := eventData{
		PaymentID:     p.ID,
		SessionID:     p.SessionID,
		Amount:        p.Amount,
		Currency:      s.eventCurrency(p.Currency),
		Status:        p.Status,
		FailureReason: p.Reason,
		Metadata:      p.Metadata,
	}
	switch name {
	case EventPaymentCompleted, EventPaymentFailed, EventLocalSession:
	default:
		if s.cfg.BareAftermath {
			data.SessionID, data.Metadata = "", nil
		}
	}
	s.emit(name, p.SessionID, data)
}

// emitCollection sends an event about a collection. Callers hold mu.
func (s *Sandbox) emitCollection(name string, c *Collection) {
	s.emit(name, c.SessionID, eventData{
		CollectionID: c.ID,
		SessionID:    c.SessionID,
		Amount:       c.Amount,
		Currency:     s.eventCurrency(c.Currency),
		Status:       c.Status,
		Metadata:     c.Metadata,
	})
}

// emit queues an event for delivery. Callers hold mu.
func (s *Sandbox) emit(name, sessionID string, data eventData) {
	body, err := encodeJSON(envelope{Event: name, Timestamp: isoTime(s.now()), Data: data})
	if err != nil {
		// Every part was decoded from valid JSON, so this is a bug of the sandbox.
		s.log.Error("event lost", "event", name, "error", err)
		return
	}
	s.post(Event{Body: body}, name, sessionID, data.PaymentID)
}

func (s *Sandbox) eventCurrency(code string) string {
	if s.cfg.LowercaseCurrency {
		return code
	}
	return strings.ToUpper(code)
}
