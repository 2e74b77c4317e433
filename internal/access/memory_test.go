//go:build !race

package access

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// anyKeys takes every token for a good one.
type anyKeys struct{ at time.Time }

func (k anyKeys) VerifyAccess(raw, site string) (token.Access, error) {
	id := strings.Clone(raw[len(raw)-43 : len(raw)-11])
	return token.Access{
		Site: site, Pass: strings.Clone("premium"), Resource: strings.Clone("*"), Purchase: id, Device: strings.Clone(id[:22]),
		Expires: k.at.Add(year), Key: "k",
	}, nil
}
func (k anyKeys) Knows(string) bool { return true }

// rawToken is a text of the length of an access token.
func rawToken(i int) string {
	number := strconv.Itoa(1_000_000_000 + i)
	return front + number + "." + number + front[:33]
}

var front = strings.Repeat("e", 400)

// fill has so many different tokens come by, with their purchases.
func fill(n *node, tokens int) {
	n.options.Keys = anyKeys{n.now()}
	for i := range tokens {
		known := n.verify(rawToken(i))
		known.keep(newPurchase(known.Purchase, n.now().Add(year)), known.version.Load())
	}
}

// newPurchase is a purchase of three devices as a driver returns it: of new texts.
func newPurchase(id string, end time.Time) ledger.Holding {
	return ledger.Holding{
		Purchase: ledger.Purchase{
			ID: strings.Clone(id), Site: strings.Clone(site), Product: strings.Clone("premium"), Resource: strings.Clone("*"),
			Status: ledger.Active, EndsAt: end,
		},
		DeviceIDs: []string{strings.Clone(id[:22]), strings.Clone(id[:21]), strings.Clone(id[:20])},
	}
}

// maxTokens is how many of the lightest tokens fit.
const maxTokens = maxTokenBytes / tokenOverhead

func TestTheMemoryIsBounded(t *testing.T) {
	n := newNode(t)
	before := heap()
	fill(n, 2*maxTokens)
	n.Size()
	used := heap() - before
	t.Logf("%d tokens take %d MB", n.Size(), used>>20)
	if n.Size() > maxTokens {
		t.Errorf("%d tokens are remembered, at most %d should be", n.Size(), maxTokens)
	}
	if limit := uint64(maxTokenBytes); used > limit {
		t.Errorf("they take %d MB, %d should be enough", used>>20, limit>>20)
	}
	runtime.KeepAlive(n)
}

// BenchmarkMemory is what a node takes that a million different tokens came by at.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		n := newNode(b)
		before := heap()
		fill(n, 1_000_000)
		n.Size()
		b.ReportMetric(float64(heap()-before)/(1<<20), "MB")
		b.ReportMetric(float64(n.Size()), "tokens")
		runtime.KeepAlive(n)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
