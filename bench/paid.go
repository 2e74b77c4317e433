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
			note:  "Each gate against the same site without one; `none` is another such site. Both get the same bytes, with ten foreign cookies; a placeholder in a request header; metrics.",
			head:  []string{"gate", "throughput", "CPU per request", "p99"},
		})
	}
	for _, g := range b.gates {
		if err := b.paidGate(ctx, g, tables); err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return tables, nil
}

// paidGate fills one row of each table. Only the two that are compared run meanwhile.
func (b *bench) paidGate(ctx context.Context, g gate, tables []*table) error {
	defer b.stop()
	bare, err := b.openNone(ctx)
	if err != nil {
		return err
	}
	gated, err := g.open(b, ctx)
	if err != nil {
		return err
	}
	bare.cookie = gated.cookie // the same bytes to both
	for i, size := range b.sizes {
		b.progress("paid: %s, %s", g.name, sizeName(size))
		figures, err := b.compare(ctx, gated, gated.paid(size), bare, bare.paid(size), throughput, cpuEach, p99)
		if err != nil {
			return err
		}
		tables[i].add(g.name, figures...)
	}
	return nil
}

// compare alternates two requests, to one site or two, and returns figures.
func (b *bench) compare(ctx context.Context, gated *site, r request, bare *site, other request, figures ...func(pair) float64) ([]string, error) {
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
	pairs, err := alternate(ctx, b.options, one, two)
	if err != nil {
		return nil, err
	}
	return cells(pairs, figures...)
}
