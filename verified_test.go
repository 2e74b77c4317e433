package paywall

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
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
	v.said.Store(new(standing))
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
	// Who is known to have paid keeps theirs, and so does everybody once the ledger has answered.
	reader := new(verified)
	reader.said.Store(new(standing))
	a.learn(reader, reading{number: 2, asked: began}, broken)
	if reader.verdict(began, time.Minute) != open {
		t.Error("a known visitor has no grace")
	}
	a.learn(reader, reading{number: 3, asked: began}, nil)
	other := new(verified)
	a.learn(other, reading{number: 4, asked: began}, broken)
	if other.verdict(began, time.Minute) != open {
		t.Error("the end of the trouble is not noticed")
	}
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
