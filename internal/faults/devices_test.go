package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

// S3: a device that one node has added is let in by the other at once. One that a node removes is shut out by the other
// within two seconds, and no other device is.
func TestS3NodesHearOfDevices(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{gate: "devices 3"})
		tries := inForm(4, 50)
		owners, friends, devices := make([]*visitor, tries), make([]*visitor, tries), make([]string, tries)
		for i := range tries {
			adds := nodes[i&1]
			owners[i], friends[i], devices[i] = r.buyer(adds), newVisitor(), formDevice(i)
			a, err := friends[i].press(t.Context(), adds, r.deviceLink(owners[i], adds)+"&axra_device_id="+devices[i])
			if err != nil || a.status != http.StatusSeeOther {
				t.Fatalf("node %s adds no device: %s %v", adds.name, a, err)
			}
			for _, n := range nodes {
				r.mustRead(friends[i], n)
			}
		}
		shut := make([]time.Duration, tries)
		must(t, each(t.Context(), inForm(4, 5), tries, func(ctx context.Context, i int) (err error) {
			removes, other := nodes[i>>1&1], nodes[1-i>>1&1]
			time.Sleep(rand.N(time.Second)) // at any time between two polls
			if err := removes.removeDevice(owners[i], devices[i]); err != nil {
				return err
			}
			shut[i], err = friends[i].shutWithin(ctx, other, heardWithin)
			return err
		}))
		for _, n := range nodes {
			for i := range tries {
				if !r.isShut(friends[i], n) {
					t.Errorf("node %s opens to a device that was removed", n.name)
				}
				r.mustRead(owners[i], n)
			}
		}
		t.Logf("%d tries: the other node shut the removed device out after %s at most", tries, slices.Max(shut).Round(time.Millisecond))
	})
}

// removeDevice ends the use of a purchase on a device, by the admin API.
func (n *node) removeDevice(owner *visitor, device string) error {
	a, err := n.administer(http.MethodPost, "/axra/remove-device", http.Header{"Content-Type": {"application/json"}},
		fmt.Appendf(nil, `{"purchase":%q,"device":%q}`, owner.session.ID, device))
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("removing a device is answered %s", a)
	}
	return err
}

// shutWithin asks until the node is closed to the visitor, and returns after which time it was.
func (v *visitor) shutWithin(ctx context.Context, n *node, limit time.Duration) (took time.Duration, err error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		asked := time.Since(began)
		if open, err := v.reads(ctx, n); err != nil || !open {
			return time.Since(began), err
		}
		if asked > limit {
			return asked, fmt.Errorf("node %s is open after %s", n.name, asked)
		}
	}
}
