package ledger

import (
	"database/sql"
	"slices"
)

// A charge is money that was taken once for a session. It has one or several payment ids, and is named by the smallest
// of them. A buyer who was charged twice has two charges; the purchase is paid as long as one of them is neither
// refunded nor disputed.

// addPaymentIDs notes that all ids, which are sorted, are ids of one charge of a session. The outcome is that of a
// completed payment; empty: an event named them.
func addPaymentIDs(t *tx, sessionID string, ids []string, outcome string, at int64) {
	var charges []string
	for _, id := range ids {
		var charge string
		t.get(`
			INSERT INTO payment_ids (session_id, payment_id, charge, outcome, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (session_id, payment_id) DO UPDATE
			SET outcome = CASE WHEN excluded.outcome = '' OR payment_ids.outcome = 'accepted' THEN payment_ids.outcome ELSE excluded.outcome END,
				at = CASE WHEN payment_ids.outcome = '' THEN excluded.at ELSE payment_ids.at END
			RETURNING charge`,
			args{sessionID, id, ids[0], outcome, at}, &charge)
		charges = append(charges, charge)
	}
	if charges = distinct(charges); len(charges) < 2 {
		return
	}
	for _, charge := range charges { // the ids connect them
		t.exec(`UPDATE payment_ids SET charge = $1, repeated_at = NULL WHERE session_id = $2 AND charge = $3`, charges[0], sessionID, charge)
	}
}

// linkEvents finds the events about a session: those that name it, and those that share an id with it. The ids of such
// an event become ids of the session, and lead to further events. It returns the number of accepted charges.
func (l *Ledger) linkEvents(t *tx, sessionID string) (charges int) {
	linked := map[string]bool{}
	for isDone := false; !isDone; {
		isDone = true
		for _, event := range t.texts(eventsQuery, sessionID) {
			if !linked[event] {
				linked[event], isDone = true, false
				addPaymentIDs(t, sessionID, t.texts(`SELECT external_id FROM event_ids WHERE event_id = $1 ORDER BY external_id`, event), "", l.now())
			}
		}
	}
	return markRepeated(t, sessionID)
}

// eventsQuery says the order of its joins, as SQLite would scan all events without statistics.
const eventsQuery = `
	SELECT id FROM events WHERE session_id = $1
	UNION
	SELECT x.event_id FROM payment_ids n CROSS JOIN event_ids x
	WHERE n.session_id = $1 AND x.external_id = n.payment_id`

type charge struct {
	name string
	at   int64
}

// acceptedCharges are those of completed payments in the right amount and currency, the oldest first.
func acceptedCharges(t *tx, sessionID string) (charges []charge) {
	var c charge
	t.each(`
		SELECT charge, MIN(at) FROM payment_ids
		WHERE session_id = $1 AND outcome <> ''
		GROUP BY charge
		HAVING MIN(outcome) = 'accepted'
		ORDER BY MIN(at), charge`, args{sessionID}, into{&c.name, &c.at}, func() { charges = append(charges, c) })
	return charges
}

// markRepeated notes which charges are beside the first one, and returns the number of charges.
func markRepeated(t *tx, sessionID string) int {
	charges := acceptedCharges(t, sessionID)
	if len(charges) > 1 {
		for i, c := range charges {
			t.exec(`UPDATE payment_ids SET repeated_at = $1 WHERE session_id = $2 AND charge = $3`,
				sql.NullInt64{Int64: c.at, Valid: i > 0}, sessionID, c.name)
		}
	}
	return len(charges)
}

func repeatedIDs(t *tx, sessionID string) []string {
	return t.texts(`SELECT payment_id FROM payment_ids WHERE session_id = $1 AND repeated_at IS NOT NULL ORDER BY payment_id`, sessionID)
}

type happened struct {
	kind   EventKind
	charge string // that it names; empty: it names no id
}

// closedStatus returns Refunded or Disputed if events close a charge, else Active. Their order does not matter.
func closedStatus(kinds map[EventKind]bool) Status {
	switch {
	case kinds[EventRefunded], kinds[EventDisputeLost]:
		return Refunded
	case kinds[EventDisputed] && !kinds[EventDisputeWon]:
		return Disputed
	}
	return Active
}

// statusOf returns the status of a payment: Active if one of its charges is good. completed holds the outcomes of the
// session's charges by name. An event that names none of them applies to all.
func statusOf(outcome string, completed map[string]string, events []happened) Status {
	var statuses []Status
	add := func(name string) {
		kinds := map[EventKind]bool{}
		for _, e := range events {
			if _, isNamed := completed[e.charge]; e.charge == name || !isNamed {
				kinds[e.kind] = true
			}
		}
		statuses = append(statuses, closedStatus(kinds))
	}
	for name, its := range completed {
		if its == outcome {
			add(name)
		}
	}
	if len(statuses) == 0 {
		add("") // no id of the payment is known
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
