package ledger

import (
	"cmp"
	"database/sql"
	"reflect"
	"slices"
)

// session is a payment with everything that its status is computed from.
type session struct {
	Payment
	charges []charge // the oldest first
	stored  []charge // those in the database
	events  []Event  // about the payment
}

// charge is money that was taken once for a session. It has one or several payment ids, and is named by the smallest of
// them. A buyer who was charged twice has two charges; the purchase is paid as long as one of them is neither refunded
// nor disputed.
type charge struct {
	ids     []string // sorted
	outcome string   // of a completed payment; empty: only events name the ids
	at      int64    // of the payment
}

func (c charge) has(id string) bool { return slices.Contains(c.ids, id) }

// connect adds a charge; it is one with those that share an id with it.
func (s *session) connect(c charge) {
	if len(c.ids) == 0 {
		return
	}
	s.charges = slices.DeleteFunc(s.charges, func(known charge) bool {
		isSame := slices.ContainsFunc(known.ids, c.has)
		if isSame { // accepted is less than mismatch
			c = charge{distinct(slices.Concat(c.ids, known.ids)), least(c.outcome, known.outcome), least(c.at, known.at)}
		}
		return isSame
	})
	s.charges = append(s.charges, c)
	slices.SortFunc(s.charges, func(a, b charge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ids[0], b.ids[0]))
	})
}

// least is the smaller of two values, of which the zero value is none.
func least[T cmp.Ordered](a, b T) (none T) {
	if a == none || b == none {
		return max(a, b)
	}
	return min(a, b)
}

// completed are the charges with one of some outcomes.
func (s *session) completed(outcomes ...string) (charges []charge) {
	for _, c := range s.charges {
		if slices.Contains(outcomes, c.outcome) {
			charges = append(charges, c)
		}
	}
	return charges
}

// names reports whether an event, whose ids are all of one charge, is about that charge.
func (e Event) names(c charge) bool { return slices.ContainsFunc(e.PaymentIDs, c.has) }

// status is Active if one of the payment's charges is good.
func (s *session) status() Status {
	charges := s.completed(outcomeOf(s.Payment))
	if len(charges) == 0 {
		charges = []charge{{}} // no id of the payment is known
	}
	status := Mismatched
	for _, c := range charges {
		status = stronger(status, s.statusOf(c))
	}
	if status == Active && s.Mismatch {
		return Mismatched
	}
	return status
}

// statusOf is the status of a charge. An event that names none of the charges applies to all.
func (s *session) statusOf(c charge) Status {
	kinds := map[EventKind]bool{}
	for _, e := range s.events {
		if e.names(c) || !slices.ContainsFunc(s.completed(accepted, mismatch), e.names) {
			kinds[e.Kind] = true
		}
	}
	switch { // their order does not matter
	case kinds[EventRefunded], kinds[EventDisputeLost]:
		return Refunded
	case kinds[EventDisputed] && !kinds[EventDisputeWon]:
		return Disputed
	}
	return Active
}

// stronger is the status of two payments together: Active if one of them is, or else the reason.
func stronger(a, b Status) Status {
	precedence := []Status{Active, Refunded, Disputed, Mismatched}
	return precedence[min(slices.Index(precedence, a), slices.Index(precedence, b))]
}

const idsQuery = `SELECT payment_id, charge, outcome, at FROM payment_ids WHERE session_id = $1`

// readCharges reads the charges of a payment as they are stored.
func readCharges(t *tx, p Payment) *session {
	s := &session{Payment: p}
	var id, name string
	var c charge
	t.each(idsQuery, args{p.SessionID}, into{&id, &name, &c.outcome, &c.at}, func() {
		s.connect(charge{distinct([]string{id, name}), c.outcome, c.at})
	})
	s.stored = slices.Clone(s.charges)
	return s
}

// readSessions reads the payments of a purchase with their charges and events, in the order of their times.
func readSessions(t *tx, purchaseID string) (sessions []*session) {
	hasEvents := t.get(anyEventOfPurchase, args{purchaseID}, new(int)) // most purchases have none
	for _, p := range readPayments(t, paymentsOfPurchase, purchaseID) {
		s := readCharges(t, p)
		if hasEvents {
			s.events = readEvents(t, eventsOfSession, p.SessionID)
		}
		for _, e := range s.events {
			s.connect(charge{ids: e.PaymentIDs})
		}
		sessions = append(sessions, s)
	}
	return sessions
}

// storeIDs stores the charges if they changed. All but the first accepted one are double charges.
func (s *session) storeIDs(t *tx) {
	if reflect.DeepEqual(s.charges, s.stored) {
		return
	}
	for _, c := range s.charges {
		isRepeated := c.outcome == accepted && c.ids[0] != s.completed(accepted)[0].ids[0]
		for _, id := range c.ids {
			t.exec(`
				INSERT INTO payment_ids (session_id, payment_id, charge, outcome, at, repeated_at) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (session_id, payment_id) DO UPDATE
				SET charge = excluded.charge, outcome = excluded.outcome, at = excluded.at, repeated_at = excluded.repeated_at`,
				s.SessionID, id, c.ids[0], c.outcome, c.at, sql.NullInt64{Int64: c.at, Valid: isRepeated})
		}
	}
	s.stored = slices.Clone(s.charges)
}
