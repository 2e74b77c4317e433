package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/perf/benchmath"
)

// contender is one side of a comparison: a load, and the processes whose processor time
// it takes.
type contender struct {
	load      *load
	processes []*proc
}

func (c contender) run(ctx context.Context, length time.Duration) (run, error) {
	before, err := cpu(c.processes)
	if err != nil {
		return run{}, err
	}
	measured, err := c.load.run(ctx, length)
	if err != nil {
		for _, p := range c.processes {
			err = fmt.Errorf("%w; the server wrote: %s", err, p.trouble())
		}
		return run{}, err
	}
	after, err := cpu(c.processes)
	measured.cpu = after - before
	return measured, err
}

// pair is two runs, one right after the other.
type pair struct{ gate, bare run }

// alternate makes pairs of runs. Which side is first changes, so that what happens to
// the machine meanwhile meets both.
func alternate(ctx context.Context, o options, gate, bare contender) ([]pair, error) {
	pairs := make([]pair, o.pairs)
	for _, c := range []contender{gate, bare} {
		if _, err := c.run(ctx, o.warmUp); err != nil {
			return nil, err
		}
	}
	for i := range pairs {
		sides := []func() error{
			func() (err error) { pairs[i].gate, err = gate.run(ctx, o.each); return err },
			func() (err error) { pairs[i].bare, err = bare.run(ctx, o.each); return err },
		}
		if err := inTurn(i, sides); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// inTurn does all, beginning each time with the next one.
func inTurn(i int, all []func() error) error {
	for j := range all {
		if err := all[(i+j)%len(all)](); err != nil {
			return err
		}
	}
	return nil
}

// ratio is the median of some ratios, and the interval in which that of all such ratios
// is with 95 % confidence, by order statistics.
type ratio struct{ median, low, high float64 }

// pairsForInterval is how many values a 95 % interval by order statistics needs: with five
// all of them are on one side of the median in one case of sixteen.
const pairsForInterval = 6

var errNoFigure = errors.New("a figure cannot be told")

func newRatio(values []float64) (ratio, error) {
	for _, value := range values {
		if math.IsNaN(value) || math.IsInf(value, 0) || value <= 0 {
			return ratio{}, fmt.Errorf("%w: %v", errNoFigure, value)
		}
	}
	if len(values) == 0 {
		return ratio{}, errNoFigure
	}
	// With few values the interval is unknown: the whole range is shown then.
	summary := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95)
	r := ratio{summary.Center, summary.Lo, summary.Hi}
	if math.IsInf(r.low, 0) || math.IsInf(r.high, 0) {
		r.low, r.high = extremes(values)
	}
	return r, nil
}

func extremes(values []float64) (low, high float64) {
	low, high = values[0], values[0]
	for _, value := range values {
		low, high = min(low, value), max(high, value)
	}
	return low, high
}

func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f – %.2f)", r.median, r.low, r.high) }

// ratios are one figure of each pair.
func ratios[T any](all []T, figure func(T) float64) (ratio, error) {
	values := make([]float64, len(all))
	for i, each := range all {
		values[i] = figure(each)
	}
	return newRatio(values)
}

// The figures of a pair.
func throughput(p pair) float64 { return p.gate.rate() / p.bare.rate() }
func cpuEach(p pair) float64    { return p.gate.cpuEach() / p.bare.cpuEach() }
func p99(p pair) float64        { return p.gate.quantile(99) / p.bare.quantile(99) }
func p50(p pair) float64        { return p.gate.quantile(50) / p.bare.quantile(50) }

// cells are some figures of pairs as text.
func cells(pairs []pair, figures ...func(pair) float64) ([]string, error) {
	var all []string
	for _, figure := range figures {
		r, err := ratios(pairs, figure)
		if err != nil {
			return nil, err
		}
		all = append(all, r.String())
	}
	return all, nil
}
