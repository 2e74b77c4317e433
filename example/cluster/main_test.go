package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

// mainVariable names the environment variable that makes the test binary the program;
// the Caddys that it starts inherit it.
const mainVariable = "CLUSTER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// deadline bounds everything that is waited for, on a busy machine with the race detector.
const deadline = 60 * time.Second

const (
	paid    = "/premium/"
	content = "You have paid, and node"
)

// cluster is the running program.
type cluster struct {
	t         *testing.T
	at        addresses
	cmd       *exec.Cmd
	output    lockedBuffer
	allEnded  chan struct{} // closed when no process holds the output any more: neither it nor a Caddy
	mainEnded chan struct{}
	err       error // how it ended
	nodeA     int   // its process
}

var processes = regexp.MustCompile(`process (\d+)`)

// start starts the program; without a URL its ledger is in SQLite.
func start(t *testing.T, databaseURL string) *cluster {
	t.Helper()
	c := &cluster{
		t: t, at: addresses{freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)},
		allEnded: make(chan struct{}), mainEnded: make(chan struct{}),
	}
	c.cmd = exec.Command(os.Args[0], "-data", t.TempDir(),
		"-site", c.at.site, "-axra", c.at.axra, "-node-a", c.at.nodeA, "-node-b", c.at.nodeB)
	home := t.TempDir()
	c.cmd.Env = append(os.Environ(), mainVariable+"=1", databaseVariable+"="+databaseURL, "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	ours, theirs, err := os.Pipe()
	must(t, err)
	c.cmd.Stdout, c.cmd.Stderr = theirs, theirs
	must(t, c.cmd.Start())
	must(t, theirs.Close())
	go func() {
		defer close(c.allEnded)
		_, _ = io.Copy(&c.output, ours)
		ours.Close()
	}()
	go func() {
		defer close(c.mainEnded)
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it has ended, unless the test failed
		c.mustEnd(c.allEnded, "the children end")
		if t.Failed() {
			t.Logf("output:\n%s", c.output.String())
		}
	})
	c.eventually("it serves", func() bool { return strings.Contains(c.output.String(), "Ctrl-C ends it all") })
	found := processes.FindAllStringSubmatch(c.output.String(), -1)
	if len(found) != 3 {
		t.Fatalf("it names %d processes", len(found))
	}
	c.nodeA, err = strconv.Atoi(found[1][1])
	must(t, err)
	return c
}

func (c *cluster) mustEnd(what <-chan struct{}, name string) {
	c.t.Helper()
	select {
	case <-what:
	case <-time.After(deadline):
		c.t.Errorf("in vain waited until %s", name)
	}
}

// eventually waits until the condition holds, or the program ends.
func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(deadline); !holds(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-c.mainEnded:
			c.t.Fatalf("it ended (%v) before %s:\n%s", c.err, what, c.output.String())
		default:
		}
		if time.Now().After(end) {
			c.t.Fatalf("in vain waited until %s", what)
		}
	}
}

// visitor is a browser, which knows the balancer only.
type visitor struct {
	*cluster
	client http.Client
	seen   map[string]int // node → pages
}

func (c *cluster) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // fails never
	return &visitor{c, http.Client{Jar: jar, Timeout: deadline, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, make(map[string]int)}
}

// open navigates, and says how that went and where it leads.
func (v *visitor) open(address string) (status int, location, body string) {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = "http://" + v.at.site + address
	}
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, address, nil)
	must(v.t, err)
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	request.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	response, err := v.client.Do(request)
	must(v.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(v.t, err)
	v.seen[response.Header.Get("X-Node")]++
	return response.StatusCode, response.Header.Get("Location"), string(content)
}

// reads tells whether the premium page opens.
func (v *visitor) reads() bool {
	v.t.Helper()
	status, _, body := v.open(paid)
	return status == http.StatusOK && strings.Contains(body, content)
}

// closedOnBoth tells whether neither node opens the page: requests alternate between them.
func (v *visitor) closedOnBoth() bool {
	v.t.Helper()
	clear(v.seen)
	for range 4 {
		if v.reads() {
			return false
		}
	}
	return v.seen["A"] > 0 && v.seen["B"] > 0
}

// buys pays at the sandbox and comes back. It returns the payment.
func (v *visitor) buys() (payment string) {
	v.t.Helper()
	status, checkout, body := v.open(paid)
	if status != http.StatusSeeOther || !strings.HasPrefix(checkout, "http://"+v.at.axra+"/") {
		v.t.Fatalf("sent to %q with %d: %.300s", checkout, status, body)
	}
	var sold struct {
		Sessions []struct{ SessionID, CheckoutURL string }
	}
	v.control(http.MethodGet, "sessions", "", &sold)
	for _, session := range sold.Sessions {
		if session.CheckoutURL != checkout {
			continue
		}
		var outcome struct{ Redirect, PaymentID string }
		v.control(http.MethodPost, "sessions/"+session.SessionID+"/pay", `{"card":"4242424242424242"}`, &outcome)
		v.eventually("the visitor is let in", func() bool {
			_, location, _ := v.open(outcome.Redirect)
			return location == paid
		})
		return outcome.PaymentID
	}
	v.t.Fatalf("the sandbox does not know %q: %+v", checkout, sold)
	return ""
}

// control uses the sandbox's JSON control.
func (c *cluster) control(method, path, body string, answer any) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.at.axra+"/sandbox/"+path, strings.NewReader(body))
	must(c.t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Timeout: deadline}).Do(request)
	must(c.t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	must(c.t, err)
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("%s %s: %s\n%s", method, path, response.Status, raw)
	}
	if answer != nil {
		if err := json.Unmarshal(raw, answer); err != nil {
			c.t.Fatalf("%s %s: %v\n%s", method, path, err, raw)
		}
	}
}

func TestTheClusterServesAndEnds(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { servesAndEnds(t, start(t, "")) })
	t.Run("PostgreSQL", func(t *testing.T) {
		server := pgtest.New(t)
		databaseURL := server.NewDatabase(t)
		c := start(t, databaseURL)
		printed := c.output.String()
		if want := fmt.Sprintf("postgres://127.0.0.1:%d/%s ", server.Port(), pgtest.Name(databaseURL)); !strings.Contains(printed, want) {
			t.Errorf("it does not print %s", want)
		}
		given, err := url.Parse(databaseURL)
		must(t, err)
		password, _ := given.User.Password()
		for _, secret := range []string{password, url.QueryEscape(password), "bs_test_"} {
			if strings.Contains(printed, secret) {
				t.Errorf("it prints %s", secret)
			}
		}
		c.eventually("each node has its five connections", func() bool {
			return server.Count(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1`, pgtest.Name(databaseURL)) == 10
		})
		servesAndEnds(t, c)
	})
}

// A visitor buys through the balancer and is let in by both nodes; a refund closes both;
// a node that is killed costs another visitor nothing; a signal ends it all.
func servesAndEnds(t *testing.T, c *cluster) {
	t.Helper()
	first, second := c.visitor(), c.visitor()
	payment := first.buys()
	second.buys()
	for _, v := range []*visitor{first, second} {
		clear(v.seen)
		for range 4 {
			if status, location, body := v.open(paid); status != http.StatusOK || !strings.Contains(body, content) {
				t.Fatalf("who has paid gets %d to %q: %.300s (pages came from %v)", status, location, body, v.seen)
			}
		}
		if v.seen["A"] == 0 || v.seen["B"] == 0 {
			t.Fatalf("pages came from %v", v.seen)
		}
	}

	c.control(http.MethodPost, "payments/"+payment+"/refund", "", nil)
	c.eventually("both nodes are closed", first.closedOnBoth)

	node, err := os.FindProcess(c.nodeA)
	must(t, err)
	must(t, node.Kill())
	c.eventually("the death is reported", func() bool { return strings.Contains(c.output.String(), "Node A has ended.") })
	clear(second.seen)
	for range 8 {
		if !second.reads() {
			t.Fatal("who has paid is not let in after the death of a node")
		}
	}
	if first.reads() {
		t.Error("what was refunded is open after the death of a node")
	}
	if second.seen["B"] != 8 {
		t.Errorf("pages came from %v", second.seen)
	}
	third := c.visitor()
	third.buys()
	if !third.reads() {
		t.Error("who has paid after the death of a node is not let in")
	}

	must(t, c.cmd.Process.Signal(syscall.SIGTERM))
	c.mustEnd(c.allEnded, "all of it ends")
	c.mustEnd(c.mainEnded, "it ends")
	if c.err != nil {
		t.Errorf("it ended with %v", c.err)
	}
}

// Whatever ends the program ends its children.
func TestNoChildIsLeftBehind(t *testing.T) {
	c := start(t, "")
	must(t, c.cmd.Process.Kill())
	c.mustEnd(c.allEnded, "the children end after a kill of their parent")
}

// An address that is taken is named, with what to do.
func TestATakenAddressIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	must(t, err)
	defer taken.Close()
	at := addresses{site: freeAddress(t), axra: freeAddress(t), nodeA: taken.Addr().String(), nodeB: freeAddress(t)}
	err = run(t.Context(), io.Discard, t.TempDir(), "", at)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()+" is in use") || !strings.Contains(err.Error(), "-node-a") {
		t.Errorf("%v", err)
	}
}

// A URL that cannot be read is refused, and not printed.
func TestABadURLIsRefused(t *testing.T) {
	err := run(t.Context(), io.Discard, t.TempDir(), "postgres://owner:secret%@localhost/db", addresses{})
	if !errors.Is(err, ledger.ErrURL) || !strings.Contains(err.Error(), databaseVariable) || strings.Contains(err.Error(), "secret%") {
		t.Errorf("%v", err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "localhost:0")
	must(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	return net.JoinHostPort("localhost", port)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
