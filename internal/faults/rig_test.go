package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/sandbox"
)

const (
	secret = sitetest.WebhookSecret
	origin = "http://site.localhost" // the site, whichever node answers
	paid   = "/premium/article.html"
	marker = sitetest.Marker
)

// rig is what the nodes of a test share: a ledger, a site and a sandbox of Axra.
type rig struct {
	t        *testing.T
	sandbox  *sandbox.Sandbox
	axra     *httptest.Server
	root     string
	server   *pgtest.Server // nil: the ledger is an SQLite file
	database string         // file of the ledger, or URL of its database
	reading  *sql.DB        // the ledger, read beside the nodes; nil: not open
	swapped  time.Time      // when the server got the files of its copy, or its own again
	proxy    *pgtest.Proxy  // in front of the server, where a test wants one
}

func newRig(t *testing.T, on driver) *rig {
	t.Helper()
	if on == postgres {
		return newRigOn(t, pgtest.Shared(t))
	}
	return makeRig(&rig{t: t, database: filepath.Join(t.TempDir(), "ledger.db")})
}

// newRigToHurt makes a rig whose server no other test uses.
func newRigToHurt(t *testing.T, on driver) *rig {
	t.Helper()
	if on == postgres {
		return newRigOn(t, pgtest.New(t))
	}
	return newRig(t, on)
}

// newRigOn makes a rig with an empty database of a server.
func newRigOn(t *testing.T, server *pgtest.Server) *rig {
	t.Helper()
	return makeRig(&rig{t: t, server: server, database: server.NewDatabase(t)})
}

func makeRig(r *rig) *rig {
	t := r.t
	t.Helper()
	r.root = t.TempDir()
	t.Cleanup(r.closeLedger)
	writeFile(t, filepath.Join(r.root, "index.html"), "free")
	writeFile(t, filepath.Join(r.root, filepath.FromSlash(paid)), marker)
	r.axra = httptest.NewUnstartedServer(nil)
	var err error
	r.sandbox, err = sandbox.New(sandbox.Config{
		BaseURL: "http://" + r.axra.Listener.Addr().String(), Keep: 20_000,
	})
	must(t, err)
	r.axra.Config.Handler = r.sandbox
	r.axra.Start()
	t.Cleanup(func() {
		if err := r.sandbox.Close(); err != nil {
			t.Error(err)
		}
		r.axra.Close()
	})
	return r
}

// options vary a Caddyfile.
type options struct {
	axra        string // further lines of the global option
	gate        string // further lines of the gate
	site        string // further directives of the site
	price       string // "5.00 usd"
	description string
	url         string // leads to another PostgreSQL database than the rig's, or by another way
}

// unlimited removes the limits on session creation.
const unlimited = "limit_per_client 100000000 1s\n\t\tlimit_total 100000000 1s"

// add makes a node on the rig's ledger; it does not start it.
func (r *rig) add(name string, o options) *node {
	r.t.Helper()
	home := r.t.TempDir()
	n := &node{
		t: r.t, name: name, home: home, port: sitetest.FreePort(r.t), admin: sitetest.FreePort(r.t),
		file: filepath.Join(home, "Caddyfile"), stderr: filepath.Join(home, "stderr"),
	}
	n.transport = n.newTransport()
	n.write(r.caddyfile(n, o))
	r.t.Cleanup(n.finish)
	return n
}

// newTransport leads to the node, with connections of its own.
func (n *node) newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", "127.0.0.1:"+n.port)
		},
		MaxIdleConnsPerHost: 1024,
	}
}

func (r *rig) caddyfile(n *node, o options) string {
	return strings.NewReplacer("ADMIN", n.admin, "PORT", n.port, "LEDGER", r.directive(n, o), "ROOT", "`"+r.root+"`",
		"ENDPOINT", r.axra.URL+sandbox.APIPrefix, "PRICE", cmp.Or(o.price, "5.00 usd"),
		"DESCRIPTION", "`"+cmp.Or(o.description, "Premium")+"`",
		"MORE_OPTIONS", o.axra, "MORE_GATE", o.gate, "MORE_SITE", o.site, "ORIGIN", origin).Replace(`{
	admin 127.0.0.1:ADMIN
	persist_config off
	auto_https off
	log {
		level WARN
	}
	servers {
		protocols h1
		trusted_proxies static 127.0.0.1/32
	}
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
		database       LEDGER
		site_url       ORIGIN
		MORE_OPTIONS
	}
}
ORIGIN:PORT {
	bind 127.0.0.1
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		pass        member
		price       PRICE
		access      30d
		description DESCRIPTION
		MORE_GATE
	}
	MORE_SITE
	root ROOT
	file_server
}
`)
}

// directive says where the ledger is.
func (r *rig) directive(n *node, o options) string {
	if r.server == nil {
		return "sqlite `" + r.database + "`"
	}
	file := filepath.Join(n.home, "database_url")
	writeFile(r.t, file, cmp.Or(o.url, r.database))
	return "postgres {file." + file + "}"
}

// visitor is a browser, which may be led to any node.
type visitor struct {
	jar     *cookiejar.Jar
	from    string          // client address as a proxy in front would name it; may be empty
	session sandbox.Session // the checkout it has begun
}

func newVisitor() *visitor {
	jar, _ := cookiejar.New(nil) // fails never
	return &visitor{jar: jar}
}

// answer is a response with its body read.
type answer struct {
	status   int
	location string
	body     string
}

func (a answer) String() string { return fmt.Sprintf("%d to %q: %.300q", a.status, a.location, a.body) }

func (a answer) opened() bool { return a.status == http.StatusOK && a.body == marker }

// ask sends one request and follows no redirect.
func ask(ctx context.Context, client *http.Client, method, target string, header http.Header, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if strings.HasPrefix(target, "/") {
		target = origin + target
	}
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header = header.Clone()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, response.Header.Get("Location"), string(content)}, nil
}

// open navigates to an address on a node.
func (v *visitor) open(ctx context.Context, n *node, target string) (answer, error) {
	header := sitetest.Navigation
	if v.from != "" {
		header = header.Clone()
		header.Set("X-Forwarded-For", v.from)
	}
	return ask(ctx, &http.Client{Transport: n.transport, Jar: v.jar}, http.MethodGet, target, header, nil)
}

// browse follows redirects within the site.
func (v *visitor) browse(ctx context.Context, n *node, target string) (answer, error) {
	for range 5 {
		a, err := v.open(ctx, n, target)
		if err != nil || !strings.HasPrefix(a.location, "/") {
			return a, err
		}
		target = a.location
	}
	return answer{}, fmt.Errorf("too many redirects, the last to %s", target)
}

// reads tells whether the visitor gets the paid page, perhaps after redirects.
func (v *visitor) reads(ctx context.Context, n *node) (bool, error) {
	a, err := v.browse(ctx, n, paid)
	if err != nil {
		return false, err
	}
	if !a.opened() && strings.Contains(a.body, marker) {
		return false, fmt.Errorf("paid content in %s", a)
	}
	return a.opened(), nil
}

// mustRead fails the test unless the visitor gets the paid page.
func (r *rig) mustRead(v *visitor, n *node) {
	r.t.Helper()
	if a, err := v.browse(r.t.Context(), n, paid); err != nil || !a.opened() {
		r.t.Fatalf("node %s does not open to a visitor who has paid: %s %v", n.name, a, err)
	}
}

// begin lets visitors come to a node and be sent to checkouts.
func (r *rig) begin(n *node, visitors ...*visitor) {
	r.t.Helper()
	must(r.t, r.beginAt(r.t.Context(), n, paid, visitors...))
}

// beginAt is begin for any goroutine and address.
func (r *rig) beginAt(ctx context.Context, n *node, target string, visitors ...*visitor) error {
	checkouts := make([]string, len(visitors))
	err := each(ctx, 8, len(visitors), func(ctx context.Context, i int) error {
		a, err := visitors[i].open(ctx, n, target)
		if err == nil && a.status != http.StatusSeeOther {
			err = fmt.Errorf("a visitor is not sent to a checkout: %s", a)
		}
		checkouts[i] = a.location
		return err
	})
	if err != nil {
		return err
	}
	known := make(map[string]sandbox.Session)
	for _, session := range r.sandbox.Sessions() {
		known[session.CheckoutURL] = session
	}
	for i, v := range visitors {
		session, ok := known[checkouts[i]]
		if !ok {
			return fmt.Errorf("a visitor is sent to %q, which is no checkout", checkouts[i])
		}
		v.session = session
	}
	return nil
}

// buyer is a visitor who has paid and been let in.
func (r *rig) buyer(n *node) *visitor {
	r.t.Helper()
	v, err := r.newBuyer(r.t.Context(), n)
	must(r.t, err)
	return v
}

// newBuyer is buyer for any goroutine.
func (r *rig) newBuyer(ctx context.Context, n *node) (*visitor, error) {
	v := newVisitor()
	if err := r.beginAt(ctx, n, paid, v); err != nil {
		return nil, err
	}
	if status, err := deliver(ctx, n, completed(v.session), secret); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("node %s answers a webhook with %d %w", n.name, status, err)
	}
	if open, err := v.reads(ctx, n); err != nil || !open {
		return nil, fmt.Errorf("node %s does not open to a visitor who has paid (%w)", n.name, err)
	}
	return v, nil
}

// each calls do for 0 to count-1, so many at a time, and stops at an error.
func each(ctx context.Context, workers, count int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range count {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// completed is the event that says that a session was paid.
func completed(session sandbox.Session) []byte { return event("payment.completed", session) }

func event(name string, session sandbox.Session) []byte {
	metadata := map[string]any{"sessionId": session.ID}
	for key, value := range session.Metadata {
		metadata[key] = value
	}
	raw, err := json.Marshal(map[string]any{
		"event": name, "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{
			"paymentId": "bpay_" + session.ID, "amount": session.Amount, "currency": session.Currency, "metadata": metadata,
		},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// deliver sends a webhook to a node, signed with the secret.
func deliver(ctx context.Context, n *node, body []byte, secret string) (status int, err error) {
	a, err := ask(ctx, &http.Client{Transport: n.transport}, http.MethodPost, "/webhooks/axra", http.Header{
		"Content-Type":     {"application/json"},
		"X-Axra-Signature": {sitetest.Sign(body, secret)},
	}, body)
	return a.status, err
}

func (r *rig) mustDeliver(n *node, body []byte) {
	r.t.Helper()
	if status, err := deliver(r.t.Context(), n, body, secret); err != nil || status != http.StatusOK {
		r.t.Fatalf("node %s answers a webhook with %d %v", n.name, status, err)
	}
}

// until asks again and again, at most so long.
func until(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
