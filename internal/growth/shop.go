package main

import (
	"context"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-axra/paywall/internal/bulk"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// shop makes payments as a site does that sells access for 30 days: one in 50 is
// refunded, one in 200 disputed.
type shop struct {
	folder string
	filled int // payments that are there
	extra  int // payments made while measuring, which have numbers of their own
	now    time.Time
	sold   terms.Terms

	quick *ledger.Ledger // for filling
	real  *ledger.Archive
	bare  *certmagic.FileStorage // what both are on
	keys  *token.Keyring         // of the installation
}

const (
	access = 30 * 24 * time.Hour
	spread = 360 * 24 * time.Hour // the payments of a year: none of them is swept
)

func newShop(ctx context.Context, folder string) (*shop, error) {
	price, err := money.Parse("5.00", "usd")
	if err != nil {
		panic(err) // it is a price
	}
	files := &certmagic.FileStorage{Path: folder}
	keys := token.NewKeyring(time.Now)
	if err := keys.Ensure(ctx, files, token.HS256); err != nil {
		return nil, err
	}
	site, err := freeSite()
	return &shop{
		folder: folder, now: time.Now(),
		sold: terms.Terms{
			Installation: keys.Installation(), Site: site, Pass: "/premium/*", Resource: terms.WholePass,
			Price: price, Access: terms.Access(access), Devices: 3,
		},
		quick: ledger.New(bulk.Storage{FileStorage: files}, time.Minute), real: ledger.NewArchive(files),
		bare: files, keys: keys,
	}, err
}

func (s *shop) fact(kind ledger.Kind, n int, at time.Time) ledger.Fact {
	f := ledger.Fact{Kind: kind, Session: bulk.SessionID(n), Payment: bulk.PaymentID(n), At: at}
	if kind == ledger.Paid {
		f.Terms, f.Paid = s.sold, s.sold.Price
	}
	return f
}

// fill adds payments up to a number of them.
func (s *shop) fill(ctx context.Context, size int) error {
	err := bulk.Each(ctx, s.filled, size, func(ctx context.Context, n int) error {
		return s.sell(ctx, n, s.now.Add(-spread/1000*time.Duration(n%1000)))
	})
	s.filled = size
	return err
}

// sell records a payment, and what becomes of some of them.
func (s *shop) sell(ctx context.Context, n int, at time.Time) error {
	kinds := []ledger.Kind{ledger.Paid}
	if n%50 == 7 {
		kinds = append(kinds, ledger.Refunded)
	}
	if n%200 == 11 {
		kinds = append(kinds, ledger.Disputed)
	}
	for _, kind := range kinds {
		if _, err := s.quick.Record(ctx, s.fact(kind, n, at)); err != nil {
			return err
		}
	}
	return nil
}
