package paywall

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// How many tokens are kept, and which, whoever comes by how often.
func TestTokensAreKeptWithinBounds(t *testing.T) {
	a := &App{shared: newShared()}
	defer func() { _ = a.shared.Destruct() }()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	comes := func(name string, times int, each time.Duration) (isKept bool) {
		raw := name + strings.Repeat("x", 43)
		v := a.remember(raw, &verified{Access: token.Access{Session: name}})
		for range times {
			at = at.Add(each)
			a.shared.recent.meet(v, raw, at)
		}
		found := a.shared.recent.find(raw)
		if found != nil && found != v {
			t.Errorf("%.40s: another token is found", name)
		}
		return found != nil
	}
	for _, test := range []struct {
		name  string
		times int
		each  time.Duration
		want  bool
	}{
		{"once", 1, time.Second, false},
		{"twice in a row", 2, time.Second, true},
		{"twice within a day", 2, 12 * time.Hour, false},
		{"twice, before the clock was set back", 2, -time.Second, false},
		{strings.Repeat("long", maxRecentSize/4), 2, time.Second, false},
	} {
		if got := comes(test.name, test.times, test.each); got != test.want {
			t.Errorf("%.40s: kept %t", test.name, got)
		}
	}
	ending := func(i int) string { return "of the same end, number " + strconv.Itoa(i) }
	for i := range 3 * ways {
		if !comes(ending(i), 2, time.Millisecond) {
			t.Errorf("number %d is not kept", i)
		}
	}
	found := 0
	for i := range 3 * ways {
		if a.shared.recent.find(ending(i)+strings.Repeat("x", 43)) != nil {
			found++
		}
	}
	if found != ways {
		t.Errorf("%d are kept where %d have room", found, ways)
	}
}

func TestAttemptsAreSpacedWhateverTheClockDoes(t *testing.T) {
	var s spacing
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		passes time.Duration
		want   bool
	}{{0, true}, {retryCheck / 2, false}, {retryCheck / 2, true}, {-time.Hour, true}, {0, false}, {retryCheck, true}} {
		if at = at.Add(step.passes); s.mayTry(at) != step.want {
			t.Errorf("at %s, after %s: want %t", at, step.passes, step.want)
		}
	}
}

// D3: a clock that was set back while the ledger could not be read prolongs no grace.
func TestD3AClockThatWasSetBackProlongsNoGrace(t *testing.T) {
	a := &App{shared: new(shared)}
	var v verified
	v.standing.Store(new(standing))
	at := now()
	v.failing.since.Store(at.Add(time.Hour).UnixNano())
	a.fail(&v, at)
	if v.verdict(at.Add(time.Minute+time.Second), time.Minute) != unknown {
		t.Error("the grace goes on")
	}
	a.fail(&v, at.Add(time.Minute))
	if v.failing.since.Load() != at.UnixNano() {
		t.Error("a later failure prolongs it")
	}
}

// D3, T7: a token that was forgotten while the ledger could not be read, maybe a refunded one,
// has no more grace than what is left of it.
func TestD3AForgottenTokenHasNoGraceAnew(t *testing.T) {
	a := &App{Grace: caddy.Duration(time.Minute), shared: new(shared), logger: zap.NewNop()}
	began, broken := now(), errors.New("broken")
	a.fail(new(verified), began.Add(-2*time.Minute))
	forgotten := new(verified)
	a.learn(forgotten, reading{number: 1, asked: began}, broken)
	if forgotten.verdict(began, time.Minute) != unknown {
		t.Error("the grace begins anew")
	}
	// Who is known to have paid keeps theirs.
	reader := new(verified)
	reader.standing.Store(new(standing))
	a.learn(reader, reading{number: 2, asked: began}, broken)
	if reader.verdict(began, time.Minute) != open {
		t.Error("a known visitor has no grace")
	}
}

// The trouble is over when a session can be read, be it that it is not paid.
func TestD3AnAnswerEndsTheTrouble(t *testing.T) {
	for _, c := range []struct {
		session string
		ends    bool
	}{{"cs_1", true}, {"cs_unpaid", true}, {"cs_garbled", false}} {
		g, storage := newGrants()
		recordPaid(t, g)
		if c.session == "cs_garbled" {
			for key := range storage.records {
				storage.records[key] = []byte("{")
			}
			c.session = "cs_1"
		}
		g.failing.begin(now())
		if _, err := g.of(t.Context(), c.session); g.failing.lasts() == c.ends {
			t.Errorf("%+v: %v; it lasts: %t", c, err, !c.ends)
		}
	}
}

// Nothing but what was heard about a token's own ids makes a node wait for the ledger that has never
// answered about it.
func TestWhatIsHeardOfOthersIsNoReasonToWait(t *testing.T) {
	var h heard
	own, other := ledger.ShardOf("cs_1"), ledger.ShardOf("cs_2")
	v := &verified{shards: [2]ledger.Shard{own, own}}
	if own == other {
		t.Fatal("both ids are of one shard")
	}
	if h.outcome(other); h.more(v) {
		t.Error("it waits")
	}
	if h.outcome(own); !h.more(v) {
		t.Error("a refund of its own is not heeded")
	}
}

// What a visitor was let in by is counted, once the ledger answers again: that is not what
// the news said meanwhile, which nobody asks while the ledger cannot be read.
func TestTheAgeIsThatOfWhatLetTheVisitorIn(t *testing.T) {
	onNode(t, func(n *readingNode) {
		v := n.sell(paymentOf("cs_1"))
		n.settle(v)
		answered := time.Unix(0, v.standing.Load().asked)
		n.fail(v, time.Now())
		for _, shard := range v.shards {
			<-n.news.read(shard)
		}
		sum := func() float64 {
			families, err := registryOf(recheckAge).Gather()
			if err != nil {
				t.Fatal(err)
			}
			return families[0].GetMetric()[0].GetHistogram().GetSampleSum()
		}
		before, age := sum(), time.Since(answered)
		<-n.recheck(v)
		if counted := sum() - before; math.Abs(counted-age.Seconds()) > 1 {
			t.Errorf("%.1f s are counted, the answer was %s old", counted, age)
		}
	})
}

func registryOf(collector prometheus.Collector) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	return registry
}

// What the readings of the news brought is counted.
func TestReadingsOfNewsAreCounted(t *testing.T) {
	onNode(t, func(n *readingNode) {
		count := func(outcome string) float64 {
			families, err := registryOf(newsReads.WithLabelValues(outcome)).Gather()
			if err != nil {
				t.Fatal(err)
			}
			return families[0].GetMetric()[0].GetCounter().GetValue()
		}
		shard := ledger.ShardOf("cs_1")
		for _, step := range []struct {
			outcome string
			before  func()
		}{
			{newsFirst, func() {}},
			{newsUnchanged, func() {}},
			{newsChanged, func() { n.record(n.another(), refund("cs_1", "")) }},
			{newsFailed, func() { n.storage.change(func(s *sharedStorage) { s.fails[newsKeys] = errors.New("broken") }) }},
		} {
			step.before()
			before := count(step.outcome)
			<-n.news.read(shard)
			if grown := count(step.outcome) - before; grown != 1 {
				t.Errorf("%s has grown by %g", step.outcome, grown)
			}
		}
	})
}

// A token of which the ledger has never heard has no grace, however slowly it says so.
func TestD3WhoIsNotPaidHasNoGrace(t *testing.T) {
	a := &App{Grace: caddy.Duration(time.Minute), shared: new(shared), logger: zap.NewNop()}
	v := new(verified)
	a.fail(v, now()) // a request did not wait any longer
	a.learn(v, reading{number: 1, asked: now()}, ledger.ErrNotPaid)
	if v.verdict(now(), time.Minute) != unknown {
		t.Error("there is grace without an answer that said paid")
	}
}
