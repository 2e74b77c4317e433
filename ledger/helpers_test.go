package ledger

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a Storage in memory. Its faults see every operation before it happens.
type disk struct {
	mu      sync.Mutex
	records map[string][]byte
	loads   int
	stores  int

	onLoad  func(key string) error
	seen    func(key string) // runs between a look at the records and its answer
	onStore func(key string) error
	mangle  func(key string, value []byte) []byte // what Store keeps instead of value
}

func newDisk() *disk { return &disk{records: make(map[string][]byte)} }

func (d *disk) Load(_ context.Context, key string) ([]byte, error) {
	d.mu.Lock()
	d.loads++
	fault, seen := d.onLoad, d.seen
	d.mu.Unlock()
	if fault != nil {
		if err := fault(key); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	value, ok := d.records[key]
	d.mu.Unlock()
	if seen != nil {
		seen(key)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return bytes.Clone(value), nil
}

func (d *disk) Store(_ context.Context, key string, value []byte) error {
	d.mu.Lock()
	d.stores++
	fault, mangle := d.onStore, d.mangle
	d.mu.Unlock()
	if fault != nil {
		if err := fault(key); err != nil {
			return err
		}
	}
	value = bytes.Clone(value)
	if mangle != nil {
		value = mangle(key, value)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[key] = value
	return nil
}

// fail sets faults while operations that were given up may still be under way.
func (d *disk) fail(load, store error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onLoad = func(string) error { return load }
	d.onStore = func(string) error { return store }
}

// heal takes every fault away.
func (d *disk) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onLoad, d.onStore, d.mangle = nil, nil, nil
}

const newsFolder = "axra/news/"

// keys lists the records, without the news, which belong to no purchase.
func (d *disk) keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	keys := make([]string, 0, len(d.records))
	for key := range d.records {
		if !strings.HasPrefix(key, newsFolder) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d *disk) copyOf() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := make(map[string]string, len(d.records))
	for key, value := range d.records {
		if !strings.HasPrefix(key, newsFolder) {
			records[key] = string(value)
		}
	}
	return records
}

// record returns the only record of the kind.
func (d *disk) record(t *testing.T, kind Kind) (key string, value []byte) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, stored := range d.records {
		if isOf(name, kind) {
			if key != "" {
				t.Fatalf("several records of kind %s", kind)
			}
			key, value = name, bytes.Clone(stored)
		}
	}
	if key == "" {
		t.Fatalf("no record of kind %s", kind)
	}
	return key, value
}

func (d *disk) put(key string, value []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[key] = value
}

func (d *disk) counts() (loads, stores int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loads, d.stores
}

func isOf(key string, kind Kind) bool { return strings.HasPrefix(key, "axra/ledger/"+string(kind)+"/") }

var paidAt = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func price(t testing.TB, amount string) money.Price {
	t.Helper()
	p, err := money.Parse(amount, "usd")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	theSession = "cs_1"
	payment1   = "bpay_1"
	payment2   = "bpay_2"
)

func soldTerms(t testing.TB) terms.Terms {
	return terms.Terms{
		Installation: "i", Site: "https://example.com", Pass: "premium", Resource: terms.WholePass,
		Price: price(t, "5.00"), Access: terms.Access(30 * 24 * time.Hour),
	}
}

func paidFact(t testing.TB, session, payment string) Fact {
	return Fact{
		Kind: Paid, Session: session, Payment: payment, At: paidAt, Terms: soldTerms(t), Paid: price(t, "5.00"),
	}
}

func outcomeFact(kind Kind, session, payment string) Fact {
	return Fact{Kind: kind, Session: session, Payment: payment, At: paidAt.Add(time.Hour)}
}

func mustRecord(t testing.TB, l *Ledger, facts ...Fact) {
	t.Helper()
	for _, f := range facts {
		if _, err := l.Record(t.Context(), f); err != nil {
			t.Fatalf("recording %s of %q, %q: %v", f.Kind, f.Session, f.Payment, err)
		}
	}
}

func mustGrant(t *testing.T, l *Ledger, session string) Grant {
	t.Helper()
	grant, err := l.Grant(t.Context(), session)
	if err != nil {
		t.Fatalf("grant of %q: %v", session, err)
	}
	return grant
}

// sameFact compares facts by what they say, not by how decimals and times are
// held in memory.
func sameFact(a, b Fact) bool {
	if !a.At.Equal(b.At) || !a.Paid.Equal(b.Paid) || !a.Terms.Price.Equal(b.Terms.Price) {
		return false
	}
	if !a.Terms.From.Equal(b.Terms.From) {
		return false
	}
	a.At, a.Paid, a.Terms.Price, a.Terms.From = b.At, b.Paid, b.Terms.Price, b.Terms.From
	return a == b
}
