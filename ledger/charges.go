package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
)

// charge is money that was taken once for a session, with all ids that it is known by.
type charge struct {
	ids     []string
	outcome string // of the completed payment; empty: only events named these ids
	at      int64  // of the completed payment
	kinds   map[EventKind]bool
}

// charges are the charges of one session, in the order of their payments. A buyer who was charged twice has
// two; the purchase is paid as long as one of them stands.
type charges []*charge

// readCharges connects the ids of a session to charges.
func readCharges(ctx context.Context, tx *tx, sessionID string) (charges, error) {
	byID := map[string]*charge{}
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var id, sameAs, outcome string
		var at int64
		if err := rows.Scan(&id, &sameAs, &outcome, &at); err != nil {
			return err
		}
		named := &charge{ids: []string{id}, outcome: outcome, at: at}
		for _, other := range []*charge{byID[id], byID[sameAs]} {
			named = named.merge(other)
		}
		if sameAs != "" && !slices.Contains(named.ids, sameAs) {
			named.ids = append(named.ids, sameAs)
		}
		for _, id := range named.ids {
			byID[id] = named
		}
		return nil
	}, `SELECT payment_id, same_as, outcome, at FROM payment_ids WHERE session_id = $1`, sessionID)
	if err != nil {
		return nil, err
	}
	var all charges
	for _, c := range byID {
		if !slices.Contains(all, c) {
			slices.Sort(c.ids)
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *charge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ids[0], b.ids[0])) })
	return all, nil
}

// merge returns both as one charge. Completed payments say its outcome and its time.
func (c *charge) merge(other *charge) *charge {
	if other == nil || other == c {
		return c
	}
	merged := &charge{ids: distinct(append(slices.Clone(c.ids), other.ids...)), outcome: c.outcome, at: c.at}
	switch {
	case c.outcome == "" && other.outcome != "":
		merged.outcome, merged.at = other.outcome, other.at
	case other.outcome != "" || c.outcome == "":
		merged.at = min(c.at, other.at)
		if other.outcome == accepted {
			merged.outcome = accepted
		}
	}
	return merged
}

// completed are the charges that a completed payment has confirmed.
func (all charges) completed() charges {
	return slices.DeleteFunc(slices.Clone(all), func(c *charge) bool { return c.outcome == "" })
}

// accepted are the charges in the right amount and currency.
func (all charges) accepted() charges {
	return slices.DeleteFunc(slices.Clone(all), func(c *charge) bool { return c.outcome != accepted })
}

// doubles are the ids that were charged beside the first charge.
func (all charges) doubles() []string {
	var ids []string
	for i, c := range all.accepted() {
		if i > 0 {
			ids = append(ids, c.ids...)
		}
	}
	return ids
}

// isDouble reports whether the ids are those of a charge beside the first one.
func (all charges) isDouble(ids []string) bool {
	doubles := all.doubles()
	return slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(doubles, id) })
}

// apply notes an event at the charges whose ids it names. If it names none that was completed, it is about
// all of them.
func (all charges) apply(kind EventKind, ids []string) {
	isNamed := func(c *charge) bool {
		return slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(c.ids, id) })
	}
	hit := all
	if slices.ContainsFunc(all, isNamed) {
		hit = slices.DeleteFunc(slices.Clone(all), func(c *charge) bool { return !isNamed(c) })
	}
	for _, c := range hit {
		if c.kinds == nil {
			c.kinds = map[EventKind]bool{}
		}
		c.kinds[kind] = true
	}
}

// status is Active, Refunded or Disputed. The order of the events does not matter.
func (c *charge) status() Status {
	switch {
	case c.kinds[EventRefunded], c.kinds[EventDisputeLost]:
		return Refunded
	case c.kinds[EventDisputed] && !c.kinds[EventDisputeWon]:
		return Disputed
	}
	return Active
}

// paymentStatus is the status of a payment with these events: Active if it stands.
func paymentStatus(ctx context.Context, tx *tx, sessionID, outcome string, events []paymentEvent) (Status, error) {
	all, err := readCharges(ctx, tx, sessionID)
	if err != nil {
		return "", err
	}
	all = all.completed()
	counted := slices.DeleteFunc(slices.Clone(all), func(c *charge) bool { return c.outcome != outcome })
	if len(counted) == 0 {
		// No id of the payment is known: all events are about it.
		counted = charges{{outcome: outcome}}
		all = append(all, counted...)
	}
	for _, e := range events {
		ids, err := tx.texts(ctx, `SELECT external_id FROM event_ids WHERE event_id = $1`, e.id)
		if err != nil {
			return "", err
		}
		all.apply(e.kind, ids)
	}
	var statuses []Status
	for _, c := range counted {
		statuses = append(statuses, c.status())
	}
	status := strongest(statuses)
	if status == Active && outcome == mismatch {
		return Mismatched, nil
	}
	return status, nil
}

// strongest is the status of several payments together: Active if one of them stands, or else why not.
func strongest(statuses []Status) Status {
	for _, status := range []Status{Active, Refunded, Disputed} {
		if slices.Contains(statuses, status) {
			return status
		}
	}
	return Mismatched
}
