package ledger

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// reportTimeout is for a report on all payments of a large ledger.
const reportTimeout = time.Minute

// Report sums up the time from one moment until before another; a zero time is no bound. Events do not state the refunded
// amount, so the whole payment counts. Money goes back once, by a refund or by a dispute. Given access is no sale, and
// double charges are in no sum.
func (l *Ledger) Report(ctx context.Context, from, to time.Time) (Report, error) {
	first, last := secondsOr(from, math.MinInt64), secondsOr(to, math.MaxInt64)
	return readWithin(ctx, l, reportTimeout, func(t *tx) (report Report, _ error) {
		t.get(countRepeated, args{first, last}, &report.DoubleCharges)
		var sold terms.Terms
		var currency string
		var isMismatch bool
		var sum Sum
		line := func() *ReportLine { return report.line(sold, currency) }
		t.each(salesQuery, args{first, last}, into{parsed(&sold, parseTerms), &isMismatch, &currency, &sum.Count, &sum.Minor}, func() {
			if isMismatch {
				report.Mismatched += sum.Count
			} else {
				line().Sales.add(sum)
			}
		})
		var refunded, disputed, lost int64
		sum.Count = 1
		t.each(returnsQuery, args{first, last}, into{parsed(&sold, parseTerms), &currency, &sum.Minor, &refunded, &disputed, &lost}, func() {
			back := min(refunded, lost) // money goes back once
			switch {
			case back < first, back >= last:
			case back == refunded:
				line().Refunds.add(sum)
			default:
				line().DisputesLost.add(sum)
			}
			if disputed >= first && disputed < last {
				line().Disputes.add(sum)
			}
		})
		slices.SortFunc(report.Lines, func(a, b ReportLine) int {
			return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Currency, b.Currency))
		})
		return report, nil
	})
}

// line is the line of a product in a currency.
func (r *Report) line(sold terms.Terms, currency string) *ReportLine {
	for i, l := range r.Lines {
		if l.Site == sold.Site && l.Product == sold.Pass && l.Currency == currency {
			return &r.Lines[i]
		}
	}
	r.Lines = append(r.Lines, ReportLine{Site: sold.Site, Product: sold.Pass, Currency: currency})
	return &r.Lines[len(r.Lines)-1]
}

func (s *Sum) add(other Sum) {
	s.Count += other.Count
	s.Minor += other.Minor
}

const (
	countRepeated = `
		SELECT COUNT(*) FROM (
			SELECT DISTINCT session_id, charge FROM payment_ids
			WHERE repeated_at IS NOT NULL AND repeated_at >= $1 AND repeated_at < $2) charges`

	// salesQuery reads nothing but the index payments_by_terms.
	salesQuery = `
		SELECT t.body, p.outcome = 'mismatch', p.paid_currency, COUNT(*), CAST(COALESCE(SUM(p.paid_minor), 0) AS BIGINT) FROM terms t CROSS JOIN payments p
		WHERE p.terms_hash = t.hash AND p.source = 'axra' AND p.paid_at >= $1 AND p.paid_at < $2
		GROUP BY t.hash, t.body, p.outcome, p.paid_currency`

	// returnsQuery lists the payments with an event in the time, and when each kind of event happened first. Events
	// about another charge of the session than the first one do not count. The last time of all means that it did not.
	returnsQuery = `
		WITH affected AS (
			SELECT session_id FROM events WHERE session_id <> '' AND occurred_at >= $1 AND occurred_at < $2
			UNION
			SELECT i.session_id FROM events e CROSS JOIN event_ids x CROSS JOIN payment_ids i
			WHERE x.event_id = e.id AND i.payment_id = x.external_id AND e.occurred_at >= $1 AND e.occurred_at < $2
		), happened AS (
			SELECT a.session_id, e.kind, e.occurred_at FROM affected a CROSS JOIN events e
			WHERE e.session_id = a.session_id AND NOT EXISTS (SELECT 1 FROM event_ids WHERE event_id = e.id)
			UNION
			SELECT a.session_id, e.kind, e.occurred_at
			FROM affected a CROSS JOIN payment_ids i CROSS JOIN event_ids x CROSS JOIN events e
			WHERE i.session_id = a.session_id AND i.repeated_at IS NULL AND x.external_id = i.payment_id AND e.id = x.event_id
		)
		SELECT t.body, p.paid_currency, COALESCE(p.paid_minor, 0),
			COALESCE(MIN(CASE WHEN h.kind = 'refunded' THEN h.occurred_at END), 9223372036854775807),
			COALESCE(MIN(CASE WHEN h.kind = 'disputed' THEN h.occurred_at END), 9223372036854775807),
			COALESCE(MIN(CASE WHEN h.kind = 'dispute_lost' THEN h.occurred_at END), 9223372036854775807)
		FROM happened h CROSS JOIN payments p CROSS JOIN terms t
		WHERE p.session_id = h.session_id AND p.source = 'axra' AND p.outcome = 'accepted' AND t.hash = p.terms_hash
		GROUP BY p.session_id, t.body, p.paid_currency, p.paid_minor`
)

// Net is what the sales brought in, less refunds and less disputes that were lost, in minor units.
func (r ReportLine) Net() int64 { return r.Sales.Minor - r.Refunds.Minor - r.DisputesLost.Minor }

// Price is an amount of the line in major units.
func (r ReportLine) Price(minor int64) money.Price { return priceOf(minor, r.Currency) }
