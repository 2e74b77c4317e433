package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
)

func mustReadNews(t *testing.T, l *Ledger, id string) string {
	t.Helper()
	news, err := l.News(t.Context(), ShardOf(id))
	if err != nil {
		t.Fatal(err)
	}
	return news
}

// changes of what is known about a purchase, each made after it was paid.
func changes(t *testing.T) map[string]func(l *Ledger) error {
	record := func(f Fact) func(*Ledger) error {
		return func(l *Ledger) error { _, err := l.Record(t.Context(), f); return err }
	}
	extension := paidFact(t, "cs_2", payment2)
	extension.Terms.Extends = theSession
	return map[string]func(l *Ledger) error{
		"a refund of the session":      record(outcomeFact(Refunded, theSession, "")),
		"a refund of the payment":      record(outcomeFact(Refunded, "", payment1)),
		"a dispute":                    record(outcomeFact(Disputed, theSession, payment1)),
		"a lost dispute":               record(outcomeFact(DisputeLost, "", payment1)),
		"an extension":                 record(extension),
		"a decision":                   func(l *Ledger) error { return l.Decide(t.Context(), theSession, Revoked, "", paidAt) },
		"a refund before the dispute":  record(outcomeFact(DisputeWon, theSession, "")),
		"an extension by the operator": func(l *Ledger) error { return l.Extend(t.Context(), theSession, "cs_3", paidAt) },
	}
}

// Whatever is stored about an untroubled payment, its news change, and this node is told;
// the reading after that is not untroubled any more.
func TestEveryChangeIsNews(t *testing.T) {
	for name, change := range changes(t) {
		t.Run(name, func(t *testing.T) {
			ledger := New(newDisk(), 0)
			var mu sync.Mutex
			var told []Shard
			ledger.OnNews(func(shards ...Shard) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, shards...)
			})
			mustRecord(t, ledger, paidFact(t, theSession, payment1))
			if !mustGrant(t, ledger, theSession).Untroubled || len(told) > 0 {
				t.Fatal("a payment alone is troubled")
			}
			before := mustReadNews(t, ledger, theSession)
			if err := change(ledger); err != nil {
				t.Fatal(err)
			}
			if mustReadNews(t, ledger, theSession) == before || !slices.Contains(told, ShardOf(theSession)) {
				t.Errorf("no news; told %v", told)
			}
			if mustGrant(t, ledger, theSession).Untroubled {
				t.Error("it is untroubled still")
			}
		})
	}
}

// Wherever a change breaks off, either what was read before it still holds, or there are
// news, or it is made known when it comes again.
func TestAChangeThatBreaksOffHidesNothing(t *testing.T) {
	broken := errors.New("disk full")
	for name, change := range changes(t) {
		t.Run(name, func(t *testing.T) {
			for failing := 1; ; failing++ {
				storage := newDisk()
				ledger := New(storage, 0)
				mustRecord(t, ledger, paidFact(t, theSession, payment1))
				before, grant := newsOf(t, ledger), mustGrant(t, ledger, theSession)
				var mu sync.Mutex
				stores := 0
				storage.onStore = func(string) error {
					mu.Lock()
					defer mu.Unlock()
					if stores++; stores >= failing {
						return broken
					}
					return nil
				}
				err := change(ledger)
				storage.heal()
				if err == nil {
					return // it needs fewer stores than that
				}
				after := mustGrant(t, ledger, theSession)
				changed := after.ClosedFor != grant.ClosedFor || !after.Until.Equal(grant.Until)
				if changed && newsOf(t, ledger) == before {
					t.Errorf("store %d fails: %+v, and no news", failing, after)
				}
				if err := change(ledger); err != nil {
					t.Fatal(err)
				}
				if newsOf(t, ledger) == before {
					t.Errorf("store %d fails, then it comes again: no news", failing)
				}
			}
		})
	}
}

// newsOf are those of the session and of its payment.
func newsOf(t *testing.T, l *Ledger) string {
	t.Helper()
	return mustReadNews(t, l, theSession) + mustReadNews(t, l, payment1)
}

func allKeys(d *disk) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var keys []string
	for key := range d.records {
		keys = append(keys, key)
	}
	return keys
}

// A node of an earlier version stored the outcome and stopped before the marker.
func TestWhatAnEarlierVersionLeftOutIsAdded(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1))
	refund := outcomeFact(Refunded, theSession, "")
	raw, err := refund.encode()
	if err != nil {
		t.Fatal(err)
	}
	storage.put(key(Refunded, theSession), raw)
	if !mustGrant(t, ledger, theSession).Untroubled {
		t.Fatal("the marker is there already")
	}
	mustRecord(t, ledger, refund)
	if mustGrant(t, ledger, theSession).ClosedFor != Refunded || mustReadNews(t, ledger, theSession) == "" {
		t.Error("a refund whose marker was missing is not heeded")
	}
}

// What comes again changes nothing, or anybody who repeats it would have all visitors
// looked up again.
func TestWhatIsKnownIsNoNews(t *testing.T) {
	for name, change := range changes(t) {
		t.Run(name, func(t *testing.T) {
			ledger := New(newDisk(), 0)
			mustRecord(t, ledger, paidFact(t, theSession, payment1))
			_ = change(ledger)
			before := mustReadNews(t, ledger, theSession)
			ledger.OnNews(func(shards ...Shard) { t.Errorf("news in %v", shards) })
			if err := change(ledger); err != nil && !errors.Is(err, ErrDecided) {
				t.Fatal(err)
			}
			if mustReadNews(t, ledger, theSession) != before {
				t.Error("there are news")
			}
		})
	}
}

// News are per shard: most visitors need not be looked up again.
func TestNewsAreOfOneShard(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	mustRecord(t, ledger, paidFact(t, theSession, payment1), outcomeFact(Refunded, theSession, payment1))
	found := 0
	for _, key := range allKeys(storage) {
		if strings.HasPrefix(key, newsFolder) {
			found++
		}
	}
	if found != 2 {
		t.Errorf("news in %d shards, want those of the session and the payment", found)
	}
}

func TestNewsThatCannotBeReadAreAnError(t *testing.T) {
	storage := newDisk()
	ledger := New(storage, 0)
	if news, err := ledger.News(t.Context(), 1); err != nil || news != "" {
		t.Errorf("no news: %q, %v", news, err)
	}
	storage.onLoad = func(string) error { return fs.ErrPermission }
	if _, err := ledger.News(t.Context(), 1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("no answer: %v", err)
	}
}

// An import may have changed everything.
func TestAnImportIsNewsForAll(t *testing.T) {
	from, into := newFolder(t), newFolder(t)
	mustRecord(t, from.Ledger, paidFact(t, theSession, payment1))
	for _, comesAgain := range []bool{false, true} {
		told := 0
		into.OnNews(func(shards ...Shard) { told += len(shards) })
		before := mustReadNews(t, into.Ledger, theSession)
		if _, err := into.Import(t.Context(), bytes.NewReader(exported(t, from.Archive))); err != nil {
			t.Fatal(err)
		}
		if told != Shards || mustReadNews(t, into.Ledger, theSession) == before {
			t.Errorf("again %t: %d shards are told", comesAgain, told)
		}
	}
}

// D1: a storage that loses the news must not have the refund acknowledged: no other node
// would ever hear of it.
func TestD1NewsThatAreLostAreNotAcknowledged(t *testing.T) {
	for name, mangle := range map[string]func(value []byte, before string) []byte{
		"forgotten": func(_ []byte, before string) []byte { return []byte(before) },
		"emptied":   func([]byte, string) []byte { return nil },
		"garbled":   func(value []byte, _ string) []byte { return value[:len(value)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			storage := newDisk()
			ledger := New(storage, 0)
			mustRecord(t, ledger, paidFact(t, theSession, payment1), outcomeFact(Disputed, theSession, ""), outcomeFact(DisputeWon, theSession, ""))
			before := mustReadNews(t, ledger, theSession)
			storage.mangle = func(key string, value []byte) []byte {
				if strings.HasPrefix(key, newsFolder) {
					return mangle(value, before)
				}
				return value
			}
			refund := outcomeFact(Refunded, theSession, "")
			if _, err := ledger.Record(t.Context(), refund); !errors.Is(err, ErrGarbled) {
				t.Errorf("acknowledged: %v", err)
			}
			storage.heal()
			mustRecord(t, ledger, refund)
			if after := mustReadNews(t, ledger, theSession); after == before || mustGrant(t, ledger, theSession).ClosedFor != Refunded {
				t.Errorf("the next delivery is not heeded: news %q", after)
			}
		})
	}
}

// T7: an import that is under way, or was killed, has told of every marker that it has
// stored: a delivery of the same refund has nothing to add.
func TestT7AnImportTellsAsItGoes(t *testing.T) {
	from, into := newFolder(t), newFolder(t)
	mustRecord(t, from.Ledger, paidFact(t, theSession, payment1), outcomeFact(Refunded, theSession, payment1))
	mustRecord(t, into.Ledger, paidFact(t, theSession, payment1))
	before := mustReadNews(t, into.Ledger, theSession)
	lines := bytes.SplitAfter(exported(t, from.Archive), []byte("\n"))
	cut := slices.IndexFunc(lines, func(line []byte) bool { return bytes.Contains(line, []byte(`"key":"link/`)) })
	if _, err := into.Import(t.Context(), bytes.NewReader(bytes.Join(lines[:cut], nil))); !errors.Is(err, ErrTransfer) {
		t.Fatal(err)
	}
	if mustGrant(t, into.Ledger, theSession).ClosedFor != Refunded || mustReadNews(t, into.Ledger, theSession) == before {
		t.Error("an import that broke off has closed a purchase without news")
	}
}
