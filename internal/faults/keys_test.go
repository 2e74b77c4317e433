package faults_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// K4: a key that one node adds, or removes, is known to the other one, or void there, within two seconds. Whoever
// has a token of the removed key is asked before being sent to a checkout.
func TestK4NodesHearOfKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		tries := inForm(1, 50)
		var slowest time.Duration
		for i := range tries {
			slowest = max(slowest, r.replaceKey(nodes[i&1], nodes[1-i&1]))
		}
		t.Logf("%d tries: the other node did without the removed key after %s at most", tries, slowest.Round(time.Millisecond))
	})
}

// replaceKey lets one node add a key and remove the old one, and watches the other node.
func (r *rig) replaceKey(changes, other *node) (took time.Duration) {
	t := r.t
	t.Helper()
	v := r.buyer(changes)
	r.mustRead(v, other)
	before := other.keys("keys/list", "")
	added := changes.keys("keys/rotate", "{}")
	if len(before) != 1 || len(added) != 2 {
		t.Fatalf("%d keys, and %d after a rotation", len(before), len(added))
	}
	until(t, heardWithin, "the other node knows the new key", func() bool { return len(other.keys("keys/list", "")) == 2 })
	r.mustRead(v, other)
	changes.keys("keys/remove", `{"key":"`+before[0]+`","yes":true}`)
	took, err := v.shutWithin(t.Context(), other, heardWithin)
	must(t, err)
	for _, n := range []*node{changes, other} {
		if a := r.visit(v, n); a.status != http.StatusPaymentRequired {
			t.Errorf("node %s answers a token of the removed key %s", n.name, a)
		}
	}
	return took
}

// keys calls the admin API and returns the ids of the signing keys.
func (n *node) keys(path, body string) (ids []string) {
	n.t.Helper()
	a, err := n.administer(http.MethodPost, "/axra/"+path, http.Header{"Content-Type": {"application/json"}}, []byte(body))
	if err != nil || a.status != http.StatusOK {
		n.t.Fatalf("%s is answered %s %v", path, a, err)
	}
	var list []struct {
		Kid string `json:"kid"`
	}
	must(n.t, json.Unmarshal([]byte(a.body), &list))
	for _, each := range list {
		ids = append(ids, each.Kid)
	}
	return ids
}
