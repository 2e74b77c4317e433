package session

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a time that only moves when a test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

var plenty = Rate{Events: 1_000_000, Per: time.Second}

// allowed counts how many of n attempts pass.
func allowed(l *Limiter, clientIP string, n int) int {
	passed := 0
	for range n {
		if _, ok := l.Allow(clientIP); ok {
			passed++
		}
	}
	return passed
}

func TestC1NeitherBudgetIsExceeded(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string][2]Rate{
		"small":    {{Events: 5, Per: time.Hour}, {Events: 20, Per: time.Hour}},
		"defaults": {DefaultPerClient, DefaultTotal},
	} {
		limiter := NewLimiter(limits[0], limits[1], newClock().now)
		told := make(map[Bound]int)
		limiter.OnLimit = func(by Bound) { told[by]++ }
		first := allowed(limiter, "192.0.2.1", 1000)
		var others atomic.Int64
		var visitors sync.WaitGroup
		for i := range 1000 {
			visitors.Go(func() { others.Add(int64(allowed(limiter, fmt.Sprintf("198.51.%d.%d", i/250, i%250), 1))) })
		}
		visitors.Wait()
		total := first + int(others.Load())
		if first != limits[0].Events || total != limits[1].Events || told[PerClient] != 1000-first || told[Total] != 1000+first-total {
			t.Errorf("%s: %d of one client, %d in all; told of %v", name, first, total, told)
		}
	}
}

func TestC1WhoIsOneClient(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:0DB8:0:0::0:1", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"", "unknown", true},
		{"192.0.2.1:80", "192.0.2.2:80", true}, // no addresses
	} {
		limiter := NewLimiter(Rate{Events: 1, Per: time.Hour}, plenty, newClock().now)
		if allowed(limiter, test.a, 1) != 1 || (allowed(limiter, test.b, 1) == 0) != test.same {
			t.Errorf("%s after %s: one client should be %t", test.b, test.a, test.same)
		}
	}
}

func TestBudgetsRecover(t *testing.T) {
	for name, limits := range map[string][2]Rate{
		"of a client": {{Events: 6, Per: time.Minute}, plenty},
		"in all":      {plenty, {Events: 6, Per: time.Minute}},
	} {
		c := newClock()
		limiter := NewLimiter(limits[0], limits[1], c.now)
		allowed(limiter, "192.0.2.1", 6)
		if wait, ok := limiter.Allow("192.0.2.1"); ok || wait != 10*time.Second {
			t.Errorf("%s: allowed %t, to wait %s, want 10s", name, ok, wait)
		}
		for _, step := range []struct {
			later time.Duration
			want  int
		}{{10*time.Second - time.Millisecond, 0}, {time.Millisecond, 1}, {24 * time.Hour, 6}} {
			c.advance(step.later)
			if got := allowed(limiter, "192.0.2.1", 100); got != step.want {
				t.Errorf("%s: %d after %s more, want %d", name, got, step.later, step.want)
			}
		}
	}
}

func TestRefusedAttemptsCostNothing(t *testing.T) {
	c := newClock()
	limiter := NewLimiter(Rate{Events: 2, Per: time.Hour}, Rate{Events: 4, Per: time.Minute}, c.now)
	for i, want := range []int{2, 2, 0} { // what one client is refused is not taken from the budget of all
		if got := allowed(limiter, fmt.Sprintf("192.0.2.%d", i), 1000); got != want {
			t.Errorf("%d of client %d, want %d", got, i, want)
		}
	}
	c.advance(time.Minute)
	if got := allowed(limiter, "192.0.2.2", 1000); got != 2 { // what all were refused is not taken from the budget of one
		t.Errorf("%d of the third client, want 2", got)
	}
	if wait, ok := limiter.Allow("192.0.2.2"); ok || wait > 30*time.Minute { // nor do refusals make anybody wait longer
		t.Errorf("allowed %t, to wait %s", ok, wait)
	}
}

func TestC4OnlySoManyClientsAreRemembered(t *testing.T) {
	limiter := NewLimiter(Rate{Events: 1, Per: time.Hour}, plenty, newClock().now)
	for i := range maxClients + maxClients/5 {
		limiter.Allow(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff))
	}
	limiter.clients.CleanUp()
	if got := limiter.clients.EstimatedSize(); got > maxClients {
		t.Errorf("%d clients are remembered, at most %d should be", got, maxClients)
	}
}
