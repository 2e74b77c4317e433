package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// reportTimeout is for a report on all payments of a large ledger.
const reportTimeout = time.Minute

// Report sums up the time from one moment until before another; a zero time is no bound. Events do not state the refunded
// amount, so the whole payment counts. Money goes back once, by a refund or by a dispute. Given access is no sale, and
// double charges are in no sum.
func (l *Ledger) Report(ctx context.Context, from, to time.Time) (Report, error) {
	within := spanOf(from, to)
	return readWithin(ctx, l, reportTimeout, func(t *tx) (report Report, err error) {
		lines := make(reportLines)
		lines.addSales(t, within)
		lines.addReturns(t, within)
		report.Lines = lines.sorted()
		t.get(countMismatched, args{within.from, within.to}, &report.Mismatched)
		t.get(countRepeated, args{within.from, within.to}, &report.DoubleCharges)
		return report, nil
	})
}

// span is a time in seconds; to is not included.
type span struct{ from, to int64 }

// spanOf takes zero times for no bounds.
func spanOf(from, to time.Time) span {
	s := span{math.MinInt64, math.MaxInt64}
	if !from.IsZero() {
		s.from = from.Unix()
	}
	if !to.IsZero() {
		s.to = to.Unix()
	}
	return s
}

const (
	countMismatched = `
		SELECT COUNT(*)
		FROM terms t CROSS JOIN payments p
		WHERE p.terms_hash = t.hash AND p.source = 'axra' AND p.outcome = 'mismatch' AND p.paid_at >= $1 AND p.paid_at < $2`
	countRepeated = `
		SELECT COUNT(*) FROM (
			SELECT DISTINCT session_id, charge FROM payment_ids
			WHERE repeated_at IS NOT NULL AND repeated_at >= $1 AND repeated_at < $2) charges`

	// salesQuery lists each terms with each currency that they were paid in, by one step in the index payments_by_terms
	// for each, and adds up what was paid. It reads nothing but this index; GROUP BY would sort a million rows.
	salesQuery = `
		WITH RECURSIVE sold (hash, currency) AS (
			SELECT t.hash, (
				SELECT MIN(paid_currency) FROM payments
				WHERE terms_hash = t.hash AND source = 'axra' AND outcome = 'accepted')
			FROM terms t
			UNION ALL
			SELECT s.hash, (
				SELECT MIN(paid_currency) FROM payments
				WHERE terms_hash = s.hash AND source = 'axra' AND outcome = 'accepted' AND paid_currency > s.currency)
			FROM sold s
			WHERE s.currency IS NOT NULL
		)
		SELECT t.body, sold.currency,
			(SELECT COUNT(*) ` + salesOf + `),
			(SELECT CAST(COALESCE(SUM(paid_minor), 0) AS BIGINT) ` + salesOf + `)
		FROM sold CROSS JOIN terms t
		WHERE t.hash = sold.hash AND sold.currency IS NOT NULL`
	salesOf = `
		FROM payments
		WHERE terms_hash = sold.hash AND source = 'axra' AND outcome = 'accepted' AND paid_currency = sold.currency
			AND paid_at >= $1 AND paid_at < $2`

	// returnsQuery lists the payments with an event in the time, and when each kind of event happened first. Events
	// about another charge of the session than the first one do not count.
	returnsQuery = `
		WITH affected AS (
			SELECT session_id FROM events
			WHERE session_id <> '' AND occurred_at >= $1 AND occurred_at < $2
			UNION
			SELECT i.session_id
			FROM events e CROSS JOIN event_ids x CROSS JOIN payment_ids i
			WHERE x.event_id = e.id AND i.payment_id = x.external_id AND e.occurred_at >= $1 AND e.occurred_at < $2
		), happened AS (
			SELECT a.session_id, e.kind, e.occurred_at
			FROM affected a CROSS JOIN events e
			WHERE e.session_id = a.session_id AND NOT EXISTS (SELECT 1 FROM event_ids WHERE event_id = e.id)
			UNION
			SELECT a.session_id, e.kind, e.occurred_at
			FROM affected a CROSS JOIN payment_ids i CROSS JOIN event_ids x CROSS JOIN events e
			WHERE i.session_id = a.session_id AND i.repeated_at IS NULL AND x.external_id = i.payment_id AND e.id = x.event_id
		)
		SELECT t.body, p.paid_currency, COALESCE(p.paid_minor, 0),
			MIN(CASE WHEN h.kind = 'refunded' THEN h.occurred_at END),
			MIN(CASE WHEN h.kind = 'disputed' THEN h.occurred_at END),
			MIN(CASE WHEN h.kind = 'dispute_lost' THEN h.occurred_at END)
		FROM happened h CROSS JOIN payments p CROSS JOIN terms t
		WHERE p.session_id = h.session_id AND p.source = 'axra' AND p.outcome = 'accepted' AND t.hash = p.terms_hash
		GROUP BY p.session_id, t.body, p.paid_currency, p.paid_minor`
)

type lineKey struct{ site, product, currency string }

type reportLines map[lineKey]*ReportLine

// of is the line of a product in a currency.
func (r reportLines) of(t *tx, body, currency string) *ReportLine {
	sold := parseTerms(t, body)
	key := lineKey{sold.Site, sold.Product, currency}
	if r[key] == nil {
		r[key] = &ReportLine{Site: sold.Site, Product: sold.Product, Currency: currency}
	}
	return r[key]
}

func (r reportLines) addSales(t *tx, within span) {
	var body, currency string
	var sales Sum
	t.each(salesQuery, args{within.from, within.to}, into{&body, &currency, &sales.Count, &sales.Minor}, func() {
		line := r.of(t, body, currency)
		line.Sales.Count += sales.Count
		line.Sales.Minor += sales.Minor
	})
}

func (r reportLines) addReturns(t *tx, within span) {
	var body, currency string
	var minor int64
	var refunded, disputed, lost sql.NullInt64
	t.each(returnsQuery, args{within.from, within.to}, into{&body, &currency, &minor, &refunded, &disputed, &lost}, func() {
		if refunded.Valid && lost.Valid { // money goes back once
			isRefund := refunded.Int64 <= lost.Int64
			refunded.Valid, lost.Valid = isRefund, !isRefund
		}
		line := r.of(t, body, currency)
		line.Refunds.addIn(within, refunded, minor)
		line.Disputes.addIn(within, disputed, minor)
		line.DisputesLost.addIn(within, lost, minor)
	})
}

// addIn adds a payment that something happened to within a time.
func (s *Sum) addIn(within span, at sql.NullInt64, minor int64) {
	if at.Valid && at.Int64 >= within.from && at.Int64 < within.to {
		s.Count++
		s.Minor += minor
	}
}

// sorted are the lines in which something happened.
func (r reportLines) sorted() []ReportLine {
	lines := make([]ReportLine, 0, len(r))
	for line := range maps.Values(r) {
		if *line != (ReportLine{Site: line.Site, Product: line.Product, Currency: line.Currency}) {
			lines = append(lines, *line)
		}
	}
	slices.SortFunc(lines, func(a, b ReportLine) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Currency, b.Currency))
	})
	return lines
}

// Net is what the sales brought in, less refunds and less disputes that were lost, in minor units.
func (r ReportLine) Net() int64 { return r.Sales.Minor - r.Refunds.Minor - r.DisputesLost.Minor }

// Price is an amount of the line in major units.
func (r ReportLine) Price(minor int64) money.Price {
	return priceOf(sql.NullInt64{Int64: minor, Valid: true}, r.Currency)
}
