package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

const small = 1 << 10 // bytes of the file in sections that have one size

// unlimited takes the limits on session creation out of the way.
const unlimited = "limit_per_client 100000000 1s\n\t\tlimit_total 100000000 1s"

// unpaid is what visitors cost who have not paid.
func (b *bench) unpaid(ctx context.Context) ([]*table, error) {
	t := &table{
		title: "Unpaid request, " + sizeName(small),
		note: "The 402 is compared with the paid request of the same site, navigations with the request of a site without a gate. " +
			"CPU is that of Caddy's process.",
		head: []string{"request", "throughput", "CPU per request", "Axra calls per request"},
	}
	for _, part := range []func(context.Context, *table) error{b.refused, b.underWay, b.fresh} {
		err := part(ctx, t)
		b.stop()
		if err != nil {
			return nil, err
		}
	}
	return []*table{t}, nil
}

// refused is a program's request, which gets 402.
func (b *bench) refused(ctx context.Context, t *table) error {
	b.progress("unpaid: 402")
	s, err := b.openAxra(ctx, "HS256", "", unlimited)
	if err != nil {
		return err
	}
	calls := s.api.CallCount(sandbox.RouteSession)
	stranger := always(get(s.host, premium(small), "Accept: */*", "Cookie: "+cookies("")), http.StatusPaymentRequired, -1)
	figures, err := b.compare(ctx, s, stranger, s, s.paid(small), throughput, cpuEach)
	if err != nil {
		return err
	}
	if made := s.api.CallCount(sandbox.RouteSession) - calls; made != 0 {
		return fmt.Errorf("programs have caused %d calls to Axra", made)
	}
	t.add("no navigation (402), against a paid one", append(figures, "0")...)
	return nil
}

// navigate is a navigation that is led to a checkout.
func (s *site) navigate(ours string) request {
	header := append([]string{"Cookie: " + cookies(ours)}, navigation...)
	return always(get(s.host, premium(small), header...), http.StatusSeeOther, -1)
}

// openWithStub opens the site without a gate, and the gated one in front of a stub of Axra.
func (b *bench) openWithStub(ctx context.Context) (bare, gated *site, api *stub, err error) {
	if bare, err = b.openNone(ctx); err != nil {
		return nil, nil, nil, err
	}
	if api, err = b.newStub(); err != nil {
		return nil, nil, nil, err
	}
	gated, err = b.openAxra(ctx, "HS256", api.base, unlimited)
	return bare, gated, api, err
}

// underWay is a navigation of a browser with a checkout open for this page.
func (b *bench) underWay(ctx context.Context, t *table) error {
	b.progress("unpaid: navigation, checkout open")
	bare, s, api, err := b.openWithStub(ctx)
	if err != nil {
		return err
	}
	v := newBrowser(s)
	if _, _, err := v.open(ctx, v.site+premium(small)); err != nil {
		return err
	}
	pending, err := v.cookie("axra_p_")
	if err != nil {
		return err
	}
	calls := api.count()
	figures, err := b.compare(ctx, s, s.navigate(pending), bare, bare.paid(small), throughput, cpuEach)
	if err != nil {
		return err
	}
	if made := api.count() - calls; made != 0 {
		return fmt.Errorf("browsers with an open checkout have caused %d calls to Axra", made)
	}
	t.add("navigation, checkout open, against ungated", append(figures, "0")...)
	return nil
}

// visit is three runs, one after the other: fresh navigations, requests without a gate,
// and bare calls of the API.
type visit struct {
	pair
	call float64 // CPU of one bare call in seconds
}

// fresh is the first navigation of a browser, which opens a checkout.
func (b *bench) fresh(ctx context.Context, t *table) error {
	b.progress("unpaid: fresh navigation")
	bare, s, api, err := b.openWithStub(ctx)
	if err != nil {
		return err
	}
	visits, err := b.visits(ctx, s, bare, api)
	if err != nil {
		return err
	}
	pairs := make([]pair, len(visits))
	for i, v := range visits {
		pairs[i] = v.pair
	}
	figures, err := cells(pairs, throughput, cpuEach)
	if err != nil {
		return err
	}
	t.add("fresh navigation, against ungated", append(figures, "1")...)
	call, err := ratios(visits, func(v visit) float64 { return v.call / v.bare.cpuEach() })
	if err != nil {
		return err
	}
	t.add("… one bare net/http POST of the same bytes", "", call.String(), "1")
	t.add("… the rest of the path", "", rest(visits), "")
	return nil
}

// rest is what a fresh navigation costs beside its call. It may be less than nothing
// where the runs are short.
func rest(visits []visit) string {
	r, err := ratios(visits, func(v visit) float64 { return (v.gate.cpuEach() - v.call) / v.bare.cpuEach() })
	if err != nil {
		return "within noise"
	}
	return r.String()
}

func (b *bench) visits(ctx context.Context, s, bare *site, api *stub) ([]visit, error) {
	one, err := b.contender(s, s.navigate(""))
	if err != nil {
		return nil, err
	}
	two, err := b.contender(bare, bare.paid(small))
	if err != nil {
		return nil, err
	}
	for _, c := range []contender{one, two} {
		if _, err := c.run(ctx, b.warmUp); err != nil {
			return nil, err
		}
	}
	visits := make([]visit, b.pairs)
	for i := range visits {
		v := &visits[i]
		err := inTurn(i, []func() error{
			func() (err error) { v.gate, err = oneCallEach(ctx, one, b.each, api); return err },
			func() (err error) { v.bare, err = two.run(ctx, b.each); return err },
			func() (err error) { v.call, err = b.bareCalls(ctx, api); return err },
		})
		if err != nil {
			return nil, err
		}
	}
	return visits, nil
}

// oneCallEach is a run of which each request must cause one call.
func oneCallEach(ctx context.Context, c contender, length time.Duration, api *stub) (run, error) {
	calls := api.count()
	r, err := c.run(ctx, length)
	if made := api.count() - calls; err == nil && made != r.requests {
		err = fmt.Errorf("%d navigations have caused %d calls to Axra", r.requests, made)
	}
	return r, err
}

// bareCalls is the CPU of one bare call in seconds.
func (b *bench) bareCalls(ctx context.Context, api *stub) (float64, error) {
	home, err := b.home()
	if err != nil {
		return 0, err
	}
	url, body := api.last()
	file := filepath.Join(home, "body")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		return 0, err
	}
	before := api.count()
	p, err := startRole(ctx, home, rolePost, url, file)
	if err != nil {
		return 0, err
	}
	defer func() {
		p.stop()
		_ = pause(ctx, 100*time.Millisecond) // until the stub has counted what was under way
	}()
	// Not the start of the process.
	if err := p.await(ctx, time.Millisecond, func() bool { return api.count() > before+connections }); err != nil {
		return 0, err
	}
	processes := []*proc{p}
	began, err := cpu(processes)
	calls := api.count()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, b.each); err != nil {
		return 0, err
	}
	used, err := cpu(processes)
	return (used - began).Seconds() / float64(max(1, api.count()-calls)), err
}

// pause waits while others work.
func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}
