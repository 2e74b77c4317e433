package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
)

// webhook compares the webhook with a bare handler of the same Caddy that records the same payments, with
// ledgers of two sizes.
func (b *bench) webhook(ctx context.Context) ([]*table, error) {
	defer b.stop()
	var shops []*webhookShop
	for _, payments := range b.payments {
		s, err := b.openWebhookShop(ctx, payments)
		if err != nil {
			return nil, err
		}
		shops = append(shops, s)
	}
	for _, s := range shops {
		if err := b.openLoads(s); err != nil {
			return nil, err
		}
	}
	for round := range b.pairs + 1 {
		b.progress("webhook: round %d of %d", round, b.pairs)
		if err := b.webhookRound(ctx, shops, round); err != nil {
			return nil, err
		}
	}
	for _, s := range shops {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
	}
	against, err := againstBare(shops)
	if err != nil {
		return nil, err
	}
	growth, err := asItGrows(shops)
	return []*table{against, growth}, err
}

// atOnce are the numbers of connections.
var atOnce = [...]int{1, connections}

// webhookShop is a site whose ledger begins with so many payments. Its ungated site is the bare handler, with
// a ledger of its own that began as a copy.
type webhookShop struct {
	*site
	payments   int
	bareLedger location
	sold       map[string]string // metadata of a checkout
	loads      [len(atOnce)]struct{ webhook, bare contender }
	before     [2]rows // of both ledgers, after the warm-up
	runs       [len(atOnce)][]pair
	redeemed   []float64 // seconds, the median of each round
	purchased  int       // by redemptions, after the warm-up
}

func (b *bench) openWebhookShop(ctx context.Context, payments int) (*webhookShop, error) {
	b.progress("webhook: filling two ledgers with %s payments", humanize.Comma(int64(payments)))
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	if s.ledger, err = b.newLocation(ctx, string(s.ledger)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.home, "url"), []byte(s.ledger), 0o600); err != nil {
		return nil, err
	}
	shop := &webhookShop{site: s, payments: payments}
	if _, err := makeLedger(ctx, s.ledger, "HS256", payments); err != nil {
		return nil, err
	}
	if shop.bareLedger, err = b.copy(ctx, s.ledger, filepath.Join(s.home, "bare.db")); err != nil {
		return nil, err
	}
	if s.api, err = b.newShop(s); err != nil {
		return nil, err
	}
	file := filepath.Join(s.home, "metadata.json")
	s.beside = fmt.Sprintf("\tbench_record * %q %q", shop.bareLedger, file)
	if err := b.serve(ctx, s, s.axraOption(s.api.url, "HS256", unlimited), axraSite); err != nil {
		return nil, err
	}
	_, session, err := s.api.buy(ctx, s)
	if err != nil {
		return nil, err
	}
	sold, err := metadata(session)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(sold)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	shop.sold = sold
	return shop, nil
}

// openLoads connects. Caddy closes connections that send nothing for a minute.
func (b *bench) openLoads(s *webhookShop) error {
	for i, n := range atOnce {
		for side, to := range map[*site]*contender{s.site: &s.loads[i].webhook, s.ungated: &s.loads[i].bare} {
			l, err := newLoad(side.address, n, side.delivery(s.sold))
			if err != nil {
				return err
			}
			b.onStop(l.close)
			*to = contender{l, s.processes}
		}
	}
	return nil
}

// webhookRound measures each shop once: both sides at each number of connections, one right after the other,
// and redemptions. The first round warms up.
func (b *bench) webhookRound(ctx context.Context, shops []*webhookShop, round int) error {
	length := b.each
	if round == 0 {
		length = b.warmUp
	}
	var turns []func() error
	for _, s := range shops {
		for i := range atOnce {
			turns = append(turns, func() error { return s.compareOnce(ctx, i, length, round) })
		}
		turns = append(turns, func() error { return b.redeem(ctx, s, round > 0) })
	}
	if err := inTurn(round, turns); err != nil || round > 0 {
		return err
	}
	for _, s := range shops {
		var err, err2 error
		s.before[0], err = countRows(ctx, s.ledger)
		s.before[1], err2 = countRows(ctx, s.bareLedger)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
	}
	return nil
}

func (s *webhookShop) compareOnce(ctx context.Context, i int, length time.Duration, round int) error {
	var p pair
	err := inTurn(round, []func() error{
		func() (err error) { p.gate, err = s.loads[i].webhook.run(ctx, length); return err },
		func() (err error) { p.bare, err = s.loads[i].bare.run(ctx, length); return err },
	})
	if round > 0 {
		s.runs[i] = append(s.runs[i], p)
	}
	return err
}

// redemptionsEach is how many redemptions a round measures; their median counts.
const redemptionsEach = 5

// redeem lets visitors pay and measures how long each waits for the site when they come back.
func (b *bench) redeem(ctx context.Context, s *webhookShop, counts bool) error {
	took := make([]float64, redemptionsEach)
	for i := range took {
		v, _, back, err := s.api.pay(ctx, s.site)
		if err != nil {
			return err
		}
		began := time.Now()
		_, err = v.comeBack(ctx, back)
		took[i] = time.Since(began).Seconds()
		if err != nil {
			return err
		}
	}
	if counts {
		s.redeemed = append(s.redeemed, median(took))
		s.purchased += redemptionsEach
	}
	return nil
}

// check compares what was accepted with what the ledgers hold.
func (s *webhookShop) check(ctx context.Context) error {
	accepted := [2]int{s.purchased, 0}
	for _, runs := range s.runs {
		for _, p := range runs {
			accepted[0] += p.gate.requests
			accepted[1] += p.bare.requests
		}
	}
	for i, at := range []location{s.ledger, s.bareLedger} {
		after, err := countRows(ctx, at)
		if err != nil {
			return err
		}
		if fresh := after.minus(s.before[i]); fresh.payments != accepted[i] || fresh.ids != accepted[i] || fresh.purchases != accepted[i] {
			return fmt.Errorf("%d payments were accepted, and these rows stored: %+v", accepted[i], fresh)
		}
	}
	return nil
}
