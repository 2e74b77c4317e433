package faults_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

// slowStorage is a file storage that takes its time to store, so that nodes that
// start together are sure to be in each other's way: `caddy.storage.slow`.
type slowStorage struct {
	Root string `json:"root"`
	*certmagic.FileStorage
}

const storeDelay = 300 * time.Millisecond

func init() { caddy.RegisterModule(new(slowStorage)) }

func (*slowStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.slow", New: func() caddy.Module { return new(slowStorage) }}
}

func (s *slowStorage) CertMagicStorage() (certmagic.Storage, error) {
	s.FileStorage = &certmagic.FileStorage{Path: s.Root}
	return s, nil
}

func (s *slowStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&s.Root) {
		return d.ArgErr()
	}
	return nil
}

func (s *slowStorage) Store(ctx context.Context, key string, value []byte) error {
	time.Sleep(storeDelay)
	return s.FileStorage.Store(ctx, key, value)
}

// K4: nodes that start at the same moment on an empty storage agree on one key.
func TestK4NodesAgreeOnOneKey(t *testing.T) {
	for i := range inForm(1, 20) {
		agreeOnOneKey(t, i%2 == 0)
	}
}

func agreeOnOneKey(t *testing.T, slow bool) {
	t.Helper()
	r := newRig(t)
	o := options{axra: unlimited}
	if slow {
		o.axra += "\n\t\tstorage slow `" + r.storage + "`"
	}
	nodes := []*node{r.add("A", o), r.add("B", o)}
	for _, n := range nodes {
		n.prepare()
	}
	for _, n := range nodes {
		n.load()
	}
	for _, n := range nodes {
		n.expect("ready")
	}
	began := time.Now()
	// At once, not one after the other: each node is asked before it can have
	// heard of the other by chance.
	for i, n := range nodes {
		v := newVisitor()
		until(t, 30*time.Second, "a node has its keys", func() bool {
			a, err := v.open(t.Context(), n, paid)
			must(t, err)
			return a.status == http.StatusSeeOther
		})
		r.begin(n, v) // goes to the same checkout again
		r.mustDeliver(n, completed(v.session))
		r.mustRead(v, n)
		r.mustRead(v, nodes[1-i])
	}
	raw, err := os.ReadFile(filepath.Join(r.storage, "axra", "keyring.json"))
	must(t, err)
	var keyring struct{ Keys []json.RawMessage }
	must(t, json.Unmarshal(raw, &keyring))
	if len(keyring.Keys) != 1 {
		t.Errorf("%d keys", len(keyring.Keys))
	}
	t.Logf("both nodes read each other's tokens within %s", time.Since(began).Round(time.Millisecond))
	for _, n := range nodes {
		n.kill()
	}
}

// K3: the webhook comes to one node, the visitor returns to the other.
func TestK3NodesShareThePayment(t *testing.T) {
	r, nodes := twoNodes(t)
	for i := range inForm(8, 80) {
		started, heard, returned := nodes[i&1], nodes[i>>1&1], nodes[i>>2&1]
		v := newVisitor()
		r.begin(started, v)
		if a, err := v.open(t.Context(), returned, paid+"?axra_session="+v.session.ID); err != nil || !strings.Contains(a.body, v.session.ID) || a.opened() {
			t.Fatalf("before the webhook: %s %v", a, err)
		}
		r.mustDeliver(heard, completed(v.session))
		a, err := v.open(t.Context(), returned, paid+"?axra_session="+v.session.ID)
		if err != nil || a.status != http.StatusSeeOther || a.location != paid {
			t.Fatalf("begun at %s, webhook at %s, return at %s: %s %v", started.name, heard.name, returned.name, a, err)
		}
		for _, n := range nodes {
			if a, err := v.open(t.Context(), n, paid); err != nil || !a.opened() {
				t.Fatalf("node %s does not accept the token of node %s: %s %v", n.name, returned.name, a, err)
			}
		}
	}
}

const recheck = time.Second

func twoNodes(t *testing.T) (*rig, []*node) {
	t.Helper()
	r := newRig(t)
	o := options{axra: unlimited + "\n\t\trecheck 1s"}
	return r, []*node{r.add("A", o).start(), r.add("B", o).start()}
}

// T7: a refund or a dispute closes the node that hears of it at once, the others
// within recheck; a dispute that is won opens them again.
func TestT7NodesCloseAfterARefund(t *testing.T) {
	r, nodes := twoNodes(t)
	var slowest time.Duration
	for i := range inForm(4, 32) {
		heard, other := nodes[i&1], nodes[1-i&1]
		name := []string{"payment.refunded", "payment.disputed"}[i>>1&1]
		away := (i^i>>1)&1 == 1
		v := r.buyer(heard)
		for before := time.Now().Add(rand.N(5 * recheck / 4)); ; time.Sleep(10 * time.Millisecond) {
			r.mustRead(v, other)
			if time.Now().After(before) {
				break // the node's memory is of any age now
			}
		}
		r.mustDeliver(heard, event(name, v.session))
		delivered := time.Now()
		if open, err := v.reads(t.Context(), heard); err != nil || open {
			t.Fatalf("%s: the node that heard of it is open (%v)", name, err)
		}
		// One visitor goes on reading, so that memory always has an answer; another
		// is away until nothing may be left of it.
		if away {
			time.Sleep(time.Until(delivered.Add(recheck + 20*time.Millisecond)))
		}
		for {
			asked := time.Now()
			open, err := v.reads(t.Context(), other)
			must(t, err)
			if !open {
				if !away {
					slowest = max(slowest, time.Since(delivered))
				}
				break
			}
			if asked.Sub(delivered) > recheck {
				t.Fatalf("%s: the other node is open to a request %s later", name, asked.Sub(delivered))
			}
			time.Sleep(10 * time.Millisecond)
		}
		if name == "payment.disputed" {
			r.mustDeliver(other, event("payment.dispute_won", v.session))
			for _, n := range []*node{other, heard} {
				until(t, 10*time.Second, "open after the dispute is won", func() bool {
					open, err := v.reads(t.Context(), n)
					must(t, err)
					return open
				})
			}
		}
	}
	t.Logf("recheck %s: the other node closed to a visitor who goes on reading after %s at most", recheck, slowest.Round(time.Millisecond))
}
