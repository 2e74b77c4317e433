package ledger

import (
	"cmp"
	"database/sql"
	"maps"
	"slices"
)

// session is a payment with everything that its status is computed from.
type session struct {
	Payment
	ids    map[string]paidID
	stored map[string]paidID // as they are in the database
	events []Event           // about the payment; all their ids are among ids
}

// paidID is what is known of a payment id.
type paidID struct {
	charge     string
	outcome    string // of a completed payment; empty: only an event named it
	at         int64  // of the payment, or when an event first named it
	repeatedAt int64  // of a charge beside the first one; 0: it is not
}

// charge is money that was taken once for a session. It has one or several payment ids, and is named by the smallest of
// them. A buyer who was charged twice has two charges; the purchase is paid as long as one of them is neither refunded
// nor disputed.
type charge struct {
	name, outcome string
	at            int64
}

// connect notes that all ids, which are sorted, are ids of one charge.
func (s *session) connect(ids []string, now int64) {
	var names []string
	for _, id := range ids {
		if _, isKnown := s.ids[id]; !isKnown {
			s.ids[id] = paidID{charge: id, at: now}
		}
		names = append(names, s.ids[id].charge)
	}
	for id, row := range s.ids {
		if slices.Contains(names, row.charge) {
			row.charge = slices.Min(names)
			s.ids[id] = row
		}
	}
}

// deliver adds the ids of a completed payment.
func (s *session) deliver(p Payment) {
	ids := distinct(p.PaymentIDs)
	s.connect(ids, p.PaidAt.Unix())
	for _, id := range ids {
		row := s.ids[id]
		if row.outcome == "" {
			row.at = p.PaidAt.Unix()
		}
		if row.outcome != accepted {
			row.outcome = outcomeOf(p)
		}
		s.ids[id] = row
	}
}

// linkEvents adds the ids that events name, and finds the charges beside the first one.
func (s *session) linkEvents(now int64) {
	for _, e := range s.events {
		s.connect(e.PaymentIDs, now)
	}
	repeatedAt := make(map[string]int64)
	for i, c := range s.acceptedCharges() {
		if i > 0 {
			repeatedAt[c.name] = c.at
		}
	}
	for id, row := range s.ids {
		row.repeatedAt = repeatedAt[row.charge]
		s.ids[id] = row
	}
}

// charges are those of completed payments, the oldest first.
func (s *session) charges() []charge {
	byName := make(map[string]charge)
	for _, id := range s.ids {
		c, isKnown := byName[id.charge]
		switch {
		case id.outcome == "":
		case !isKnown:
			byName[id.charge] = charge{id.charge, id.outcome, id.at}
		default: // accepted is less than mismatch
			byName[id.charge] = charge{id.charge, min(c.outcome, id.outcome), min(c.at, id.at)}
		}
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b charge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name))
	})
}

func (s *session) acceptedCharges() []charge {
	return slices.DeleteFunc(s.charges(), func(c charge) bool { return c.outcome != accepted })
}

// status is Active if one of the payment's charges is good. An event that names none of the charges applies to all.
func (s *session) status() Status {
	outcome, completed := outcomeOf(s.Payment), s.charges()
	statusOf := func(name string) Status {
		kinds := map[EventKind]bool{}
		for _, e := range s.events {
			named := ""
			if len(e.PaymentIDs) > 0 {
				named = s.ids[e.PaymentIDs[0]].charge
			}
			if named == name || !slices.ContainsFunc(completed, func(c charge) bool { return c.name == named }) {
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
	var statuses []Status
	for _, c := range completed {
		if c.outcome == outcome {
			statuses = append(statuses, statusOf(c.name))
		}
	}
	if len(statuses) == 0 {
		statuses = append(statuses, statusOf("")) // no id of the payment is known
	}
	status := strongest(statuses)
	if status == Active && outcome == mismatch {
		return Mismatched
	}
	return status
}

// strongest returns the status of several payments together: Active if one of them is, or else the reason.
func strongest(statuses []Status) Status {
	for _, status := range []Status{Active, Refunded, Disputed} {
		if slices.Contains(statuses, status) {
			return status
		}
	}
	return Mismatched
}

const idsQuery = `
	SELECT n.session_id, n.payment_id, n.charge, n.outcome, n.at, n.repeated_at
	FROM payments p CROSS JOIN payment_ids n
	WHERE p.purchase_id = $1 AND n.session_id = p.session_id`

// readSessions reads the payments of a purchase with their ids, in the order of their times.
func readSessions(t *tx, purchaseID string) (sessions []*session) {
	byID := make(map[string]*session)
	for _, p := range readPayments(t, paymentsOfPurchase, purchaseID) {
		s := &session{Payment: p, ids: make(map[string]paidID)}
		sessions, byID[p.SessionID] = append(sessions, s), s
	}
	var name, id string
	var row paidID
	t.each(idsQuery, args{purchaseID}, into{&name, &id, &row.charge, &row.outcome, &row.at, null(&row.repeatedAt)},
		func() { byID[name].ids[id] = row })
	for _, s := range sessions {
		s.stored = maps.Clone(s.ids)
	}
	return sessions
}

// storeIDs stores the ids that changed.
func (s *session) storeIDs(t *tx) {
	for id, row := range s.ids {
		if row == s.stored[id] {
			continue
		}
		t.exec(`
			INSERT INTO payment_ids (session_id, payment_id, charge, outcome, at, repeated_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (session_id, payment_id) DO UPDATE
			SET charge = excluded.charge, outcome = excluded.outcome, at = excluded.at, repeated_at = excluded.repeated_at`,
			s.SessionID, id, row.charge, row.outcome, row.at, sql.NullInt64{Int64: row.repeatedAt, Valid: row.repeatedAt != 0})
	}
	s.stored = maps.Clone(s.ids)
}
