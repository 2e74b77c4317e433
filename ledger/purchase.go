package ledger

import (
	"context"
	"slices"
	"time"
)

// recompute computes a purchase from all of its rows and stores it. Other nodes forget what they remember of it.
func (l *Ledger) recompute(t *tx, purchaseID string) (Purchase, []*session) {
	sessions := readSessions(t, purchaseID)
	for _, s := range sessions {
		s.storeIDs(t)
	}
	stored, decision := readPurchase(t, purchaseID)
	if t.err != nil || len(sessions) == 0 {
		return Purchase{}, nil
	}
	computed := stored
	if stored.ID == "" {
		computed.ID, computed.CreatedAt = purchaseID, time.Unix(l.now(), 0).UTC()
	}
	compute(&computed, sessions, decision)
	if computed != stored {
		l.storePurchase(t, computed)
		if stored.ID != "" {
			l.advanceFeed(t, stored.ID)
		}
	}
	return computed, sessions
}

// compute fills in what the payments and the last decision say.
func compute(p *Purchase, sessions []*session, decision DecisionKind) {
	isFirst := func(s *session) bool { return PurchaseID(s.SessionID) == p.ID }
	first := sessions[max(0, slices.IndexFunc(sessions, isFirst))] // an extension may have come before
	p.Status = Mismatched
	var counted []*session
	for _, s := range sessions {
		status := s.status()
		if status == Active && scopeOf(s.Terms) != scopeOf(first.Terms) {
			status = Mismatched // an extension that paid for something else
		}
		if p.Status = stronger(p.Status, status); status == Active {
			counted = append(counted, s)
		}
	}
	if len(counted) == 0 {
		counted = sessions // describe what was sold
	}
	if decision == Revoke {
		p.Status = Revoked
	}
	p.Site, p.Product, p.Resource, p.StartsAt = first.Terms.Site, first.Terms.Pass, first.Terms.Resource, counted[0].PaidAt
	p.EndsAt = endOf(counted)
	p.DeviceLimit = orUnlimited(counted, func(s *session) int { return s.Terms.Devices }, func(a, b int) int { return max(a, b) })
	p.DownloadLimit = orUnlimited(counted, func(s *session) int { return s.Terms.Downloads }, func(a, b int) int { return a + b })
}

// endOf adds each payment's access to the end of those before, or to its own time where that is later. It is the zero
// time where access has no end.
func endOf(sessions []*session) (end time.Time) {
	for _, s := range sessions {
		if s.PaidAt.After(end) {
			end = s.PaidAt
		}
		if end = s.Terms.Access.Until(end); end.IsZero() {
			break
		}
	}
	return end
}

// orUnlimited puts the limits of payments together, of which 0 is none.
func orUnlimited(sessions []*session, of func(*session) int, together func(a, b int) int) (limit int) {
	for _, s := range sessions {
		if of(s) == 0 {
			return 0
		}
		limit = together(limit, of(s))
	}
	return limit
}

// purchaseColumns are those of a table or subquery p that columns takes.
const purchaseColumns = `p.id, p.site, p.product, p.resource, p.status, p.starts_at, p.ends_at, p.device_limit,
	p.download_limit, p.downloads_used, p.download_window_ends_at, p.created_at`

// columns are variables for purchaseColumns. All may be NULL, as after a LEFT JOIN; then ID is empty.
func (p *Purchase) columns() into {
	return into{
		null(&p.ID), null(&p.Site), null(&p.Product), null(&p.Resource), null(&p.Status), unix(&p.StartsAt), unix(&p.EndsAt), null(&p.DeviceLimit),
		null(&p.DownloadLimit), null(&p.DownloadsUsed), unix(&p.DownloadWindowEndsAt), unix(&p.CreatedAt),
	}
}

// readPurchase reads a stored purchase and the last decision about it. Either may be missing.
func readPurchase(t *tx, id string) (p Purchase, decision DecisionKind) {
	t.get(`
		SELECT (SELECT kind FROM decisions d WHERE d.purchase_id = $1 ORDER BY n DESC LIMIT 1), `+purchaseColumns+`
		FROM purchases p WHERE p.id = $1`, args{id}, append(into{null(&decision)}, p.columns()...)...)
	return p, decision
}

func (l *Ledger) storePurchase(t *tx, p Purchase) {
	t.exec(`
		INSERT INTO purchases (id, site, product, resource, status, starts_at, ends_at, device_limit, download_limit, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE
		SET site = excluded.site, product = excluded.product, resource = excluded.resource, status = excluded.status,
			starts_at = excluded.starts_at, ends_at = excluded.ends_at, device_limit = excluded.device_limit,
			download_limit = excluded.download_limit, updated_at = excluded.updated_at`,
		p.ID, p.Site, p.Product, p.Resource, string(p.Status), p.StartsAt.Unix(), seconds(p.EndsAt),
		p.DeviceLimit, p.DownloadLimit, p.CreatedAt.Unix(), l.now())
}

// Decide stores what the site's operator decided, or returns ErrNotFound.
func (l *Ledger) Decide(ctx context.Context, purchaseID string, kind DecisionKind, note string) (Purchase, error) {
	return write(ctx, l, func(t *tx) (Purchase, error) {
		added := t.exec(`
			INSERT INTO decisions (purchase_id, n, kind, note, decided_at)
			SELECT id, (SELECT COALESCE(MAX(n), 0) + 1 FROM decisions WHERE purchase_id = p.id), $2, $3, CAST($4 AS BIGINT)
			FROM purchases p WHERE id = $1`, purchaseID, string(kind), note, l.now())
		if added == 0 {
			return Purchase{}, ErrNotFound
		}
		purchase, _ := l.recompute(t, purchaseID)
		return purchase, nil
	})
}
