// Package bulk fills ledgers for tests and benchmarks by SQL, with as many payments as are asked for.
package bulk

import (
	"fmt"
	"strings"
	"time"
)

// Statements insert so many payments of as many purchases in the year after a time: twenty products of two sites, two
// payment ids of every tenth, a device each, and one refund or dispute for every fiftieth. One in a hundred is two
// years older, and its access has ended; another one has no end. The tables' names have no schema.
func Statements(isPostgres bool, first time.Time, payments int) []string {
	words := sqliteWords
	if isPostgres {
		words = postgresWords
	}
	replacer := strings.NewReplacer(append([]string{
		"{n}", fmt.Sprint(payments), "{first}", fmt.Sprint(first.Unix()),
	}, words...)...)
	filled := make([]string, len(statements))
	for i, statement := range statements {
		filled[i] = replacer.Replace(statement)
	}
	return filled
}

var (
	sqliteWords = []string{
		"{random16}", "lower(hex(randomblob(16)))", "{random12}", "lower(hex(randomblob(12)))",
		"{hash i}", "printf('%032x', i)", "{hash term}", "printf('%032x', term)",
		"{object}", "json_object", "{text}", "",
	}
	postgresWords = []string{
		"{random16}", "md5(random()::text || i)", "{random12}", "substr(md5(random()::text || i), 1, 24)",
		"{hash i}", "lpad(to_hex(i), 32, '0')", "{hash term}", "lpad(to_hex(term), 32, '0')",
		"{object}", "json_build_object", "{text}", "::text",
	}
)

var statements = []string{
	`CREATE TEMP TABLE made AS
		WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {n})
		SELECT i, {random16} AS id, {random12} AS session, i % 20 AS term,
			{first} + CAST(i AS BIGINT) * 31536000 / {n} - (CASE WHEN i % 100 = 7 THEN 63072000 ELSE 0 END) AS at
		FROM numbers`,
	`INSERT INTO terms (hash, body)
		SELECT {hash i}, {object}('paywall_v', '1', 'paywall_installation', 'test',
			'paywall_site', CASE i % 2 WHEN 0 THEN 'https://example.com' ELSE 'https://example.org' END,
			'paywall_pass', 'product ' || i, 'paywall_resource', '*', 'paywall_access', '2592000'){text}
		FROM made WHERE i < 20`,
	`INSERT INTO purchases (id, site, product, resource, status, starts_at, ends_at, device_limit, download_limit, created_at, updated_at)
		SELECT id, CASE term % 2 WHEN 0 THEN 'https://example.com' ELSE 'https://example.org' END, 'product ' || term, '*',
			CASE WHEN i % 100 = 3 THEN 'refunded' ELSE 'active' END, at,
			CASE WHEN i % 100 = 11 THEN NULL ELSE at + 2592000 END, 3, 0, at, at
		FROM made`,
	`INSERT INTO payments (session_id, purchase_id, source, outcome, asked_minor, asked_currency, paid_minor, paid_currency,
			paid_raw, paid_at, terms_hash, metadata, note)
		SELECT 'cs_' || session, id, 'axra', 'accepted', 500, 'usd', 500, 'usd', '5.00 usd', at, {hash term}, '{}', ''
		FROM made`,
	`INSERT INTO payment_ids (session_id, payment_id, charge, outcome, at)
		SELECT 'cs_' || session, 'pay_' || session, 'pay_' || session, 'accepted', at FROM made`,
	`INSERT INTO payment_ids (session_id, payment_id, charge, outcome, at)
		SELECT 'cs_' || session, 'pi_' || session, 'pay_' || session, 'accepted', at FROM made WHERE i % 10 = 0`,
	`INSERT INTO devices (purchase_id, device_id, label, added_at) SELECT id, {random16}, 'Firefox on Linux', at FROM made`,
	`INSERT INTO events (id, kind, session_id, occurred_at, received_at)
		SELECT 'e' || id, CASE i % 100 WHEN 3 THEN 'refunded' ELSE 'disputed' END, '', at + 86400, at + 86400
		FROM made WHERE i % 50 = 3`,
	`INSERT INTO event_ids (event_id, external_id) SELECT 'e' || id, 'pay_' || session FROM made WHERE i % 50 = 3`,
	`DROP TABLE made`,
}
