package ledger

import (
	"context"
	"fmt"
)

// Holding reads a purchase with the devices in use.
func (l *Ledger) Holding(ctx context.Context, purchaseID string) (Holding, error) {
	return l.holding(ctx, holdingQuery, purchaseID)
}

// HoldingOfSession reads the purchase that the payment of a session counts for. If that payment is a mismatched one, or
// paid for something else, the status is Mismatched even where other payments keep the purchase open.
func (l *Ledger) HoldingOfSession(ctx context.Context, sessionID string) (Holding, error) {
	return l.holding(ctx, sessionQuery, sessionID)
}

const (
	holdingQuery = `
		SELECT i.id, '', '', d.device_id, ` + purchaseColumns + `
		FROM installation i LEFT JOIN purchases p ON p.id = $1` + devicesInUse
	sessionQuery = `
		SELECT i.id, m.outcome, t.body, d.device_id, ` + purchaseColumns + `
		FROM installation i LEFT JOIN payments m ON m.session_id = $1 LEFT JOIN terms t ON t.hash = m.terms_hash
		LEFT JOIN purchases p ON p.id = m.purchase_id` + devicesInUse
	devicesInUse = `
		LEFT JOIN devices d ON d.purchase_id = p.id AND d.removed_at IS NULL
		ORDER BY d.added_at, d.device_id`
)

func (l *Ledger) holding(ctx context.Context, query, id string) (Holding, error) {
	return lookUp(ctx, l, func(t *tx) (h Holding, err error) {
		var installation, outcome, body, device string
		t.each(query, args{id}, append(into{&installation, null(&outcome), null(&body), null(&device)}, h.columns()...), func() {
			if device != "" {
				h.DeviceIDs = append(h.DeviceIDs, device)
			}
		})
		err = l.ours(t, installation)
		switch {
		case err != nil:
		case outcome != "" && h.ID == "":
			err = fmt.Errorf("the purchase of session %s is missing", id)
		case h.ID == "":
			err = ErrNotFound
		case outcome == mismatch, outcome != "" && scopeOf(parseTerms(t, body)) != scope{h.Site, h.Product, h.Resource}:
			h.Status = Mismatched
		}
		return h, err
	})
}

// Payment reads the payment of a session, with what was sold by it. It returns ErrNotFound where there is none.
func (l *Ledger) Payment(ctx context.Context, sessionID string) (Payment, error) {
	return lookUp(ctx, l, func(t *tx) (p Payment, err error) {
		found := readPayments(t, paymentOfSession, sessionID)
		if len(found) == 0 {
			return p, ErrNotFound
		}
		return found[0], nil
	})
}

// Details returns all that is known about a purchase, or ErrNotFound. Everything is in the order of time.
func (l *Ledger) Details(ctx context.Context, purchaseID string) (Details, error) {
	return read(ctx, l, func(t *tx) (d Details, err error) {
		if d.Purchase, _ = readPurchase(t, purchaseID); d.ID == "" {
			return d, ErrNotFound
		}
		for _, s := range readSessions(t, purchaseID) {
			d.Payments = append(d.Payments, s.Payment)
			for _, id := range s.PaymentIDs {
				if s.ids[id].repeatedAt > 0 {
					d.DoubleCharges = append(d.DoubleCharges, id)
				}
			}
		}
		d.Events = readEvents(t, eventsOfPurchase, purchaseID)
		var decision Decision
		t.each(`SELECT kind, note, decided_at FROM decisions WHERE purchase_id = $1 ORDER BY n`, args{purchaseID},
			into{&decision.Kind, &decision.Note, unix(&decision.DecidedAt)}, func() { d.Decisions = append(d.Decisions, decision) })
		var device Device
		t.each(`
			SELECT device_id, label, added_at, removed_at, claimed FROM devices
			WHERE purchase_id = $1 ORDER BY added_at, device_id`, args{purchaseID},
			into{&device.ID, &device.Label, unix(&device.AddedAt), unix(&device.RemovedAt), &device.Claimed},
			func() { d.Devices = append(d.Devices, device) })
		return d, nil
	})
}

const (
	// eventsOfPurchase lists the events about the payments of a purchase: those that name the session, those that share
	// an id with it, and those that share an id with such an event.
	eventsOfPurchase = `
		WITH RECURSIVE about (session_id, event_id) AS (
			SELECT session_id, event_id FROM (
				SELECT p.session_id, e.id AS event_id
				FROM payments p CROSS JOIN events e
				WHERE p.purchase_id = $1 AND e.session_id = p.session_id
				UNION
				SELECT p.session_id, x.event_id
				FROM payments p CROSS JOIN payment_ids i CROSS JOIN event_ids x
				WHERE p.purchase_id = $1 AND i.session_id = p.session_id AND x.external_id = i.payment_id
			) named
			UNION
			SELECT a.session_id, y.event_id
			FROM about a CROSS JOIN event_ids x CROSS JOIN event_ids y
			WHERE x.event_id = a.event_id AND y.external_id = x.external_id
		)
		SELECT e.kind, e.session_id, e.occurred_at, ` + idsOfEvent + `, string_agg(a.session_id, '
')
		FROM about a CROSS JOIN events e
		WHERE e.id = a.event_id
		GROUP BY e.id, e.kind, e.session_id, e.occurred_at
		ORDER BY e.occurred_at, e.id`
	allEvents  = `SELECT e.kind, e.session_id, e.occurred_at, ` + idsOfEvent + `, '' FROM events e ORDER BY e.id`
	idsOfEvent = `(SELECT string_agg(external_id, '
' ORDER BY external_id) FROM event_ids WHERE event_id = e.id)`
)

func readEvents(t *tx, query string, args ...any) (events []Event) {
	var e Event
	var ids, about string
	t.each(query, args, into{&e.Kind, &e.SessionID, unix(&e.OccurredAt), null(&ids), &about}, func() {
		e.PaymentIDs, e.about = lines(ids), lines(about)
		events = append(events, e)
	})
	return events
}
