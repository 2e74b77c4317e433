package ledger

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// Holding reads a purchase with the devices in use.
func (l *Ledger) Holding(ctx context.Context, purchaseID string) (Holding, error) {
	return l.holding(ctx, purchaseID, "")
}

// HoldingOfSession reads the purchase that the payment of a session counts for. If that payment is a mismatched one, or
// paid for something else, the status is Mismatched even where other payments keep the purchase open.
func (l *Ledger) HoldingOfSession(ctx context.Context, sessionID string) (Holding, error) {
	return l.holding(ctx, "", sessionID)
}

// holdingQuery reads the purchase $1, or that of the session $2.
const holdingQuery = `
	SELECT i.id, m.session_id, COALESCE(m.outcome = 'mismatch', false), t.body, d.device_id, ` + purchaseColumns + `
	FROM installation i LEFT JOIN payments m ON m.session_id = $2 LEFT JOIN terms t ON t.hash = m.terms_hash
	LEFT JOIN purchases p ON p.id = COALESCE(m.purchase_id, $1)
	LEFT JOIN devices d ON d.purchase_id = p.id AND d.removed_at IS NULL
	ORDER BY d.added_at, d.device_id`

func (l *Ledger) holding(ctx context.Context, purchaseID, sessionID string) (Holding, error) {
	return lookUp(ctx, l, func(t *tx) (h Holding, err error) {
		var installation, session, device string
		var isMismatch bool
		var sold terms.Terms
		columns := append(into{&installation, null(&session), &isMismatch, parsed(&sold, parseTerms), null(&device)}, h.columns()...)
		t.each(holdingQuery, args{purchaseID, sessionID}, columns, func() {
			if device != "" {
				h.DeviceIDs = append(h.DeviceIDs, device)
			}
		})
		err = l.ours(t, installation)
		switch {
		case err != nil:
		case session != "" && h.ID == "":
			err = fmt.Errorf("the purchase of session %s is missing", session)
		case h.ID == "":
			err = ErrNotFound
		case isMismatch, session != "" && scopeOf(sold) != scope{h.Site, h.Product, h.Resource}:
			h.Status = Mismatched
		}
		return h, err
	})
}

// Details returns all that is known about a purchase, or ErrNotFound. Everything is in the order of time.
func (l *Ledger) Details(ctx context.Context, purchaseID string) (Details, error) {
	return read(ctx, l, func(t *tx) (d Details, err error) {
		if d.Purchase, _ = readPurchase(t, purchaseID); d.ID == "" {
			return d, ErrNotFound
		}
		for _, s := range readSessions(t, purchaseID) {
			d.Payments, d.Events = append(d.Payments, s.Payment), append(d.Events, s.events...)
			for i, c := range s.completed(accepted) {
				if i > 0 {
					d.DoubleCharges = append(d.DoubleCharges, c.ids...)
				}
			}
		}
		slices.SortStableFunc(d.Events, func(a, b Event) int { return a.OccurredAt.Compare(b.OccurredAt) })
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
	// eventsOfSession lists the events about a payment: those that name its session, those that share an id with it, and
	// those that share an id with such an event.
	eventsOfSession = `
		WITH RECURSIVE about (event_id) AS (
			SELECT event_id FROM (
				SELECT id AS event_id FROM events WHERE session_id = $1
				UNION
				SELECT x.event_id FROM payment_ids i CROSS JOIN event_ids x WHERE i.session_id = $1 AND x.external_id = i.payment_id
			) named
			UNION
			SELECT y.event_id FROM about a CROSS JOIN event_ids x CROSS JOIN event_ids y
			WHERE x.event_id = a.event_id AND y.external_id = x.external_id
		)
		SELECT ` + eventColumns + ` FROM about a CROSS JOIN events e WHERE e.id = a.event_id ORDER BY e.occurred_at, e.id`
	// anyEventOfPurchase finds out whether there is any event about its payments.
	anyEventOfPurchase = `
		SELECT 1 FROM payments m CROSS JOIN events e WHERE m.purchase_id = $1 AND e.session_id = m.session_id
		UNION ALL
		SELECT 1 FROM payments m CROSS JOIN payment_ids i CROSS JOIN event_ids x
		WHERE m.purchase_id = $1 AND i.session_id = m.session_id AND x.external_id = i.payment_id
		LIMIT 1`
	allEvents    = `SELECT ` + eventColumns + ` FROM events e ORDER BY e.id`
	eventColumns = `e.kind, e.session_id, e.occurred_at, (SELECT string_agg(external_id, '
' ORDER BY external_id) FROM event_ids WHERE event_id = e.id)`
)

func readEvents(t *tx, query string, args ...any) (events []Event) {
	var e Event
	t.each(query, args, into{&e.Kind, &e.SessionID, unix(&e.OccurredAt), parsed(&e.PaymentIDs, lines)}, func() { events = append(events, e) })
	return events
}

// List returns the purchases that match, newest payment first. With a query it looks at 100 purchases at most.
func (l *Ledger) List(ctx context.Context, f Filter) ([]Listed, error) {
	return readWithin(ctx, l, reportTimeout, func(t *tx) (all []Listed, _ error) {
		query := listQuery
		with := args{
			f.Site, f.Product, string(f.Status), l.now(), secondsOr(f.From, math.MinInt64), secondsOr(f.To, math.MaxInt64),
			cmp.Or(f.Limit, math.MaxInt32),
		}
		if text := strings.TrimSpace(f.Query); text != "" {
			query, with = searchQuery, append(with, strings.ToLower(text), text)
		}
		var row Listed
		t.each(query, with, append(append(row.columns(), row.LastPayment.columns()...), &row.Payments),
			func() { all = append(all, row) })
		return all, nil
	})
}

// secondsOr is a time in seconds, or another value for the zero time.
func secondsOr(t time.Time, otherwise int64) int64 {
	if t.IsZero() {
		return otherwise
	}
	return t.Unix()
}

// Of each purchase that matches, the last payment is listed. A search looks only at the purchases that a text names: by
// the beginning of its id, a session id or a payment id.
const (
	listQuery   = listColumns + `payments` + listConditions
	searchQuery = listColumns + `(
		SELECT * FROM payments WHERE purchase_id IN (
			SELECT id FROM purchases WHERE id >= $8 AND id < $8 || 'g'
			UNION
			SELECT purchase_id FROM payments WHERE session_id = $9
			UNION
			SELECT p.purchase_id FROM payment_ids i CROSS JOIN payments p WHERE i.payment_id = $9 AND p.session_id = i.session_id
			LIMIT 100))` + listConditions
	listColumns    = `SELECT ` + purchaseColumns + `, ` + paymentColumns + `, (SELECT COUNT(*) FROM payments WHERE purchase_id = p.id) FROM `
	listConditions = ` m CROSS JOIN purchases p CROSS JOIN terms t
	WHERE p.id = m.purchase_id AND t.hash = m.terms_hash AND m.paid_at >= $5 AND m.paid_at < $6
		AND NOT EXISTS (
			SELECT 1 FROM payments later
			WHERE later.purchase_id = m.purchase_id AND (later.paid_at, later.session_id) > (m.paid_at, m.session_id))
		AND ($1 = '' OR p.site = $1) AND ($2 = '' OR p.product = $2)
		AND ($3 = '' OR $3 = CASE WHEN p.status = 'active' AND p.ends_at <= CAST($4 AS BIGINT) THEN 'expired' ELSE p.status END
			OR $3 = 'mismatched' AND EXISTS (SELECT 1 FROM payments WHERE purchase_id = p.id AND outcome = 'mismatch'))
	ORDER BY m.paid_at DESC, m.session_id DESC LIMIT $7`
)
