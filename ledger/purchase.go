package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// paymentRow is what a purchase needs to know of a payment.
type paymentRow struct {
	sessionID string
	outcome   string
	access    sql.NullInt64
	paidAt    int64
	termsHash string
	events    []paymentEvent
	status    Status
}

type paymentEvent struct {
	id   string
	kind EventKind
}

// recompute computes a purchase from all of its rows and stores it. It returns the status before, or an
// empty one where there was no such purchase.
func (l *Ledger) recompute(ctx context.Context, tx *tx, purchaseID string) (before Status, after Purchase, err error) {
	payments, err := readPayments(ctx, tx, purchaseID)
	if err != nil {
		return "", Purchase{}, err
	}
	stored, decision, err := readPurchase(ctx, tx, purchaseID)
	if err != nil {
		return "", Purchase{}, err
	}
	now := l.now()
	if stored.ID != "" {
		before = stored.StatusAt(time.Unix(now, 0))
	}
	if len(payments) == 0 {
		return before, Purchase{}, l.removePurchase(ctx, tx, stored)
	}
	after = stored
	after.ID, after.CreatedAt = purchaseID, timeOf(sql.NullInt64{Int64: now, Valid: true})
	if stored.ID != "" {
		after.CreatedAt = stored.CreatedAt
	}
	if err := l.compute(ctx, tx, &after, payments, decision); err != nil {
		return "", Purchase{}, err
	}
	if after == stored {
		return before, after, nil
	}
	after.UpdatedAt = time.Unix(now, 0).UTC()
	if err := storePurchase(ctx, tx, after); err != nil {
		return "", Purchase{}, err
	}
	if stored.ID == "" {
		return before, after, nil
	}
	tx.touches(purchaseID)
	if after.Status == stored.Status && after.EndsAt.Equal(stored.EndsAt) &&
		after.DeviceLimit == stored.DeviceLimit && after.DownloadLimit == stored.DownloadLimit {
		return before, after, nil
	}
	return before, after, l.advanceFeed(ctx, tx, purchaseID)
}

// compute fills in what the payments and the last decision say.
func (l *Ledger) compute(ctx context.Context, tx *tx, p *Purchase, payments []paymentRow, decision DecisionKind) error {
	statuses := make([]Status, len(payments))
	for i, payment := range payments {
		status := Active
		var err error
		switch {
		case len(payment.events) > 0:
			status, err = paymentStatus(ctx, tx, payment.sessionID, payment.outcome, payment.events)
		case payment.outcome == mismatch:
			status = Mismatched
		}
		if err != nil {
			return err
		}
		payments[i].status, statuses[i] = status, status
	}
	p.Status = strongest(statuses)
	counted := payments[:0:0]
	for _, payment := range payments {
		if payment.status == Active {
			counted = append(counted, payment)
		}
	}
	if len(counted) == 0 {
		counted = payments // what was sold, though it is closed
	}
	if decision == Revoke {
		p.Status = Revoked
	}
	sold, err := l.sold.get(ctx, tx, counted[0].termsHash)
	if err != nil {
		return err
	}
	p.Site, p.Product, p.Resource = sold.Site, sold.Product, sold.Resource
	p.StartsAt = time.Unix(counted[0].paidAt, 0).UTC()
	p.EndsAt = endOf(counted)
	p.DeviceLimit, p.DownloadLimit, err = l.limitsOf(ctx, tx, counted)
	return err
}

// endOf adds each payment's access to the end of those before, or to its own time where that is later. It
// is the zero time where access has no end.
func endOf(payments []paymentRow) time.Time {
	var end int64
	for _, payment := range payments {
		if !payment.access.Valid {
			return time.Time{}
		}
		end = max(end, payment.paidAt) + payment.access.Int64
	}
	return time.Unix(end, 0).UTC()
}

// limitsOf is the largest number of devices that a payment bought, and the sum of the downloads. Zero is no
// limit, in either.
func (l *Ledger) limitsOf(ctx context.Context, tx *tx, payments []paymentRow) (devices, downloads int, err error) {
	isUnlimited := false
	for i, payment := range payments {
		sold, err := l.sold.get(ctx, tx, payment.termsHash)
		if err != nil {
			return 0, 0, err
		}
		if i == 0 || sold.Devices == 0 || devices != 0 && sold.Devices > devices {
			devices = sold.Devices
		}
		downloads += sold.Downloads
		isUnlimited = isUnlimited || sold.Downloads == 0
	}
	if isUnlimited {
		downloads = 0
	}
	return devices, downloads, nil
}

const (
	paymentsQuery = `
		SELECT session_id, outcome, access_seconds, paid_at, terms_hash FROM payments
		WHERE purchase_id = $1 ORDER BY paid_at, extends, session_id`
	// eventsQuery says the order of its joins, as SQLite would scan all events without statistics.
	eventsQuery = `
		SELECT id, kind FROM events WHERE session_id = $1
		UNION
		SELECT e.id, e.kind FROM payment_ids n CROSS JOIN event_ids x CROSS JOIN events e
		WHERE n.session_id = $1 AND x.external_id = n.payment_id AND e.id = x.event_id`
)

// purchaseEventsQuery is eventsQuery for all payments of a purchase.
const purchaseEventsQuery = `
	SELECT p.session_id, e.id, e.kind FROM payments p CROSS JOIN events e
	WHERE p.purchase_id = $1 AND e.session_id = p.session_id
	UNION
	SELECT p.session_id, e.id, e.kind FROM payments p CROSS JOIN payment_ids n CROSS JOIN event_ids x CROSS JOIN events e
	WHERE p.purchase_id = $1 AND n.session_id = p.session_id AND x.external_id = n.payment_id AND e.id = x.event_id`

// readPayments reads the payments of a purchase in the order of their times, with the events about each.
func readPayments(ctx context.Context, tx *tx, purchaseID string) ([]paymentRow, error) {
	var payments []paymentRow
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var p paymentRow
		err := rows.Scan(&p.sessionID, &p.outcome, &p.access, &p.paidAt, &p.termsHash)
		payments = append(payments, p)
		return err
	}, paymentsQuery, purchaseID)
	if err != nil {
		return nil, err
	}
	events := map[string][]paymentEvent{}
	err = scanAll(ctx, tx, func(rows *sql.Rows) error {
		var session string
		var e paymentEvent
		err := rows.Scan(&session, &e.id, &e.kind)
		events[session] = append(events[session], e)
		return err
	}, purchaseEventsQuery, purchaseID)
	for i := range payments {
		payments[i].events = events[payments[i].sessionID]
	}
	return payments, err
}

// readEvents reads the events that name a session or one of its payment ids.
func readEvents(ctx context.Context, tx *tx, sessionID string) (events []paymentEvent, err error) {
	err = scanAll(ctx, tx, func(rows *sql.Rows) error {
		var e paymentEvent
		err := rows.Scan(&e.id, &e.kind)
		events = append(events, e)
		return err
	}, eventsQuery, sessionID)
	return events, err
}

// purchaseColumns are those of a table or subquery p that purchaseRow reads.
const purchaseColumns = `p.id, p.site, p.product, p.resource, p.status, p.starts_at, p.ends_at, p.device_limit,
	p.download_limit, p.downloads_used, p.download_window_ends_at, p.created_at, p.updated_at`

// purchaseRow reads purchaseColumns. All may be NULL, as after a LEFT JOIN.
type purchaseRow struct {
	id, site, product, resource, status          sql.NullString
	starts, ends, devices, downloads, downloaded sql.NullInt64
	windowEnds, created, updated                 sql.NullInt64
}

func (r *purchaseRow) targets() []any {
	return []any{
		&r.id, &r.site, &r.product, &r.resource, &r.status, &r.starts, &r.ends, &r.devices,
		&r.downloads, &r.downloaded, &r.windowEnds, &r.created, &r.updated,
	}
}

// purchase has an empty ID where the row was NULL.
func (r *purchaseRow) purchase() Purchase {
	return Purchase{
		ID: r.id.String, Site: r.site.String, Product: r.product.String, Resource: r.resource.String,
		Status: Status(r.status.String), StartsAt: timeOf(r.starts), EndsAt: timeOf(r.ends),
		CreatedAt: timeOf(r.created), UpdatedAt: timeOf(r.updated), DeviceLimit: int(r.devices.Int64),
		DownloadLimit: int(r.downloads.Int64), DownloadsUsed: int(r.downloaded.Int64),
		DownloadWindowEndsAt: timeOf(r.windowEnds),
	}
}

// readPurchase reads a stored purchase and the last decision about it. Either may be missing.
func readPurchase(ctx context.Context, tx *tx, id string) (Purchase, DecisionKind, error) {
	var row purchaseRow
	var decision sql.NullString
	err := tx.QueryRowContext(ctx, `
		SELECT (SELECT kind FROM decisions d WHERE d.purchase_id = $1 ORDER BY n DESC LIMIT 1), `+purchaseColumns+`
		FROM (SELECT 1 AS one) AS one LEFT JOIN purchases p ON p.id = $1`, id).Scan(append([]any{&decision}, row.targets()...)...)
	return row.purchase(), DecisionKind(decision.String), err
}

func storePurchase(ctx context.Context, tx *tx, p Purchase) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO purchases (id, site, product, resource, status, starts_at, ends_at, device_limit,
			download_limit, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE
		SET site = excluded.site, product = excluded.product, resource = excluded.resource,
			status = excluded.status, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
			device_limit = excluded.device_limit, download_limit = excluded.download_limit,
			updated_at = excluded.updated_at`,
		p.ID, p.Site, p.Product, p.Resource, string(p.Status), p.StartsAt.Unix(), seconds(p.EndsAt),
		p.DeviceLimit, p.DownloadLimit, p.CreatedAt.Unix(), p.UpdatedAt.Unix())
	return err
}

// removePurchase deletes a purchase whose payments all count for others now. That takes an extension of
// another product that arrived before the first payment.
func (l *Ledger) removePurchase(ctx context.Context, tx *tx, stored Purchase) error {
	if stored.ID == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM purchases WHERE id = $1`, stored.ID); err != nil {
		return fmt.Errorf("removing it: %w", err)
	}
	tx.touches(stored.ID)
	return l.advanceFeed(ctx, tx, stored.ID)
}

// Decide stores what the site's operator decided. It returns ErrNotFound, or ErrUnchanged where the last
// decision was the same. Restoring what was never revoked is unchanged, too.
func (l *Ledger) Decide(ctx context.Context, purchaseID string, kind DecisionKind, note string) (Purchase, error) {
	var purchase Purchase
	var outcome error
	err := l.write(ctx, func(ctx context.Context, tx *tx) error {
		outcome = nil
		stored, last, err := readPurchase(ctx, tx, purchaseID)
		switch {
		case err != nil:
			return err
		case stored.ID == "":
			outcome = ErrNotFound
			return nil
		case last == kind, last == "" && kind == Restore:
			purchase, outcome = stored, ErrUnchanged
			return nil
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO decisions (purchase_id, n, kind, note, decided_at)
			SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3, CAST($4 AS BIGINT) FROM decisions WHERE purchase_id = $1`,
			purchaseID, string(kind), note, l.now())
		if err != nil {
			return err
		}
		_, purchase, err = l.recompute(ctx, tx, purchaseID)
		return err
	})
	if err != nil {
		return Purchase{}, err // the write may still be under way
	}
	return purchase, outcome
}
