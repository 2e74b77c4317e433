package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
)

// RecordEvent stores an event and recomputes the purchases of the payments that it is about. One that
// matches no payment yet is kept: the payment will find it by its session or by any of its ids.
func (l *Ledger) RecordEvent(ctx context.Context, e Event) (Recorded, error) {
	e.PaymentIDs = distinct(e.PaymentIDs)
	if e.SessionID == "" && len(e.PaymentIDs) == 0 {
		return Recorded{}, errors.New("an event needs a session id or a payment id")
	}
	if e.OccurredAt.IsZero() {
		e.OccurredAt = l.options.Now()
	}
	var recorded Recorded
	err := l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		recorded, err = l.recordEvent(ctx, tx, e)
		return err
	})
	if err != nil {
		return Recorded{}, err
	}
	return recorded, nil
}

func (l *Ledger) recordEvent(ctx context.Context, tx *tx, e Event) (Recorded, error) {
	id := hashOf(append([]string{string(e.Kind), e.SessionID}, e.PaymentIDs...)...)
	added, err := tx.affects(ctx, `
		INSERT INTO events (id, kind, session_id, occurred_at, received_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
		id, string(e.Kind), e.SessionID, e.OccurredAt.Unix(), l.now())
	if err != nil {
		return Recorded{}, err
	}
	for _, paymentID := range e.PaymentIDs {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO event_ids (event_id, external_id) VALUES ($1, $2)
			ON CONFLICT (event_id, external_id) DO NOTHING`, id, paymentID)
		if err != nil {
			return Recorded{}, err
		}
	}
	sessions, err := sessionsOf(ctx, tx, e)
	if err != nil {
		return Recorded{}, err
	}
	if len(sessions) == 0 {
		return Recorded{New: added > 0}, nil
	}
	var others []string
	for i, session := range sessions {
		if err := linkEvents(ctx, tx, session, l.now()); err != nil {
			return Recorded{}, err
		}
		if i == 0 {
			continue
		}
		ids, err := tx.texts(ctx, `SELECT purchase_id FROM payments WHERE session_id = $1`, session)
		if err != nil {
			return Recorded{}, err
		}
		others = append(others, ids...)
	}
	payment, purchaseID, err := l.payment(ctx, tx, sessions[0])
	if err != nil {
		return Recorded{}, err
	}
	recorded, err := l.recomputeFor(ctx, tx, purchaseID, others)
	if err != nil {
		return Recorded{}, err
	}
	recorded.Payment, recorded.New = payment, added > 0
	return recorded, nil
}

// sessionsOf lists the sessions whose payments an event is about, the one that it names first.
func sessionsOf(ctx context.Context, tx *tx, e Event) ([]string, error) {
	var sessions []string
	if e.SessionID != "" {
		named, err := tx.texts(ctx, `SELECT session_id FROM payments WHERE session_id = $1`, e.SessionID)
		if err != nil {
			return nil, err
		}
		sessions = named
	}
	for _, paymentID := range e.PaymentIDs {
		found, err := tx.texts(ctx, `SELECT DISTINCT session_id FROM payment_ids WHERE payment_id = $1 ORDER BY session_id`, paymentID)
		if err != nil {
			return nil, err
		}
		for _, session := range found {
			if !slices.Contains(sessions, session) {
				sessions = append(sessions, session)
			}
		}
	}
	return sessions, nil
}

// insertPaymentIDs notes that all ids are ids of one charge of a session.
func insertPaymentIDs(ctx context.Context, tx *tx, sessionID string, ids []string, outcome string, at int64) error {
	for i, id := range ids {
		sameAs := ids[0]
		if i == 0 {
			sameAs = ""
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO payment_ids (session_id, payment_id, same_as, outcome, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (session_id, payment_id, same_as) DO UPDATE SET outcome = excluded.outcome
			WHERE payment_ids.outcome <> 'accepted' AND excluded.outcome <> '' AND payment_ids.outcome <> excluded.outcome`,
			sessionID, id, sameAs, outcome, at)
		if err != nil {
			return err
		}
	}
	return nil
}

// linkEvents finds the events about a session: those that name it, and those that share an id with it. The
// ids of such an event become ids of the session, and lead to further events.
func linkEvents(ctx context.Context, tx *tx, sessionID string, now int64) error {
	linked := map[string]bool{}
	for {
		events, err := readEvents(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		events = slices.DeleteFunc(events, func(e paymentEvent) bool { return linked[e.id] })
		if len(events) == 0 {
			return nil
		}
		for _, e := range events {
			linked[e.id] = true
			named, err := tx.texts(ctx, `SELECT external_id FROM event_ids WHERE event_id = $1 ORDER BY external_id`, e.id)
			if err != nil {
				return err
			}
			if err := insertPaymentIDs(ctx, tx, sessionID, named, "", now); err != nil {
				return err
			}
		}
	}
}

// scanAll runs a query and calls scan for each row.
func scanAll(ctx context.Context, tx *tx, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
