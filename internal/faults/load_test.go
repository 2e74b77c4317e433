package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// reader is a paid visitor, or a program that has not paid, who asks again and
// again on a connection of its own.
type reader struct {
	n      *node
	client *http.Client
	header http.Header
	target string
	want   int
	pause  time.Duration

	latencies []time.Duration
	retried   int // idle connections that were closed in our hands
	failed    []string
}

func (r *rig) paidReader(n *node, v *visitor, pause time.Duration) *reader {
	return &reader{
		n: n, header: sitetest.Navigation, target: paid, want: http.StatusOK, pause: pause,
		client: &http.Client{Transport: n.newTransport(), Jar: v.jar},
	}
}

func (r *rig) unpaidProgram(n *node, pause time.Duration) *reader {
	return &reader{
		n: n, header: http.Header{"Accept": {"application/json"}}, target: paid, want: http.StatusPaymentRequired, pause: pause,
		client: &http.Client{Transport: n.newTransport()},
	}
}

func (r *rig) freeReader(n *node, pause time.Duration) *reader {
	return &reader{
		n: n, header: sitetest.Navigation, target: "/", want: http.StatusOK, pause: pause,
		client: &http.Client{Transport: n.newTransport()},
	}
}

// resends bounds how often a request that got no answer at all is sent again.
const resends = 2

// run asks until the context ends. A request that got no answer at all is sent
// again, as browsers do: a server that closes an idle connection cannot know that a
// request is on its way, and on a busy machine the next reload may close the next one.
func (l *reader) run(ctx context.Context) {
	defer l.client.CloseIdleConnections()
	for ctx.Err() == nil {
		began := time.Now()
		a, err := ask(context.WithoutCancel(ctx), l.client, http.MethodGet, l.target, l.header, nil)
		for try := 0; err != nil && try < resends; try++ {
			l.retried++
			a, err = ask(context.WithoutCancel(ctx), l.client, http.MethodGet, l.target, l.header, nil)
		}
		l.latencies = append(l.latencies, time.Since(began))
		if err != nil || a.status != l.want || (a.body == marker) != (l.want == http.StatusOK && l.target == paid) {
			l.failed = append(l.failed, fmt.Sprintf("%s %v", a, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.pause):
		}
	}
}

// during runs the readers while do runs, and returns what all of them measured.
func during(ctx context.Context, do func(), readers ...*reader) measured {
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, l := range readers {
		l.latencies, l.retried, l.failed = nil, 0, nil
		group.Go(func() { l.run(ctx) })
	}
	do()
	stop()
	group.Wait()
	return gather(readers...)
}

func gather(readers ...*reader) measured {
	var m measured
	for _, l := range readers {
		m.latencies = append(m.latencies, l.latencies...)
		m.failed = append(m.failed, l.failed...)
		m.retried += l.retried
	}
	slices.Sort(m.latencies)
	return m
}

type measured struct {
	latencies []time.Duration // sorted
	retried   int
	failed    []string
}

func (m measured) quantile(q float64) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	return m.latencies[min(len(m.latencies)-1, int(q*float64(len(m.latencies))))]
}

// slower is the ratio of the two p99.
func (m measured) slower(than measured) float64 {
	return float64(m.quantile(0.99)) / float64(max(1, than.quantile(0.99)))
}

func (m measured) String() string {
	return fmt.Sprintf("%d requests, %d failed, %d sent again, p50 %s, p99 %s", len(m.latencies), len(m.failed), m.retried,
		m.quantile(0.5).Round(10*time.Microsecond), m.quantile(0.99).Round(10*time.Microsecond))
}

func (m measured) mustNotFail(t *testing.T, what string) {
	t.Helper()
	if len(m.latencies) == 0 {
		t.Errorf("%s: nothing was measured", what)
	}
	if len(m.failed) > 0 {
		t.Errorf("%s: %d of %d requests failed; the first: %s", what, len(m.failed), len(m.latencies), m.failed[0])
	}
}

// flood sends page navigations without cookies, from a new address each, at a
// rate that does not wait for the answers. It returns the answers by status, 0
// for none.
func flood(ctx context.Context, n *node, target string, perSecond int, length time.Duration) (statuses map[int]int, skipped int) {
	const atOnce = 512
	transport := n.newTransport()
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	var group sync.WaitGroup
	var open atomic.Int64
	statuses = make(map[int]int)
	began := time.Now()
	sent := 0
	for time.Since(began) < length && ctx.Err() == nil {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); sent < due; sent++ {
			if open.Load() >= atOnce {
				skipped++
				continue
			}
			open.Add(1)
			group.Go(func() {
				defer open.Add(-1)
				header := sitetest.Navigation.Clone()
				header.Set("X-Forwarded-For", randomAddress())
				a, err := ask(ctx, &http.Client{Transport: transport}, http.MethodGet, target, header, nil)
				if err != nil {
					a.status = 0
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[a.status]++
			})
		}
		time.Sleep(2 * time.Millisecond)
	}
	group.Wait()
	return statuses, skipped
}

func randomAddress() string {
	at := rand.Uint32()
	return fmt.Sprintf("10.%d.%d.%d", byte(at), byte(at>>8), byte(at>>16))
}

// resident is the memory of the node's process in bytes, 0 where nothing tells.
func (n *node) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0
	}
	kilobytes, _ := strconv.Atoi(string(found[1]))
	return kilobytes << 10
}

// peak watches the node's memory while do runs.
func (n *node) peak(do func()) (highest int) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			highest = max(highest, n.resident())
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	do()
	close(stop)
	<-ended
	return highest
}

func megabytes(bytes int) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }

// profile reads a profile of the node through Caddy's admin API.
func (n *node) profile(path string) string {
	n.t.Helper()
	a, err := n.administer(http.MethodGet, "/debug/pprof/"+path, nil, nil)
	if err != nil || a.status != http.StatusOK {
		n.t.Fatalf("profile of node %s: %s %v", n.name, a, err)
	}
	return a.body
}

func (n *node) administer(method, path string, header http.Header, body []byte) (answer, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	return ask(n.t.Context(), &http.Client{Transport: transport}, method, "http://127.0.0.1:"+n.admin+path, header, body)
}

// goroutines is how many there are when nothing happens: the lowest of some
// counts, since requests, connections and old configurations take a moment to end.
func (n *node) goroutines() (lowest int, profile string) {
	n.t.Helper()
	for i := range 12 {
		if i > 0 {
			time.Sleep(250 * time.Millisecond)
		}
		p := n.profile("goroutine?debug=1")
		if count := firstNumber(n.t, p, `total (\d+)`); lowest == 0 || count < lowest {
			lowest, profile = count, p
		}
	}
	return lowest, profile
}

// heap is what is in use after a collection.
func (n *node) heap() (bytes int) {
	n.t.Helper()
	for range 2 { // the second frees what the first has finalized
		bytes = firstNumber(n.t, n.profile("heap?gc=1&debug=1"), `# HeapAlloc = (\d+)`)
	}
	return bytes
}

func firstNumber(t *testing.T, text, pattern string) int {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in %.200q", pattern, text)
	}
	number, err := strconv.Atoi(found[1])
	must(t, err)
	return number
}
