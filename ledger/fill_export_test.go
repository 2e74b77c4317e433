package ledger

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// FillStart is the time after which the payments of Fill lie: a year of them, and one in a hundred that is
// two years older and whose access has ended.
var FillStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Fill inserts n payments of as many purchases by SQL: twenty products of two sites, two payment ids of
// every tenth, a device each, and one refund or dispute for every fiftieth.
func Fill(t testing.TB, l *Ledger, n int) {
	t.Helper()
	ctx := context.Background()
	in := func(sqlite, postgres string) string {
		if l.options.URL != "" {
			return postgres
		}
		return sqlite
	}
	random := func(digits int) string {
		return in(fmt.Sprintf("lower(hex(randomblob(%d)))", digits/2), fmt.Sprintf("substr(md5(random()::text || i), 1, %d)", digits))
	}
	hash := func(number string) string {
		return in("printf('%032x', "+number+")", "lpad(to_hex("+number+"), 32, '0')")
	}
	statements := []string{
		`CREATE TEMP TABLE made AS
			WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < ` + fmt.Sprint(n) + `)
			SELECT i, ` + random(32) + ` AS id, ` + random(24) + ` AS session, i % 20 AS term,
				` + fmt.Sprint(FillStart.Unix()) + ` + CAST(i AS BIGINT) * 31536000 / ` + fmt.Sprint(n) + ` - (CASE WHEN i % 100 = 7 THEN 63072000 ELSE 0 END) AS at
			FROM numbers`,
		`INSERT INTO terms (hash, body)
			SELECT ` + hash("i") + `, ` + in("json_object(", "json_build_object(") + `'installation', 'test',
				'site', CASE i % 2 WHEN 0 THEN 'https://example.com' ELSE 'https://example.org' END,
				'product', 'product ' || i, 'resource', '*', 'access', '2592000')` + in("", "::text") + `
			FROM made WHERE i < 20`,
		`INSERT INTO purchases (id, site, product, resource, status, starts_at, ends_at, device_limit, download_limit, created_at, updated_at)
			SELECT id, CASE term % 2 WHEN 0 THEN 'https://example.com' ELSE 'https://example.org' END, 'product ' || term, '*',
				CASE WHEN i % 100 = 3 THEN 'refunded' ELSE 'active' END, at,
				CASE WHEN i % 100 = 11 THEN NULL ELSE at + 2592000 END, 3, 0, at, at
			FROM made`,
		`INSERT INTO payments (session_id, purchase_id, source, outcome, asked_minor, asked_currency, paid_minor, paid_currency,
				paid_raw, access_seconds, extends, paid_at, terms_hash, metadata, note)
			SELECT 'cs_' || session, id, 'axra', 'accepted', 500, 'usd', 500, 'usd', '5.00 usd', 2592000, '', at, ` + hash("term") + `, '{}', ''
			FROM made`,
		`INSERT INTO payment_ids (session_id, payment_id, same_as, outcome, at)
			SELECT 'cs_' || session, 'pay_' || session, '', 'accepted', at FROM made`,
		`INSERT INTO payment_ids (session_id, payment_id, same_as, outcome, at)
			SELECT 'cs_' || session, 'pi_' || session, 'pay_' || session, 'accepted', at FROM made WHERE i % 10 = 0`,
		`INSERT INTO devices (purchase_id, device_id, label, added_at) SELECT id, ` + random(32) + `, 'Firefox on Linux', at FROM made`,
		`INSERT INTO events (id, kind, session_id, occurred_at, received_at)
			SELECT 'e' || id, CASE i % 100 WHEN 3 THEN 'refunded' ELSE 'disputed' END, '', at + 86400, at + 86400
			FROM made WHERE i % 50 = 3`,
		`INSERT INTO event_ids (event_id, external_id) SELECT 'e' || id, 'pay_' || session FROM made WHERE i % 50 = 3`,
		`DROP TABLE made`,
	}
	err := l.write(ctx, func(ctx context.Context, tx *tx) error {
		tx.waitUpTo(time.Hour)
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%w: %s", err, statement)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
