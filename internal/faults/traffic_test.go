package faults_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// traffic is what goes on at the nodes: buyers read, strangers come, are sent to checkouts, pay and return, and Axra
// sends their webhooks until they are accepted.
type traffic struct {
	r     *rig
	nodes []*node
	known []*visitor

	coming  context.Context // ends when no more strangers come
	stop    context.CancelFunc
	readers sync.WaitGroup
	payers  sync.WaitGroup

	mu        sync.Mutex
	seen      []observation
	customers []*customer
}

// customer is a stranger who was sent to a checkout and has paid there.
type customer struct {
	*visitor
	acknowledged time.Time // when the webhook was answered 200; zero: not yet; guarded by mu
}

// acknowledgedBetween returns the customers whose webhooks were answered 200 in a span of time.
func (f *traffic) acknowledgedBetween(from, to time.Time) (found []*customer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.customers {
		if c.acknowledged.After(from) && c.acknowledged.Before(to) {
			found = append(found, c)
		}
	}
	return found
}

// role says who asked.
type role string

const (
	asKnown    role = "known buyer"
	asStranger role = "stranger"
	asCustomer role = "customer"
	asAxra     role = "webhook"
)

// What became of a request.
const (
	opened     = "opened"
	toCheckout = "sent to a checkout"
	toWait     = "waiting page"
	safe       = "your payment is safe"
	accepted   = "accepted"
	retryLater = "5xx"
)

// observation is one request and what became of it.
type observation struct {
	by      role
	node    *node
	began   time.Time
	took    time.Duration
	outcome string
}

// startTraffic lets the known buyers read and strangers come until finish.
func (r *rig) startTraffic(nodes []*node, known []*visitor) *traffic {
	coming, stop := context.WithCancel(r.t.Context())
	f := &traffic{r: r, nodes: nodes, known: known, coming: coming, stop: stop}
	for i, v := range known {
		f.readers.Go(func() {
			f.every(30*time.Millisecond, func(turn int) { f.visit(asKnown, v, nodes[(i+turn)%2], paid) })
		})
	}
	f.readers.Go(func() {
		f.every(60*time.Millisecond, func(turn int) {
			f.payers.Go(func() { f.come(nodes[turn%2], nodes[1-turn%2]) })
		})
	})
	return f
}

// every calls do until no more strangers come.
func (f *traffic) every(pause time.Duration, do func(turn int)) {
	for turn := 0; ; turn++ {
		select {
		case <-f.coming.Done():
			return
		case <-time.After(pause):
			do(turn)
		}
	}
}

// finish ends the traffic once every webhook is accepted.
func (f *traffic) finish() {
	f.stop()
	f.readers.Wait()
	f.payers.Wait()
}

// come is the visit of a stranger, who pays if there is a checkout.
func (f *traffic) come(first, second *node) {
	v := newVisitor()
	a := f.visit(asStranger, v, first, paid)
	if outcomeOf(a, v) != toCheckout {
		return
	}
	for _, session := range f.r.sandbox.Sessions() {
		if session.CheckoutURL == a.location {
			v.session = session
		}
	}
	c := &customer{visitor: v}
	f.mu.Lock()
	f.customers = append(f.customers, c)
	f.mu.Unlock()

	back := paid + "?axra_session=" + v.session.ID
	f.visit(asCustomer, v, second, back)
	body := completed(v.session)
	ctx := context.WithoutCancel(f.coming)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); first, second = second, first {
		if f.deliver(ctx, first, body) == accepted {
			f.mu.Lock()
			c.acknowledged = time.Now()
			f.mu.Unlock()
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); first, second = second, first {
		if a := f.visit(asCustomer, v, second, back); a.opened() {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (f *traffic) deliver(ctx context.Context, n *node, body []byte) (outcome string) {
	began := time.Now()
	status, err := deliver(ctx, n, body, secret)
	switch {
	case err != nil:
		outcome = err.Error()
	case status == http.StatusOK:
		outcome = accepted
	case status >= 500:
		outcome = retryLater
	default:
		outcome = http.StatusText(status)
	}
	f.observe(observation{asAxra, n, began, time.Since(began), outcome})
	return outcome
}

func (f *traffic) visit(by role, v *visitor, n *node, target string) answer {
	began := time.Now()
	a, err := v.browse(context.WithoutCancel(f.coming), n, target)
	outcome := outcomeOf(a, v)
	if err != nil {
		outcome = err.Error()
	}
	f.observe(observation{by, n, began, time.Since(began), outcome})
	return a
}

func outcomeOf(a answer, v *visitor) string {
	switch {
	case a.opened():
		return opened
	case isSafe(a):
		return safe
	case a.status == http.StatusSeeOther && !strings.HasPrefix(a.location, "/"):
		return toCheckout
	case v.session.ID != "" && strings.Contains(a.body, v.session.ID) && !strings.Contains(a.body, marker):
		return toWait
	}
	return a.String()
}

func (f *traffic) observe(o observation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, o)
}

// between returns the observations of a role that began in a span of time.
func (f *traffic) between(by role, from, to time.Time) (found []observation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.seen {
		if o.by == by && !o.began.Before(from) && o.began.Before(to) {
			found = append(found, o)
		}
	}
	return found
}
