package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-axra/paywall/internal/bulk"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// rememberedTokens is how many tokens the gate remembers as a whole (maxRecent in verified.go).
const rememberedTokens = 1 << 14

// perVisit is how many requests a visitor makes before the next one comes: a page and
// what it is made of.
const perVisit = 20

// visitors lets many more different tokens come by than are remembered.
func (b *bench) visitors(ctx context.Context) ([]*table, error) {
	t := &table{
		title: "Many visitors, " + sizeName(small),
		note: fmt.Sprintf("%d different valid tokens of %d purchases in random order, where %d are kept as a whole, against the same bytes without a gate. "+
			"All have come by several times before, within %s.", b.tokens, min(b.sessions, b.tokens), rememberedTokens, b.known),
		head: []string{"tokens", "requests of each in a row", "throughput", "CPU per request", "p99"},
	}
	for _, algorithm := range []string{token.HS256, token.EdDSA} {
		err := b.crowd(ctx, algorithm, t)
		b.stop()
		if err != nil {
			return nil, err
		}
	}
	return []*table{t}, nil
}

func (b *bench) crowd(ctx context.Context, algorithm string, t *table) error {
	b.progress("visitors: %s, storing %d purchases", algorithm, b.sessions)
	bare, err := b.openNone(ctx)
	if err != nil {
		return err
	}
	s, err := b.newSite()
	if err != nil {
		return err
	}
	if s.api, err = b.newShop(s); err != nil {
		return err
	}
	if err := b.serve(ctx, s, axraOption(s.api.url, algorithm, unlimited), axraSite); err != nil {
		return err
	}
	all, err := b.mint(ctx, s, algorithm)
	if err != nil {
		return err
	}
	// For the first seconds after its start a node asks the ledger about everybody: news vouch
	// for what was read a while after they were first seen.
	b.progress("visitors: %s, all come by for %s", algorithm, b.known)
	for began := time.Now(); time.Since(began) < b.known; {
		if err := comeBy(ctx, s, all); err != nil {
			return err
		}
	}
	for _, inARow := range []int{1, perVisit} {
		b.progress("visitors: %s, %d requests each", algorithm, inARow)
		figures, err := b.compare(ctx, s, s.crowd(all, inARow), bare, bare.crowd(all, inARow), throughput, cpuEach, p99)
		if err != nil {
			return err
		}
		t.add(algorithm, append([]string{strconv.Itoa(inARow)}, figures...)...)
	}
	return nil
}

// crowd is requests of visitors in random order, of each so many in a row.
func (s *site) crowd(all []string, inARow int) request {
	return anyOf(s.host, premium(small), all, inARow, http.StatusOK, small, "Accept: */*")
}

// comeBy lets each visitor make one request.
func comeBy(ctx context.Context, s *site, all []string) error {
	var next atomic.Int64
	each := request{func(buffer []byte) []byte {
		cookie := all[int(next.Add(1)-1)%len(all)]
		return append(buffer, get(s.host, premium(small), "Accept: */*", "Cookie: "+cookie)...)
	}, http.StatusOK, small}
	l, err := newLoad(s.address, connections, each)
	if err != nil {
		return err
	}
	defer l.close()
	for int(next.Load()) < len(all) {
		if _, err := l.run(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// mint stores purchases like one that was made, and signs tokens for them with the
// site's own keys. It returns Cookie headers.
func (b *bench) mint(ctx context.Context, s *site, algorithm string) ([]string, error) {
	cookie, session, err := s.api.buy(ctx, s)
	if err != nil {
		return nil, err
	}
	sold, err := metadata(session)
	if err != nil {
		return nil, err
	}
	like, err := terms.FromMetadata(sold)
	if err != nil {
		return nil, err
	}
	if err := b.sell(ctx, s.storage, like); err != nil {
		return nil, err
	}
	ring := token.NewKeyring(time.Now)
	if err := ring.Refresh(ctx, &certmagic.FileStorage{Path: s.storage}); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(cookie, "=")
	all := make([]string, b.tokens)
	until := time.Now().Add(30 * 24 * time.Hour)
	return all, bulk.Each(ctx, 0, len(all), func(_ context.Context, i int) error {
		raw, _, err := ring.SignAccess(token.Access{
			Site: like.Site, Pass: like.Pass, Resource: like.Resource, Session: bulk.SessionID(i % b.sessions),
			// Tokens of one purchase differ in their ends.
			Payment: bulk.PaymentID(i % b.sessions), Until: until.Add(time.Duration(i/b.sessions) * time.Second),
		}, algorithm)
		all[i] = cookies(name + "=" + raw)
		return err
	})
}

func (b *bench) sell(ctx context.Context, storage string, like terms.Terms) error {
	quick := ledger.New(bulk.Storage{FileStorage: &certmagic.FileStorage{Path: storage}}, answerWithin)
	return bulk.Each(ctx, 0, min(b.sessions, b.tokens), func(ctx context.Context, i int) error {
		_, err := quick.Record(ctx, ledger.Fact{
			Kind: ledger.Paid, Session: bulk.SessionID(i), Payment: bulk.PaymentID(i), At: time.Now(), Terms: like, Paid: like.Price,
		})
		return err
	})
}
