package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// rememberedTokens is how many tokens the gate remembers as a whole (maxRecent in internal/access).
const rememberedTokens = 1 << 14

// perVisit is how many requests a visitor makes before the next one comes: a page and
// what it is made of.
const perVisit = 20

// visitors lets many more different tokens come by than are remembered.
func (b *bench) visitors(ctx context.Context) ([]*table, error) {
	t := &table{
		title: "Many visitors, " + sizeName(small),
		note: fmt.Sprintf("%d different valid tokens of %d purchases in random order, where %d are kept as a whole, against the same bytes without a gate. "+
			"All have come by once before.", b.tokens, b.sessions, rememberedTokens),
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
	keys, err := makeLedger(ctx, s.ledger, algorithm, b.sessions)
	if err != nil {
		return err
	}
	until := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second)
	buyers, err := keepOpen(ctx, s.ledger, until)
	if err != nil {
		return err
	}
	if s.api, err = b.newShop(s); err != nil {
		return err
	}
	if err := b.serve(ctx, s, s.axraOption(s.api.url, algorithm, unlimited), axraSite); err != nil {
		return err
	}
	all, err := b.mint(ctx, s, keys, algorithm, buyers, until)
	if err != nil {
		return err
	}
	b.progress("visitors: %s, all come by", algorithm)
	if err := comeBy(ctx, s, all); err != nil {
		return err
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

// buyer is a purchase and the device that uses it.
type buyer struct{ purchase, device string }

// keepOpen makes all purchases of a ledger open until a time, and returns them.
func keepOpen(ctx context.Context, at location, until time.Time) (buyers []buyer, err error) {
	return buyers, withSQL(at, func(db *sql.DB) error {
		if _, err := db.ExecContext(ctx, `DELETE FROM events`); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, `UPDATE purchases SET status = 'active', ends_at = $1`, until.Unix()); err != nil {
			return err
		}
		rows, err := db.QueryContext(ctx, `SELECT purchase_id, device_id FROM devices`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // Err tells
		for rows.Next() {
			var b buyer
			if err := rows.Scan(&b.purchase, &b.device); err != nil {
				return err
			}
			buyers = append(buyers, b)
		}
		return rows.Err()
	})
}

// mint signs tokens of the buyers with the site's own keys, and returns Cookie headers.
func (b *bench) mint(ctx context.Context, s *site, keys *token.Keyring, algorithm string, buyers []buyer, until time.Time) ([]string, error) {
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
	name, _, _ := strings.Cut(cookie, "=")
	all := make([]string, b.tokens)
	for i := range all {
		by := buyers[i%len(buyers)]
		raw, _, err := keys.SignAccess(token.Access{
			Site: like.Site, Pass: like.Pass, Resource: like.Resource, Purchase: by.purchase, Device: by.device,
			Until: until.Add(time.Duration(i/len(buyers)) * time.Second), // or they would be the same
		}, algorithm)
		if err != nil {
			return nil, err
		}
		all[i] = cookies(name + "=" + raw)
	}
	return all, nil
}
