package main

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

func againstBare(shops []*webhookShop) (*table, error) {
	t := &table{
		title: "Webhooks",
		note: "Payments accepted over HTTP, against a bare handler of the same Caddy that reads the body and calls `ledger.RecordPayment` with the same payment in a ledger of its own, " +
			"which began as a copy. CPU is that of the process.",
		head: []string{"payments in the ledger at first, connections", "payments a second", "of the bare handler", "throughput", "CPU per payment, µs", "CPU per payment"},
	}
	for _, s := range shops {
		for i, n := range atOnce {
			figures, err := cells(s.runs[i], throughput, cpuEach)
			if err != nil {
				return nil, err
			}
			t.add(fmt.Sprintf("%s, %d", humanize.Comma(int64(s.payments)), n),
				fmt.Sprintf("%.0f", median(each(s.runs[i], func(p pair) float64 { return p.gate.rate() }))),
				fmt.Sprintf("%.0f", median(each(s.runs[i], func(p pair) float64 { return p.bare.rate() }))),
				figures[0],
				fmt.Sprintf("%.0f", 1e6*median(each(s.runs[i], func(p pair) float64 { return p.gate.cpuEach() }))),
				figures[1])
		}
	}
	return t, nil
}

// each is one figure of all.
func each[T, F any](all []T, figure func(T) F) []F {
	values := make([]F, len(all))
	for i, one := range all {
		values[i] = figure(one)
	}
	return values
}

// asItGrows compares rates at many connections with those at one, and the other ledgers with the first.
func asItGrows(shops []*webhookShop) (*table, error) {
	t := &table{title: "Webhooks and redemptions as the ledger grows", head: []string{"", "ratio"}}
	first := shops[0]
	t.note = "Rates of webhooks, and how long a visitor who has paid waits when they come back: " +
		strings.Join(each(shops, func(s *webhookShop) string {
			return fmt.Sprintf("%.1f ms with %s payments", 1e3*median(s.redeemed), humanize.Comma(int64(s.payments)))
		}), ", ") + ". " + fmt.Sprintf("The smallest ledger had %s payments at the end.", humanize.Comma(int64(first.payments+first.taken())))
	for _, s := range shops {
		err := t.compare(fmt.Sprintf("%d connections against 1, %s payments", connections, humanize.Comma(int64(s.payments))),
			rates(s.runs[1]), rates(s.runs[0]))
		if err != nil {
			return nil, err
		}
	}
	for _, s := range shops[1:] {
		than := fmt.Sprintf("%s payments against %s", humanize.Comma(int64(s.payments)), humanize.Comma(int64(first.payments)))
		for i, n := range atOnce {
			if err := t.compare(fmt.Sprintf("%s, rate with %d", than, n), rates(s.runs[i]), rates(first.runs[i])); err != nil {
				return nil, err
			}
		}
		if err := t.compare(than+", time of a redemption", s.redeemed, first.redeemed); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// compare adds a row with the ratios of each round.
func (t *table) compare(name string, these, those []float64) error {
	r, err := newRatio(perStart(these, those, func(a, b float64) float64 { return a / b }))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	t.add(name, r.String())
	return nil
}

func rates(pairs []pair) []float64 { return each(pairs, func(p pair) float64 { return p.gate.rate() }) }

// taken is how many payments the webhook has taken.
func (s *webhookShop) taken() int {
	all := s.before[0].payments - s.payments + s.purchased
	for _, runs := range s.runs {
		for _, p := range runs {
			all += p.gate.requests
		}
	}
	return all
}
