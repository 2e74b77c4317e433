package paywall

import (
	"strconv"
	"strings"
	"testing"
	"time"

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
	var v verified
	v.said.Store(new(standing))
	at := now()
	v.failingSince.Store(at.Add(time.Hour).UnixNano())
	v.fail(at)
	if v.verdict(at.Add(time.Minute+time.Second), time.Minute) != unknown {
		t.Error("the grace goes on")
	}
	v.fail(at.Add(time.Minute))
	if v.failingSince.Load() != at.UnixNano() {
		t.Error("a later failure prolongs it")
	}
}
