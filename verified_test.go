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
	var all []*verified
	comes := func(name string, times int, each time.Duration) *verified {
		raw := name + strings.Repeat("x", 43)
		v := a.remember(raw, &verified{Access: token.Access{Session: name}})
		for range times {
			if at = at.Add(each); v.raw.Load() == nil { // which is how it is known otherwise
				a.shared.recent.meet(v, raw, at)
			}
		}
		all = append(all, v)
		return v
	}
	kept := func() (count int) {
		for _, v := range all {
			if v.raw.Load() != nil {
				count++
			}
		}
		return count
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
		if got := comes(test.name, test.times, test.each).raw.Load() != nil; got != test.want {
			t.Errorf("%.40s: kept %t", test.name, got)
		}
	}
	for i := range maxRecent + 100 {
		comes(strconv.Itoa(i), 3, time.Millisecond)
	}
	if count := kept(); count != maxRecent {
		t.Errorf("%d tokens are kept, want %d", count, maxRecent)
	}
	if all[len(all)-1].raw.Load() == nil || all[1].raw.Load() != nil {
		t.Error("not the last ones are kept")
	}
}
