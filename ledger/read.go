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
		FROM installation i LEFT JOIN purchases p ON p.id = $1
		LEFT JOIN devices d ON d.purchase_id = p.id AND d.removed_at IS NULL
		ORDER BY d.added_at, d.device_id`
	sessionQuery = `
		SELECT i.id, m.outcome, t.body, d.device_id, ` + purchaseColumns + `
		FROM installation i LEFT JOIN payments m ON m.session_id = $1 LEFT JOIN terms t ON t.hash = m.terms_hash
		LEFT JOIN purchases p ON p.id = m.purchase_id
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
		case outcome == mismatch, outcome != "" && parseTerms(t, body).scope() != scope{h.Site, h.Product, h.Resource}:
			h.Status = Mismatched
		}
		return h, err
	})
}

// Payment reads the payment of a session, with what was sold by it. It returns ErrNotFound where there is none.
func (l *Ledger) Payment(ctx context.Context, sessionID string) (Payment, error) {
	return lookUp(ctx, l, func(t *tx) (Payment, error) {
		payment, purchaseID := readPayment(t, sessionID)
		if purchaseID == "" {
			return Payment{}, ErrNotFound
		}
		return payment, nil
	})
}

// Details returns all that is known about a purchase, or ErrNotFound. Everything is in the order of time.
func (l *Ledger) Details(ctx context.Context, purchaseID string) (Details, error) {
	return read(ctx, l, func(t *tx) (d Details, err error) {
		if d.Purchase, _ = readPurchase(t, purchaseID); d.ID == "" {
			return d, ErrNotFound
		}
		for _, session := range t.texts(`SELECT session_id FROM payments WHERE purchase_id = $1 ORDER BY paid_at, session_id`, d.ID) {
			payment, _ := readPayment(t, session)
			d.Payments = append(d.Payments, payment)
			d.DoubleCharges = append(d.DoubleCharges, repeatedIDs(t, session)...)
		}
		d.Events = readEvents(t, eventsOfPurchase, d.ID)
		d.Decisions = readDecisions(t, d.ID)
		d.Devices = readDevices(t, d.ID)
		d.Claims = readClaims(t, d.ID)
		return d, nil
	})
}

const (
	eventsOfPurchase = `
		WITH about AS (
			SELECT e.id
			FROM payments p CROSS JOIN events e
			WHERE p.purchase_id = $1 AND e.session_id = p.session_id
			UNION
			SELECT x.event_id
			FROM payments p CROSS JOIN payment_ids i CROSS JOIN event_ids x
			WHERE p.purchase_id = $1 AND i.session_id = p.session_id AND x.external_id = i.payment_id
		)
		SELECT e.id, e.kind, e.session_id, e.occurred_at
		FROM about CROSS JOIN events e
		WHERE e.id = about.id
		ORDER BY e.occurred_at, e.id`
	allEvents = `SELECT id, kind, session_id, occurred_at FROM events ORDER BY id`
)

func readEvents(t *tx, query string, args ...any) (events []Event) {
	var e Event
	var id string
	var ids []string
	t.each(query, args, into{&id, &e.Kind, &e.SessionID, unix(&e.OccurredAt)}, func() {
		ids, events = append(ids, id), append(events, e)
	})
	for i, id := range ids {
		events[i].PaymentIDs = t.texts(`SELECT external_id FROM event_ids WHERE event_id = $1 ORDER BY external_id`, id)
	}
	return events
}

func readDecisions(t *tx, purchaseID string) (decisions []Decision) {
	var d Decision
	t.each(`SELECT kind, note, decided_at FROM decisions WHERE purchase_id = $1 ORDER BY n`,
		args{purchaseID}, into{&d.Kind, &d.Note, unix(&d.DecidedAt)}, func() { decisions = append(decisions, d) })
	return decisions
}

func readDevices(t *tx, purchaseID string) (devices []Device) {
	var d Device
	t.each(`SELECT device_id, label, added_at, removed_at FROM devices WHERE purchase_id = $1 ORDER BY added_at, device_id`,
		args{purchaseID}, into{&d.ID, &d.Label, unix(&d.AddedAt), unix(&d.RemovedAt)}, func() { devices = append(devices, d) })
	return devices
}

// readClaims returns the devices that took something once.
func readClaims(t *tx, purchaseID string) map[ClaimKind]string {
	claims := make(map[ClaimKind]string)
	var kind ClaimKind
	var deviceID string
	t.each(`SELECT kind, device_id FROM claims WHERE purchase_id = $1`,
		args{purchaseID}, into{&kind, &deviceID}, func() { claims[kind] = deviceID })
	return claims
}
