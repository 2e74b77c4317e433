package main

import (
	"context"
	"fmt"
)

// paid compares visitors who have paid with those of the site without a gate.
func (b *bench) paid(ctx context.Context) ([]*table, error) {
	var tables []*table
	for _, size := range b.sizes {
		tables = append(tables, &table{
			title: "Paid request, " + sizeName(size),
			note: "Each gate against the same site without one in the same process; `none` is another such site. Both get the same bytes, with ten foreign cookies; a placeholder in a request header; metrics. " +
				fmt.Sprintf("Each run is divided into %d.", turns),
			head: []string{"gate", "throughput", "CPU per request", "p99"},
		})
	}
	for _, g := range b.gates {
		if err := b.paidGate(ctx, g, tables); err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return tables, nil
}

// rounds is how often the servers are started: what comes with a process, such as where things
// lie in its memory, makes some percent, too. One process serves both sides.
const rounds = 6

// turns is into how many each run is divided: what else happens on a machine comes and goes
// within seconds, and is to meet both sides alike.
const turns = 4

// paidGate fills one row of each table.
func (b *bench) paidGate(ctx context.Context, g gate, tables []*table) error {
	all := make([][]pair, len(b.sizes)) // of each size
	for round := range min(rounds, b.pairs) {
		b.progress("paid: %s, %d", g.name, round+1)
		if err := b.paidRound(ctx, g, round, all); err != nil {
			return err
		}
	}
	for i, pairs := range all {
		figures, err := cells(pairs, throughput, cpuEach, p99)
		if err != nil {
			return err
		}
		tables[i].add(g.name, figures...)
		if g.control {
			if err := tables[i].describe(pairs); err != nil {
				return err
			}
		}
	}
	return nil
}

// paidRound adds pairs of each size.
func (b *bench) paidRound(ctx context.Context, g gate, round int, all [][]pair) error {
	defer b.stop()
	gated, err := g.open(b, ctx)
	if err != nil {
		return err
	}
	bare := gated.ungated
	bare.cookie = gated.cookie // the same bytes to both
	asked := (*site).paid
	if g.free {
		asked = (*site).free
	}
	o := b.options
	o.pairs, o.each = turns*share(b.pairs, round, min(rounds, b.pairs)), b.each/turns
	for i, size := range b.sizes {
		pairs, err := b.pairsOf(ctx, o, gated, asked(gated, size), bare, asked(bare, size))
		if err != nil {
			return err
		}
		all[i] = append(all[i], pairs...)
	}
	return nil
}

// share is what one of some parts gets of a whole that is divided as evenly as can be.
func share(whole, part, parts int) int { return whole*(part+1)/parts - whole*part/parts }

// describe adds what a site without a gate does, and whether one differs from another: the
// other figures are ratios, and no better than that.
func (t *table) describe(pairs []pair) error {
	rate, err := ratios(pairs, func(p pair) float64 { return p.bare.rate() })
	if err != nil {
		return err
	}
	each, err := ratios(pairs, func(p pair) float64 { return p.bare.cpuEach() })
	if err != nil {
		return err
	}
	t.note += fmt.Sprintf(" The site without a gate answered %.0f requests a second, with %.0f µs of processor time for each.", rate.median, each.median*1e6)
	control, err := ratios(pairs, throughput)
	if err == nil && (control.low > 1 || control.high < 1) {
		t.note += fmt.Sprintf(" **It differs from itself (%s): something else ran on the machine, or there were too few pairs.**", control)
	}
	return err
}

// compare alternates two requests, to one site or two, and returns figures.
func (b *bench) compare(ctx context.Context, gated *site, r request, bare *site, other request, figures ...func(pair) float64) ([]string, error) {
	pairs, err := b.pairsOf(ctx, b.options, gated, r, bare, other)
	if err != nil {
		return nil, err
	}
	return cells(pairs, figures...)
}

// pairsOf alternates two requests, to one site or two.
func (b *bench) pairsOf(ctx context.Context, o options, gated *site, r request, bare *site, other request) ([]pair, error) {
	one, err := b.contender(gated, r)
	if err != nil {
		return nil, err
	}
	defer one.load.close()
	two, err := b.contender(bare, other)
	if err != nil {
		return nil, err
	}
	defer two.load.close()
	return alternate(ctx, o, one, two)
}
