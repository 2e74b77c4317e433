package session

import (
	"net/netip"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// Rate is a number of events per period.
type Rate struct {
	Events int
	Per    time.Duration
}

// Defaults of the limits on session creation.
var (
	DefaultPerClient = Rate{Events: 30, Per: 10 * time.Minute}
	DefaultTotal     = Rate{Events: 600, Per: time.Minute}
)

// maxClients bounds how many clients are remembered, at about 200 bytes each.
const maxClients = 50_000

// Bound is one of the two bounds of a Limiter.
type Bound string

// The bounds of a Limiter.
const (
	PerClient Bound = "per_client"
	Total     Bound = "total"
)

// Limiter bounds how many checkout sessions are started, per client and in all. It is safe for concurrent use.
type Limiter struct {
	// OnLimit is called for each refusal and must not call the limiter. Set it before the first use; it may be nil.
	OnLimit func(Bound)

	mu        sync.Mutex
	perClient Rate
	total     *rate.Limiter
	clients   *otter.Cache[string, any] // of *rate.Limiter, by network
	now       func() time.Time
}

// NewLimiter returns a limiter with full budgets.
func NewLimiter(perClient, total Rate, now func() time.Time) *Limiter {
	clients := otter.Must(&otter.Options[string, any]{MaximumSize: maxClients})
	return &Limiter{perClient: perClient, total: total.limiter(), clients: clients, now: now}
}

func (r Rate) limiter() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(r.Events)/r.Per.Seconds()), r.Events)
}

// Allow takes one event from both budgets, the client's and the total. If one of them is
// empty, it takes none and returns how long to wait.
func (l *Limiter) Allow(clientIP string) (wait time.Duration, ok bool) {
	client := l.client(network(clientIP).String())
	// The lock covers reading the clock: a rate.Limiter that sees time go backwards
	// refills the same interval twice. Overlapping reservations are not fully returned.
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	mine, all := client.ReserveN(now, 1), l.total.ReserveN(now, 1)
	wait, by := mine.DelayFrom(now), PerClient
	if wait == 0 {
		wait, by = all.DelayFrom(now), Total
	}
	if wait == 0 {
		return 0, true
	}
	all.CancelAt(now)
	mine.CancelAt(now)
	if l.OnLimit != nil {
		l.OnLimit(by)
	}
	return wait, false
}

func (l *Limiter) client(network string) *rate.Limiter {
	client, ok := l.clients.GetIfPresent(network)
	if !ok {
		client, _ = l.clients.SetIfAbsent(network, l.perClient.limiter())
	}
	return client.(*rate.Limiter) //nolint:forcetypeassert // the only type
}

// network is the IPv4 address of a client, or its IPv6 /64, within which it can choose any address.
func network(clientIP string) netip.Prefix {
	addr, err := netip.ParseAddr(clientIP)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.WithZone("").Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}
