package faults_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// serverFault is something that happens to a database server.
type serverFault struct {
	name    string
	length  time.Duration
	prepare func(*rig) // before the first payment of the traffic
	strike  func(*rig)
	again   func(*rig) // from time to time until it is mended
	mend    func(*rig)
	sells   bool // whether the nodes may sell meanwhile
	isOld   bool // what is stored meanwhile is stored in a copy

	isOnTheWay bool // between the nodes and the server
}

func serverFaults() []serverFault {
	return []serverFault{
		{
			name: "stopped", length: inForm(6*time.Second, time.Minute),
			strike: func(r *rig) { r.server.Stop() },
			mend:   func(r *rig) { must(r.t, r.server.Start()) },
		},
		{
			name: "paused", length: inForm(8*time.Second, time.Minute), // longer than any answer may take
			strike: func(r *rig) { r.server.Pause() },
			mend:   func(r *rig) { r.server.Resume() },
		},
		{
			name: "killed", length: inForm(0, 10*time.Second),
			strike: func(r *rig) { r.server.Kill() },
			mend:   func(r *rig) { must(r.t, r.server.Start()) },
		},
		{
			name: "read-only", length: inForm(3*time.Second, 10*time.Second),
			strike: func(r *rig) { r.server.SetReadOnly(r.t, true) },
			mend:   func(r *rig) { r.server.SetReadOnly(r.t, false) },
		},
		{
			name: "connections terminated", length: inForm(3*time.Second, time.Minute), sells: true,
			strike: func(r *rig) { r.server.TerminateConnections(r.t) },
			again:  func(r *rig) { r.server.TerminateConnections(r.t) },
			mend:   func(*rig) {},
		},
		{
			name: "another password", length: inForm(3*time.Second, 10*time.Second),
			strike: func(r *rig) { r.server.ChangePassword(r.t, false) },
			mend:   func(r *rig) { r.server.ChangePassword(r.t, true) },
		},
		{
			name: "commits reset", length: inForm(3*time.Second, time.Minute), sells: true,
			isOnTheWay: true,
			strike:     func(r *rig) { r.proxy.ResetCommits(true) },
			mend:       func(r *rig) { r.proxy.ResetCommits(false) },
		},
		{
			name: "a node is cut off amid a commit", length: 6 * time.Second, sells: true,
			isOnTheWay: true,
			strike:     func(r *rig) { r.proxy.HoldCommit() },
			mend:       func(*rig) {},
		},
		{
			name: "a lagging copy", length: inForm(3*time.Second, 10*time.Second), sells: true, isOld: true,
			prepare: func(r *rig) { r.server.Copy(r.t) },
			strike:  (*rig).swapServer,
			mend:    (*rig).swapServer,
		},
	}
}

// swapServer puts the copy in the place of the server, or the other way round.
func (r *rig) swapServer() {
	r.server.Stop()
	time.Sleep(200 * time.Millisecond) // until answers have arrived
	r.swapped = time.Now()
	r.server.Swap(r.t)
	must(r.t, r.server.Start())
}

// D1 and D3: whatever happens to the database server, no payment that was acknowledged is lost, nobody is charged
// twice, known buyers are served for the time of grace, and nothing is sold once the change feed is stale. All goes on
// by itself afterwards.
func TestD3ServerFaults(t *testing.T) {
	for _, fault := range serverFaults() {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			r := newRigToHurt(t, postgres)
			o := options{axra: fmt.Sprintf("recheck %s\n\t\tgrace %s", faultRecheck, faultGrace)}
			if fault.isOnTheWay {
				r.proxy = r.server.NewProxy(t)
				o.url = r.proxy.URL(pgtest.Name(r.database))
			}
			r.endure(fault, r.startTwo(o))
			if !fault.isOnTheWay {
				return
			}
			before, after := r.proxy.Resets()
			t.Logf("%d commits were reset before and %d after the server had them", before, after)
			if fault.name == "commits reset" && before*after == 0 || r.proxy.IsWaiting() {
				t.Error("this proves nothing")
			}
		})
	}
}

const (
	faultRecheck = 2 * time.Second
	faultGrace   = 5 * time.Second
	// pollPause is the longest time between the starts of two polls.
	pollPause = 1500 * time.Millisecond
	// longestAnswer is generous: a query may take two seconds, and some requests need more than one.
	longestAnswer = 6 * time.Second
)

// endure lets a fault strike amid traffic and checks everything.
func (r *rig) endure(fault serverFault, nodes []*node) {
	t := r.t
	t.Helper()
	known := []*visitor{r.buyer(nodes[0])}
	if fault.prepare != nil {
		fault.prepare(r)
		r.awaitSales(nodes)
	}
	known = append(known, r.buyer(nodes[0]), r.buyer(nodes[1]))
	refunded := r.buyer(nodes[0])
	r.mustDeliver(nodes[1], event("payment.refunded", refunded.session))
	r.closeLedger()
	checkouts, stored := len(r.sandbox.Sessions()), len(known)+1

	f := r.startTraffic(nodes, known)
	began := time.Now()
	time.Sleep(time.Second)
	fault.strike(r)
	struck := time.Now()
	if fault.isOld {
		struck = r.swapped
	}
	for time.Since(struck) < fault.length {
		time.Sleep(300 * time.Millisecond)
		if fault.again != nil {
			fault.again(r)
		}
	}
	if fault.isOld {
		for _, c := range f.acknowledgedBetween(struck, time.Now()) {
			if !r.isPaid(c.session) {
				t.Errorf("%s was acknowledged, but is not in the copy", c.session.ID)
			}
		}
		r.closeLedger()
	}
	mending := time.Now()
	fault.mend(r)
	mended := time.Now()
	if fault.isOld {
		mending = r.swapped
	}
	r.awaitSales(nodes)
	recovered := time.Now()
	time.Sleep(500 * time.Millisecond)
	f.finish()

	t.Logf("struck for %s; sells again after %s; %d customers; %s", mended.Sub(struck).Round(100*time.Millisecond),
		recovered.Sub(mended).Round(10*time.Millisecond), len(f.customers), f.figures())
	f.checkAnswers(fault, struck, mending)
	if made := len(r.sandbox.Sessions()) - checkouts - 2; made != len(f.customers) { // two of awaitSales
		t.Errorf("%d checkouts were made for %d customers", made, len(f.customers))
	}
	buyers := f.acknowledgedBetween(began, time.Now())
	if len(buyers) != len(f.customers) {
		t.Errorf("the webhooks of %d customers were never accepted", len(f.customers)-len(buyers))
	}
	if fault.isOld { // what the copy has stored is not here
		buyers = append(f.acknowledgedBetween(began, struck), f.acknowledgedBetween(mending, time.Now())...)
	}
	for _, c := range buyers {
		f.mustBePaid(c.visitor)
	}
	for _, v := range known {
		f.mustBePaid(v)
	}
	for _, n := range nodes {
		until(t, 10*time.Second, "closed after the refund", func() bool { return r.isShut(refunded, n) })
		n.mustLogRarely()
	}
	stored += len(buyers)
	// The copy may have acknowledged what the server had stored without being able to say so.
	if payments := r.number(`SELECT COUNT(*) FROM payments`); payments != stored && !fault.isOld || payments < stored {
		t.Errorf("%d payments are stored, want %d", payments, stored)
	}
	if open := r.connections(); open > len(nodes)*perNode {
		t.Errorf("%d nodes have %d connections", len(nodes), open)
	}
	if len(f.between(asAxra, began, struck)) == 0 {
		t.Error("no webhook came before the fault: this proves nothing")
	}
}

// perNode is how many connections a node has.
const perNode = 5

// connections counts those of the nodes.
func (r *rig) connections() int {
	r.t.Helper()
	return r.server.Count(r.t, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'caddy-axra'`,
		pgtest.Name(r.database))
}

// awaitSales waits until strangers are sent to a checkout by every node.
func (r *rig) awaitSales(nodes []*node) {
	r.t.Helper()
	for _, n := range nodes {
		v := newVisitor()
		until(r.t, 20*time.Second, "node "+n.name+" sells again", func() bool { return outcomeOf(r.visit(v, n), v) == toCheckout })
	}
}

// checkAnswers compares each answer with what may be answered at its time.
func (f *traffic) checkAnswers(fault serverFault, struck, mending time.Time) {
	t := f.r.t
	t.Helper()
	wrong := make(map[string]int)
	for _, o := range f.seen {
		since := o.began.Sub(struck)
		isFaulty := since > faultRecheck && o.began.Before(mending)
		isWrong := o.took > longestAnswer
		switch o.by {
		case asKnown:
			isWrong = isWrong || o.outcome != opened && (o.outcome != safe || since < faultGrace-pollPause)
		case asStranger:
			isWrong = isWrong || o.outcome != toCheckout && o.outcome != safe || o.outcome == toCheckout && isFaulty && !fault.sells
		case asCustomer:
			isWrong = isWrong || o.outcome != opened && o.outcome != safe && o.outcome != toWait
		case asAxra:
			isWrong = isWrong || o.outcome != accepted && o.outcome != retryLater || o.outcome == accepted && isFaulty && !fault.sells
		}
		if !isWrong {
			continue
		}
		if wrong[string(o.by)+o.outcome]++; wrong[string(o.by)+o.outcome] == 1 {
			t.Errorf("%s after the fault, within %s, at node %s: %s: %s", since, o.took, o.node.name, o.by, o.outcome)
		}
	}
	if len(wrong) > 0 {
		t.Errorf("wrong answers: %v", wrong)
	}
}

// figures says what became of the requests, and how long the slowest took.
func (f *traffic) figures() string {
	counts, slowest := make(map[string]int), make(map[role]time.Duration)
	for _, o := range f.seen {
		counts[string(o.by)+" "+o.outcome]++
		slowest[o.by] = max(slowest[o.by], o.took.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v; slowest %v", counts, slowest)
}

// mustBePaid fails the test unless the ledger has the visitor's payment and every node opens.
func (f *traffic) mustBePaid(v *visitor) {
	t := f.r.t
	t.Helper()
	if !f.r.isPaid(v.session) {
		t.Errorf("%s was acknowledged, but is not in the ledger", v.session.ID)
	}
	for _, n := range f.nodes {
		if a := f.r.visit(v, n); !a.opened() {
			t.Errorf("node %s answers a visitor who has paid %s", n.name, a)
		}
	}
}

// mustLogRarely fails the test if the node has written a message twice within a minute. Each time that the feed goes
// back is told apart.
func (n *node) mustLogRarely() {
	n.t.Helper()
	written, err := os.ReadFile(n.stderr)
	must(n.t, err)
	times := make(map[string][]float64)
	for line := range strings.Lines(string(written)) {
		var entry struct {
			Message string  `json:"msg"`
			Time    float64 `json:"ts"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			n.t.Errorf("node %s wrote %s", n.name, line)
			continue
		}
		if strings.HasPrefix(entry.Message, "the ledger went back") {
			continue
		}
		times[entry.Message] = append(times[entry.Message], entry.Time)
	}
	for message, at := range times {
		slices.SortFunc(at, cmp.Compare)
		for i := range at[1:] {
			if at[i+1]-at[i] < 59 {
				n.t.Errorf("node %s wrote %q %d times, twice within %.1fs", n.name, message, len(at), at[i+1]-at[i])
				break
			}
		}
	}
}
