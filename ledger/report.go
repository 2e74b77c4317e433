package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// reportTimeout is for a report on all payments of a large ledger.
const reportTimeout = time.Minute

// Report adds up what happened from a time on until before another; a zero time is no bound. Events do not
// say how much was refunded, so the whole payment counts. Money goes back once: what a dispute took is no
// refund, and the other way round. What was given is no sale, and a double charge is in no sum.
func (l *Ledger) Report(ctx context.Context, from, to time.Time) (Report, error) {
	within := span{math.MinInt64, math.MaxInt64}
	if !from.IsZero() {
		within.from = from.Unix()
	}
	if !to.IsZero() {
		within.to = to.Unix()
	}
	var report Report
	err := l.readWithin(ctx, reportTimeout, func(ctx context.Context, tx *tx) error {
		lines := make(reportLines)
		if err := l.addSales(ctx, tx, lines, within); err != nil {
			return err
		}
		if err := l.addReturns(ctx, tx, lines, within); err != nil {
			return err
		}
		var err error
		if report.DoubleCharges, err = l.addChargedAgain(ctx, tx, lines, within); err != nil {
			return err
		}
		report.Lines = lines.sorted()
		return tx.QueryRowContext(ctx, countMismatched, within.from, within.to).Scan(&report.Mismatched)
	})
	if err != nil {
		return Report{}, fmt.Errorf("reporting: %w", err)
	}
	return report, nil
}

const countMismatched = `
	SELECT COUNT(*)
	FROM terms t CROSS JOIN payments p
	WHERE p.terms_hash = t.hash AND p.source = 'axra' AND p.outcome = 'mismatch'
		AND p.paid_at >= $1 AND p.paid_at < $2`

// span is a time in seconds; to is not included.
type span struct{ from, to int64 }

func (s span) contains(at sql.NullInt64) bool {
	return at.Valid && at.Int64 >= s.from && at.Int64 < s.to
}

type lineKey struct{ site, product, currency string }

type reportLines map[lineKey]*ReportLine

func (r reportLines) of(sold soldTerms, currency string) *ReportLine {
	key := lineKey{sold.Site, sold.Product, currency}
	if r[key] == nil {
		r[key] = &ReportLine{Site: sold.Site, Product: sold.Product, Currency: currency}
	}
	return r[key]
}

// sorted are the lines in which something happened.
func (r reportLines) sorted() []ReportLine {
	lines := make([]ReportLine, 0, len(r))
	for key, line := range r {
		if *line != (ReportLine{Site: key.site, Product: key.product, Currency: key.currency}) {
			lines = append(lines, *line)
		}
	}
	slices.SortFunc(lines, func(a, b ReportLine) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Currency, b.Currency))
	})
	return lines
}

func (s *Sum) add(count int, minor int64) {
	s.Count += count
	s.Minor += minor
}

// soldCurrencies lists each terms with each currency that they were paid in. It takes one step in the index
// for each.
const soldCurrencies = `
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
	SELECT hash, currency FROM sold WHERE currency IS NOT NULL`

// sumSales reads nothing but the index payments_by_terms. GROUP BY would sort a million rows.
const sumSales = `
	SELECT COUNT(*), CAST(COALESCE(SUM(paid_minor), 0) AS BIGINT) FROM payments
	WHERE terms_hash = $1 AND source = 'axra' AND outcome = 'accepted' AND paid_currency = $2
		AND paid_at >= $3 AND paid_at < $4`

func (l *Ledger) addSales(ctx context.Context, tx *tx, lines reportLines, within span) error {
	type pair struct{ hash, currency string }
	var pairs []pair
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var p pair
		err := rows.Scan(&p.hash, &p.currency)
		pairs = append(pairs, p)
		return err
	}, soldCurrencies)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		var sales Sum
		row := tx.QueryRowContext(ctx, sumSales, p.hash, p.currency, within.from, within.to)
		if err := row.Scan(&sales.Count, &sales.Minor); err != nil {
			return err
		}
		sold, err := l.sold.get(ctx, tx, p.hash)
		if err != nil {
			return err
		}
		lines.of(sold, p.currency).Sales.add(sales.Count, sales.Minor)
	}
	return nil
}

// returns are the first times at which money of a payment was on its way back.
type returns struct {
	hash, currency           string
	minor                    int64
	refunded, disputed, lost sql.NullInt64
}

// paymentReturns lists the payments with an event in the time, but for those that were charged again.
const paymentReturns = `
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
		WHERE e.session_id = a.session_id AND e.session_id <> ''
		UNION
		SELECT a.session_id, e.kind, e.occurred_at
		FROM affected a CROSS JOIN payment_ids i CROSS JOIN event_ids x CROSS JOIN events e
		WHERE i.session_id = a.session_id AND x.external_id = i.payment_id AND e.id = x.event_id
	)
	SELECT p.terms_hash, p.paid_currency, COALESCE(p.paid_minor, 0),
		MIN(CASE WHEN h.kind = 'refunded' THEN h.occurred_at END),
		MIN(CASE WHEN h.kind = 'disputed' THEN h.occurred_at END),
		MIN(CASE WHEN h.kind = 'dispute_lost' THEN h.occurred_at END)
	FROM happened h CROSS JOIN payments p
	WHERE p.session_id = h.session_id AND p.source = 'axra' AND p.outcome = 'accepted' AND p.charged_again_at IS NULL
	GROUP BY p.session_id, p.terms_hash, p.paid_currency, p.paid_minor`

func (l *Ledger) addReturns(ctx context.Context, tx *tx, lines reportLines, within span) error {
	var all []returns
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var r returns
		err := rows.Scan(&r.hash, &r.currency, &r.minor, &r.refunded, &r.disputed, &r.lost)
		all = append(all, r)
		return err
	}, paymentReturns, within.from, within.to)
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := l.addReturn(ctx, tx, lines, within, r); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) addReturn(ctx context.Context, tx *tx, lines reportLines, within span, r returns) error {
	sold, err := l.sold.get(ctx, tx, r.hash)
	if err != nil {
		return err
	}
	line := lines.of(sold, r.currency)
	if r.refunded.Valid && r.lost.Valid {
		isRefund := r.refunded.Int64 <= r.lost.Int64
		r.refunded.Valid, r.lost.Valid = isRefund, !isRefund
	}
	for _, part := range []struct {
		sum *Sum
		at  sql.NullInt64
	}{{&line.Refunds, r.refunded}, {&line.Disputes, r.disputed}, {&line.DisputesLost, r.lost}} {
		if within.contains(part.at) {
			part.sum.add(1, r.minor)
		}
	}
	return nil
}

const chargedAgain = `
	SELECT session_id, terms_hash, paid_currency, COALESCE(paid_minor, 0) FROM payments
	WHERE charged_again_at IS NOT NULL AND source = 'axra' AND outcome = 'accepted'`

// addChargedAgain counts the double charges of the time, and adds what happened to the first charges of
// these payments. There are few.
func (l *Ledger) addChargedAgain(ctx context.Context, tx *tx, lines reportLines, within span) (doubles int, err error) {
	type payment struct {
		session string
		back    returns
	}
	var payments []payment
	err = scanAll(ctx, tx, func(rows *sql.Rows) error {
		var p payment
		err := rows.Scan(&p.session, &p.back.hash, &p.back.currency, &p.back.minor)
		payments = append(payments, p)
		return err
	}, chargedAgain)
	if err != nil {
		return 0, err
	}
	for _, p := range payments {
		all, err := readCharges(ctx, tx, p.session)
		if err != nil {
			return 0, err
		}
		for i, c := range all.accepted() {
			if i > 0 && within.contains(sql.NullInt64{Int64: c.at, Valid: true}) {
				doubles++
			}
		}
		if err := readReturns(ctx, tx, p.session, all, &p.back); err != nil {
			return 0, err
		}
		if err := l.addReturn(ctx, tx, lines, within, p.back); err != nil {
			return 0, err
		}
	}
	return doubles, nil
}

// readReturns reads the events of a payment that are not about another charge of its session.
func readReturns(ctx context.Context, tx *tx, session string, all charges, r *returns) error {
	type happened struct {
		id   string
		kind EventKind
		at   sql.NullInt64
	}
	var events []happened
	err := scanAll(ctx, tx, func(rows *sql.Rows) error {
		var e happened
		err := rows.Scan(&e.id, &e.kind, &e.at)
		events = append(events, e)
		return err
	}, `
		SELECT id, kind, occurred_at FROM events WHERE session_id = $1
		UNION
		SELECT e.id, e.kind, e.occurred_at
		FROM payment_ids i CROSS JOIN event_ids x CROSS JOIN events e
		WHERE i.session_id = $1 AND x.external_id = i.payment_id AND e.id = x.event_id`, session)
	if err != nil {
		return err
	}
	first := map[EventKind]*sql.NullInt64{EventRefunded: &r.refunded, EventDisputed: &r.disputed, EventDisputeLost: &r.lost}
	for _, e := range events {
		ids, err := tx.texts(ctx, `SELECT external_id FROM event_ids WHERE event_id = $1`, e.id)
		if err != nil {
			return err
		}
		if at := first[e.kind]; at != nil && !all.isDouble(ids) && (!at.Valid || e.at.Int64 < at.Int64) {
			*at = e.at
		}
	}
	return nil
}

// Net is what the sales brought in, less refunds and less disputes that were lost, in minor units.
func (r ReportLine) Net() int64 { return r.Sales.Minor - r.Refunds.Minor - r.DisputesLost.Minor }

// Price is an amount of the line in major units.
func (r ReportLine) Price(minor int64) money.Price {
	return priceOf(sql.NullInt64{Int64: minor, Valid: true}, r.Currency)
}
