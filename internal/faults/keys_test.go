package faults_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// K4: a key that one node adds, or removes, is known to the other one, or void there, within two seconds. Whoever
// has a token of the removed key is asked before being sent to a checkout.
func TestK4NodesHearOfKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		v := r.buyer(nodes[0])
		r.mustRead(v, nodes[1])
		first := nodes[1].keys(http.MethodGet, "keys", "")
		added := nodes[0].keys(http.MethodPost, "keys/rotate", "{}")
		if len(first) != 1 || len(added) != 2 {
			t.Fatalf("%d keys, and %d after a rotation", len(first), len(added))
		}
		until(t, heardWithin, "the other node knows the new key", func() bool { return len(nodes[1].keys(http.MethodGet, "keys", "")) == 2 })
		r.mustRead(v, nodes[1])
		nodes[0].keys(http.MethodPost, "keys/remove", `{"kid":"`+first[0]+`"}`)
		until(t, heardWithin, "the other node has forgotten the removed key", func() bool { return r.isShut(v, nodes[1]) })
		for _, n := range nodes {
			if a := r.visit(v, n); a.status != http.StatusPaymentRequired {
				t.Errorf("node %s answers a token of the removed key %s", n.name, a)
			}
		}
	})
}

// keys calls the admin API and returns the ids of the signing keys.
func (n *node) keys(method, path, body string) (ids []string) {
	n.t.Helper()
	a, err := n.administer(method, "/axra/"+path, http.Header{"Content-Type": {"application/json"}}, []byte(body))
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
