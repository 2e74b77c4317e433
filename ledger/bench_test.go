package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// BenchmarkGrant is one reading of the ledger, as the first redemption and each recheck
// make it: with storage that costs nothing, to see what the ledger itself takes, and with
// Caddy's files.
func BenchmarkGrant(b *testing.B) {
	for _, storage := range []struct {
		name string
		open func(b *testing.B) Storage
	}{
		{"memory", func(*testing.B) Storage { return newDisk() }},
		{"files", func(b *testing.B) Storage { return &certmagic.FileStorage{Path: b.TempDir()} }},
	} {
		b.Run(storage.name, func(b *testing.B) {
			l := New(storage.open(b), time.Minute)
			mustRecord(b, l, paidFact(b, theSession, payment1), paidFact(b, "cs_refunded", payment2), outcomeFact(Refunded, "cs_refunded", payment2))
			for _, bench := range []struct {
				name, session string
				want          error
				closedFor     Kind
			}{
				{"untroubled", theSession, nil, ""},
				{"refunded", "cs_refunded", nil, Refunded},
				{"unpaid", "cs_unknown", ErrNotPaid, ""},
			} {
				b.Run(bench.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if grant, err := l.Grant(b.Context(), bench.session); !errors.Is(err, bench.want) || grant.ClosedFor != bench.closedFor {
							b.Fatal(grant, err)
						}
					}
				})
			}
		})
	}
}
