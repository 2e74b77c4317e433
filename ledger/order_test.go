package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// step is something that a webhook or an operator tells the ledger.
type step struct {
	name string
	do   func(testing.TB, world)
}

func paying(p ledger.Payment) step {
	return step{"payment " + p.SessionID, func(t testing.TB, w world) { w.pay(t, p) }}
}

func telling(e ledger.Event) step {
	name := fmt.Sprint(e.Kind, " ", e.SessionID, " ", e.PaymentIDs)
	return step{name, func(t testing.TB, w world) { w.tell(t, e) }}
}

func mismatched(session string, ids ...string) ledger.Payment {
	p := payment(session, ids...)
	p.Mismatch = true
	return p
}

func of(product string, p ledger.Payment) ledger.Payment {
	p.Terms.Pass = product
	return p
}

func at(after time.Duration, p ledger.Payment) ledger.Payment {
	p.PaidAt = start.Add(after)
	return p
}

// permutations calls f with every order of the numbers below n.
func permutations(n int, f func([]int)) {
	order := make([]int, 0, n)
	var extend func()
	extend = func() {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if !slices.Contains(order, i) {
				order = append(order, i)
				extend()
				order = order[:len(order)-1]
			}
		}
	}
	extend()
}

func TestW7EveryOrderEndsInTheSameState(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		const refunded, disputed, won, lost = ledger.EventRefunded, ledger.EventDisputed, ledger.EventDisputeWon, ledger.EventDisputeLost
		w := newFastWorld(t, on)
		for _, test := range []struct {
			name   string
			steps  []step
			want   map[string]ledger.Status // by session
			months int                      // that the purchase of the session a lasts
		}{
			{"a refund by session", []step{paying(payment("a")), telling(event(refunded, "a"))}, statuses("a refunded"), 1},
			{"a refund by payment id", []step{paying(payment("a", "p")), telling(event(refunded, "", "p"))}, statuses("a refunded"), 1},
			{"a refund by the second of two ids", []step{paying(payment("a", "p", "q")), telling(event(refunded, "", "q", "r"))}, statuses("a refunded"), 1},
			{"a refund of a payment without ids", []step{paying(payment("a", "")), telling(event(refunded, "a", "p"))}, statuses("a refunded"), 1},
			{"ids that lead to each other", []step{
				paying(payment("a", "p")), telling(event(disputed, "", "p", "q")), telling(event(won, "", "q", "r")),
				telling(event(refunded, "", "r")),
			}, statuses("a refunded"), 1},
			{"a dispute that is open", []step{paying(payment("a")), telling(event(disputed, "a"))}, statuses("a disputed"), 1},
			{"a dispute that was won", []step{paying(payment("a")), telling(event(disputed, "a")), telling(event(won, "a"))}, statuses("a active"), 1},
			{"a dispute that was lost", []step{paying(payment("a")), telling(event(disputed, "a")), telling(event(lost, "a"))}, statuses("a refunded"), 1},
			{"lost before won", []step{paying(payment("a")), telling(event(won, "a")), telling(event(lost, "a"))}, statuses("a refunded"), 1},
			{"won, but refunded", []step{
				paying(payment("a")), telling(event(disputed, "a")), telling(event(won, "a")), telling(event(refunded, "", "pay_a")),
			}, statuses("a refunded"), 1},
			{"an extension", []step{paying(payment("a")), paying(extension("b", "a"))}, statuses("a active", "b active"), 2},
			{"an extension whose base was refunded", []step{
				paying(payment("a")), paying(at(time.Minute, extension("b", "a"))), telling(event(refunded, "a")),
			}, statuses("a active", "b active"), 1},
			{"two extensions, one of them disputed", []step{
				paying(payment("a")), paying(at(time.Minute, extension("b", "a"))), paying(at(2*time.Minute, extension("c", "a"))),
				telling(event(disputed, "b")),
			}, statuses("a active", "c active"), 2},
			{"all of it refunded", []step{
				paying(payment("a")), paying(extension("b", "a")), telling(event(refunded, "a")), telling(event(lost, "b")),
			}, statuses("a refunded", "b refunded"), 2},
			{"one refunded, one disputed", []step{
				paying(payment("a")), paying(extension("b", "a")), telling(event(refunded, "a")), telling(event(disputed, "b")),
			}, statuses("a refunded"), 2},
			{"an extension of another product counts for nothing", []step{
				paying(payment("a")), paying(at(time.Minute, of("other", extension("b", "a")))), paying(at(2*time.Minute, extension("c", "a"))),
			}, statuses("a active", "b mismatched", "c active"), 2},
			{"an earlier extension of another product", []step{
				paying(at(2*time.Minute, payment("a"))), paying(of("other", extension("b", "a"))), paying(at(time.Minute, extension("c", "a"))),
			}, statuses("a active", "b mismatched", "c active"), 2},
			{"a mismatch", []step{paying(mismatched("a"))}, statuses("a mismatched"), 1},
			{"a mismatch, then the right amount", []step{paying(mismatched("a", "p")), paying(payment("a", "q"))}, statuses("a active"), 1},
			{"a mismatch that was sent back beside the right amount", []step{
				paying(mismatched("a", "p")), paying(payment("a", "q")), telling(event(refunded, "", "p")),
			}, statuses("a active"), 1},
			{"the right amount was sent back, the mismatch was not", []step{
				paying(mismatched("a", "p")), paying(payment("a", "q")), telling(event(refunded, "a", "q")),
			}, statuses("a refunded"), 1},
			{"a mismatched extension adds nothing", []step{
				paying(payment("a")), paying(func() ledger.Payment { p := extension("b", "a"); p.Mismatch = true; return p }()),
			}, statuses("a active", "b mismatched"), 1},
			{"a double charge of which one is refunded", []step{
				paying(payment("a", "p")), paying(payment("a", "q")), telling(event(refunded, "", "q")),
			}, statuses("a active"), 1},
			{"a double charge of which the other is refunded by session and id", []step{
				paying(payment("a", "p")), paying(payment("a", "q")), telling(event(refunded, "a", "p")),
			}, statuses("a active"), 1},
			{"a double charge of which both are refunded", []step{
				paying(payment("a", "p")), paying(payment("a", "q")), telling(event(refunded, "", "q")), telling(event(refunded, "", "p")),
			}, statuses("a refunded"), 1},
			{"a payment whose ids one event connects is no double charge", []step{
				paying(payment("a", "p")), paying(payment("a", "q")), telling(event(disputed, "", "p", "q")),
			}, statuses("a disputed"), 1},
		} {
			t.Run(test.name, func(t *testing.T) {
				var want []string
				permutations(len(test.steps), func(order []int) {
					if on.name == onPostgres.name && !slices.IsSorted(order) && order[0] != len(order)-1 {
						return // the same program computes the outcome on both; SQLite has all orders
					}
					dump := w.replay(t, test.steps, order)
					if want == nil {
						want = dump
						w.checkOutcome(t, test.want, test.months)
					}
					if !slices.Equal(dump, want) {
						t.Fatalf("order %v gave\n%s\nand not\n%s", order, strings.Join(dump, "\n"), strings.Join(want, "\n"))
					}
				})
			})
		}
	})
}

// newFastWorld is newWorld for what no crash can harm.
func newFastWorld(t testing.TB, on backend) world {
	t.Helper()
	return openWorld(t, ledger.WithPragmas(on.location(t), "synchronous(OFF)"))
}

// statuses reads "session status".
func statuses(texts ...string) map[string]ledger.Status {
	all := map[string]ledger.Status{}
	for _, text := range texts {
		session, status, _ := strings.Cut(text, " ")
		all[session] = ledger.Status(status)
	}
	return all
}

// replay empties the ledger, takes the steps in an order, and returns what became of it.
func (w world) replay(t testing.TB, steps []step, order []int) []string {
	t.Helper()
	w.clock.mu.Lock()
	w.clock.at = start.Add(2 * time.Minute)
	w.clock.mu.Unlock()
	err := w.Exec(context.Background(), `DELETE FROM purchases; DELETE FROM payments; DELETE FROM payment_ids;
		DELETE FROM events; DELETE FROM event_ids; DELETE FROM changes WHERE seq < (SELECT MAX(seq) FROM changes)`)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range order {
		steps[i].do(t, w)
	}
	dump, err := w.Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

func (w world) checkOutcome(t *testing.T, want map[string]ledger.Status, months int) {
	t.Helper()
	for session, status := range want {
		if got := w.status(t, session); got != status {
			t.Errorf("%s is %s, want %s", session, got, status)
		}
	}
	holding, err := w.HoldingOfSession(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := holding.EndsAt.Sub(holding.StartsAt); got != time.Duration(months)*30*24*time.Hour {
		t.Errorf("a lasts %s, want %d months", got, months)
	}
}

func TestW7RandomOrdersWithDuplicatesEndInTheSameState(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newFastWorld(t, on)
		random := rand.New(rand.NewPCG(1, 2))
		kinds := []ledger.EventKind{ledger.EventRefunded, ledger.EventDisputed, ledger.EventDisputeWon, ledger.EventDisputeLost}
		rounds := 30
		if on.name == onPostgres.name {
			rounds = 6 // each takes a hundred times as long
		}
		for round := range rounds {
			var steps []step
			for i := range 2 + random.IntN(4) {
				session := string(rune('a' + i))
				p := payment(session, "p"+fmt.Sprint(random.IntN(8)), "q"+fmt.Sprint(i))
				if i > 0 && random.IntN(2) == 0 {
					p.Terms.Extends = ledger.PurchaseID(string(rune('a' + random.IntN(i))))
				}
				if random.IntN(4) == 0 {
					p.Terms.Pass = "other"
				}
				p.Mismatch = random.IntN(5) == 0
				p.PaidAt = start.Add(time.Duration(random.IntN(3)) * time.Minute / 2)
				steps = append(steps, paying(p))
			}
			for range random.IntN(6) {
				session := ""
				if random.IntN(2) == 0 {
					session = string(rune('a' + random.IntN(5)))
				}
				ids := []string{"q" + fmt.Sprint(random.IntN(6)), "p" + fmt.Sprint(random.IntN(8))}[random.IntN(2):]
				steps = append(steps, telling(event(kinds[random.IntN(4)], session, ids...)))
			}
			var want []string
			for range 4 {
				order := random.Perm(len(steps))
				order = append(order, random.Perm(len(steps))[:random.IntN(len(steps))]...) // some come again
				dump := w.replay(t, steps, order)
				if want == nil {
					want = dump
				}
				if !slices.Equal(dump, want) {
					names := make([]string, len(steps))
					for i, s := range steps {
						names[i] = s.name
					}
					t.Fatalf("round %d, %q in the order %v gave\n%s\nand not\n%s", round, names, order,
						strings.Join(dump, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	})
}
