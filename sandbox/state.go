package sandbox

import (
	"encoding/json"
	"time"
)

// Session is a checkout session. [payments/checkout-sessions]
type Session struct {
	ID            string                     `json:"sessionId"`
	CheckoutURL   string                     `json:"checkoutUrl"`
	Token         string                     `json:"token"` // the secret in CheckoutURL
	Status        Status                     `json:"status"`
	Amount        json.Number                `json:"amount"`
	Currency      string                     `json:"currency"`
	SuccessURL    string                     `json:"successUrl"`
	CancelURL     string                     `json:"cancelUrl,omitempty"`
	Description   string                     `json:"description,omitempty"`
	CustomerEmail string                     `json:"customerEmail,omitempty"`
	Metadata      map[string]json.RawMessage `json:"metadata"`
	CreatedAt     time.Time                  `json:"createdAt"`
	ExpiresAt     time.Time                  `json:"expiresAt"`
	// Challenge is the test card whose 3-D Secure question is unanswered.
	Challenge string `json:"challenge,omitempty"`
}

// Payment is one attempt to pay a session that reached the bank.
type Payment struct {
	ID        string      `json:"paymentId"`
	SessionID string      `json:"sessionId"`
	Status    Status      `json:"status"`
	Settled   bool        `json:"settled"`
	Amount    json.Number `json:"amount"`
	Currency  string      `json:"currency"`
	Reason    string      `json:"failureReason,omitempty"`
	CreatedAt time.Time   `json:"createdAt"`
	// Metadata repeats the session's, which may be forgotten before the payment is.
	Metadata map[string]json.RawMessage `json:"metadata"`
}

// Collection is a payment over a local rail. [payments/local-rails-checkout]
type Collection struct {
	ID        string      `json:"collectionId"`
	SessionID string      `json:"sessionId"`
	Status    Status      `json:"status"`
	Amount    json.Number `json:"amount"`
	Currency  string      `json:"currency"`
	CreatedAt time.Time   `json:"createdAt"`
	// SettleAt is when it completes by itself; zero means that it never does.
	SettleAt time.Time                  `json:"settleAt,omitzero"`
	Metadata map[string]json.RawMessage `json:"metadata"`
}

// Status is where a session, a payment, a collection or a delivery stands.
type Status string

// The statuses of sessions, payments and collections.
const (
	StatusOpen        Status = "open"         // session: can be paid
	StatusProcessing  Status = "processing"   // session, collection: a local payment is under way
	StatusCompleted   Status = "completed"    // session, payment, collection
	StatusCancelled   Status = "cancelled"    // session: cancelled for good (Config.CancelCloses)
	StatusExpired     Status = "expired"      // session (by the clock), collection
	StatusFailed      Status = "failed"       // payment, collection; delivery: given up
	StatusRefunded    Status = "refunded"     // payment
	StatusDisputed    Status = "disputed"     // payment
	StatusDisputeWon  Status = "dispute_won"  // payment
	StatusDisputeLost Status = "dispute_lost" // payment
)

// The statuses of deliveries, beside StatusFailed.
const (
	StatusHeld      Status = "held"      // waits for Release
	StatusPending   Status = "pending"   // on its way, or waiting for the next attempt
	StatusDelivered Status = "delivered" // answered with 2xx
	StatusUnsent    Status = "unsent"    // no webhook URL was set
)

// session is a Session with what need not survive a restart.
type session struct {
	Session
	// lastTried is closed once the newest event of this session was tried for
	// the first time; the next event waits for it.
	lastTried <-chan struct{}
}

// state is everything that Sandbox.mu guards.
type state struct {
	webhookURL    string // Config.WebhookURL or what PUT /business/config set
	configuredURL string // only what PUT /business/config set
	webhookSecret string
	mode          Mode
	fault         Fault

	sessions    *book[*session]
	payments    *book[*Payment]
	collections *book[*Collection]
	deliveries  *book[*delivery]

	calls  []Call
	counts map[string]int // of API calls, by route
	served int            // API calls ever, numbers the log

	active int           // deliveries with a goroutine
	idle   chan struct{} // closed when active falls to 0
}

func newState(cfg Config) state {
	return state{
		webhookURL:    cfg.WebhookURL,
		webhookSecret: cfg.WebhookSecret,
		mode:          Mode{Copies: 1},
		fault:         Fault{Kind: FaultNone},
		sessions:      newBook[*session](cfg.Keep),
		payments:      newBook[*Payment](cfg.Keep),
		collections:   newBook[*Collection](cfg.Keep),
		deliveries:    newBook[*delivery](cfg.Keep),
		counts:        map[string]int{},
		idle:          make(chan struct{}),
	}
}

// Sessions returns what is remembered, oldest first. An open session whose time
// is over reads as expired.
func (s *Sandbox) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Session, 0, s.sessions.len())
	for rec := range s.sessions.all() {
		out = append(out, s.view(rec))
	}
	return out
}

// Session returns one session, or ErrNotFound.
func (s *Sandbox) Session(id string) (Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.sessions.find("session", id)
	if err != nil {
		return Session{}, err
	}
	return s.view(rec), nil
}

// Payments returns what is remembered, oldest first.
func (s *Sandbox) Payments() []Payment {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Payment, 0, s.payments.len())
	for p := range s.payments.all() {
		out = append(out, *p)
	}
	return out
}

// Collections returns what is remembered, oldest first.
func (s *Sandbox) Collections() []Collection {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Collection, 0, s.collections.len())
	for c := range s.collections.all() {
		out = append(out, *c)
	}
	return out
}

// view returns a copy whose status is true now. Metadata is shared and never
// changed after creation. Callers hold mu.
func (s *Sandbox) view(rec *session) Session {
	out := rec.Session
	if out.Status == StatusOpen && !s.now().Before(out.ExpiresAt) {
		out.Status = StatusExpired
	}
	return out
}

// Reset forgets everything, faults and webhook settings included, and gives up
// the deliveries that are under way.
func (s *Sandbox) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.state
	for d := range old.deliveries.all() {
		d.drop()
	}
	s.state = newState(s.cfg)
	// The goroutines of dropped deliveries still sign off.
	s.active, s.idle = old.active, old.idle
	s.changed()
}

// changed tells the state writer that there is something to write.
func (s *Sandbox) changed() {
	select {
	case s.dirty <- struct{}{}:
	default: // it knows already
	}
}
