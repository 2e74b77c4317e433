package ledger

import (
	"context"
	"database/sql"
	"time"
)

// paidRow is what a purchase needs to know of a payment.
type paidRow struct {
	session, outcome string
	paidAt           int64
	access           sql.NullInt64 // seconds
	sold             soldTerms
	status           Status
}

// recompute computes a purchase from all of its rows, stores it, and reports what it was before.
func (l *Ledger) recompute(t *tx, purchaseID string) Recorded {
	payments := readPaid(t, purchaseID)
	if t.err != nil || len(payments) == 0 {
		return Recorded{}
	}
	stored, decision := readPurchase(t, purchaseID)
	now := time.Unix(l.now(), 0).UTC()
	computed := stored
	var before Status
	if stored.ID == "" {
		computed.ID, computed.CreatedAt = purchaseID, now
	} else {
		before = stored.StatusAt(now)
	}
	compute(&computed, payments, decision)
	if t.err == nil && computed != stored {
		computed.UpdatedAt = now
		storePurchase(t, computed)
		l.announce(t, stored, computed)
	}
	return Recorded{Purchase: computed, Before: before}
}

// announce invalidates what nodes remember of a purchase that changed.
func (l *Ledger) announce(t *tx, stored, computed Purchase) {
	switch {
	case stored.ID == "":
	case computed.Status != stored.Status, !computed.EndsAt.Equal(stored.EndsAt),
		computed.DeviceLimit != stored.DeviceLimit, computed.DownloadLimit != stored.DownloadLimit:
		l.advanceFeed(t, stored.ID)
	default:
		t.touches(stored.ID)
	}
}

// compute fills in what the payments and the last decision say.
func compute(p *Purchase, payments []paidRow, decision DecisionKind) {
	first := payments[0]
	for _, payment := range payments {
		if PurchaseID(payment.session) == p.ID {
			first = payment // an extension may have come before
		}
	}
	var statuses []Status
	var counted []paidRow
	for _, payment := range payments {
		if payment.sold.scope() != first.sold.scope() && payment.status == Active {
			payment.status = Mismatched // an extension that paid for something else
		}
		statuses = append(statuses, payment.status)
		if payment.status == Active {
			counted = append(counted, payment)
		}
	}
	p.Status = strongest(statuses)
	if len(counted) == 0 {
		counted = payments // describe what was sold
	}
	if decision == Revoke {
		p.Status = Revoked
	}
	p.Site, p.Product, p.Resource = first.sold.Site, first.sold.Product, first.sold.Resource
	p.StartsAt = time.Unix(counted[0].paidAt, 0).UTC()
	p.EndsAt = endOf(counted)
	p.DeviceLimit, p.DownloadLimit = limitsOf(counted)
}

// endOf adds each payment's access to the end of those before, or to its own time where that is later. It is the zero
// time where access has no end.
func endOf(payments []paidRow) time.Time {
	var end int64
	for _, payment := range payments {
		if !payment.access.Valid {
			return time.Time{}
		}
		end = max(end, payment.paidAt) + payment.access.Int64
	}
	return time.Unix(end, 0).UTC()
}

// limitsOf is the largest number of devices that a payment bought, and the sum of the downloads. Zero is no limit, in
// either.
func limitsOf(payments []paidRow) (devices, downloads int) {
	anyDevices, anyDownloads := false, false
	for _, payment := range payments {
		devices = max(devices, payment.sold.Devices)
		downloads += payment.sold.Downloads
		anyDevices = anyDevices || payment.sold.Devices == 0
		anyDownloads = anyDownloads || payment.sold.Downloads == 0
	}
	if anyDevices {
		devices = 0
	}
	if anyDownloads {
		downloads = 0
	}
	return devices, downloads
}

const (
	paymentsQuery = `
		SELECT p.session_id, p.outcome, p.access_seconds, p.paid_at, t.body
		FROM payments p CROSS JOIN terms t
		WHERE p.purchase_id = $1 AND t.hash = p.terms_hash
		ORDER BY p.paid_at, p.session_id`
	// purchaseEventsQuery lists the events about the payments of a purchase, with the charges that they name. All ids
	// of such an event are ids of the session.
	purchaseEventsQuery = `
		SELECT p.session_id, e.kind, '' FROM payments p CROSS JOIN events e
		WHERE p.purchase_id = $1 AND e.session_id = p.session_id AND NOT EXISTS (SELECT 1 FROM event_ids WHERE event_id = e.id)
		UNION
		SELECT p.session_id, e.kind, n.charge
		FROM payments p CROSS JOIN payment_ids n CROSS JOIN event_ids x CROSS JOIN events e
		WHERE p.purchase_id = $1 AND n.session_id = p.session_id AND x.external_id = n.payment_id AND e.id = x.event_id`
	chargesQuery = `
		SELECT n.session_id, n.charge, MIN(n.outcome)
		FROM payments p CROSS JOIN payment_ids n
		WHERE p.purchase_id = $1 AND n.session_id = p.session_id AND n.outcome <> ''
		GROUP BY n.session_id, n.charge`
)

// readPaid reads the payments of a purchase in the order of their times, with the status of each.
func readPaid(t *tx, purchaseID string) (payments []paidRow) {
	var p paidRow
	var body string
	t.each(paymentsQuery, args{purchaseID}, into{&p.session, &p.outcome, &p.access, &p.paidAt, &body}, func() {
		p.sold = parseTerms(t, body)
		payments = append(payments, p)
	})
	events := map[string][]happened{}
	var session, name, outcome string
	var e happened
	t.each(purchaseEventsQuery, args{purchaseID}, into{&session, &e.kind, &e.charge}, func() {
		events[session] = append(events[session], e)
	})
	charges := map[string]map[string]string{} // outcome by session and charge
	if len(events) > 0 {
		t.each(chargesQuery, args{purchaseID}, into{&session, &name, &outcome}, func() {
			if charges[session] == nil {
				charges[session] = map[string]string{}
			}
			charges[session][name] = outcome
		})
	}
	for i, p := range payments {
		payments[i].status = statusOf(p.outcome, charges[p.session], events[p.session])
	}
	return payments
}

// purchaseColumns are those of a table or subquery p that columns takes.
const purchaseColumns = `p.id, p.site, p.product, p.resource, p.status, p.starts_at, p.ends_at, p.device_limit,
	p.download_limit, p.downloads_used, p.download_window_ends_at, p.created_at, p.updated_at`

// columns are variables for purchaseColumns. All may be NULL, as after a LEFT JOIN; then ID is empty.
func (p *Purchase) columns() into {
	return into{
		null(&p.ID), null(&p.Site), null(&p.Product), null(&p.Resource), null(&p.Status), unix(&p.StartsAt), unix(&p.EndsAt), null(&p.DeviceLimit),
		null(&p.DownloadLimit), null(&p.DownloadsUsed), unix(&p.DownloadWindowEndsAt), unix(&p.CreatedAt), unix(&p.UpdatedAt),
	}
}

// readPurchase reads a stored purchase and the last decision about it. Either may be missing.
func readPurchase(t *tx, id string) (p Purchase, decision DecisionKind) {
	t.get(`
		SELECT (SELECT kind FROM decisions d WHERE d.purchase_id = $1 ORDER BY n DESC LIMIT 1), `+purchaseColumns+`
		FROM purchases p WHERE p.id = $1`, args{id}, append(into{null(&decision)}, p.columns()...)...)
	return p, decision
}

func storePurchase(t *tx, p Purchase) {
	t.exec(`
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
}

// Decide stores what the site's operator decided. It returns ErrNotFound, or ErrUnchanged where the last decision was
// the same. Restoring what was never revoked is unchanged, too.
func (l *Ledger) Decide(ctx context.Context, purchaseID string, kind DecisionKind, note string) (Purchase, error) {
	return write(ctx, l, func(t *tx) (Purchase, error) {
		stored, last := readPurchase(t, purchaseID)
		switch {
		case stored.ID == "":
			return Purchase{}, ErrNotFound
		case last == kind, last == "" && kind == Restore:
			return stored, ErrUnchanged
		}
		t.exec(`
			INSERT INTO decisions (purchase_id, n, kind, note, decided_at)
			SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3, CAST($4 AS BIGINT) FROM decisions WHERE purchase_id = $1`,
			purchaseID, string(kind), note, l.now())
		return l.recompute(t, purchaseID).Purchase, nil
	})
}
