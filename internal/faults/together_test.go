package faults_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// atOnce is how many visitors race for the same thing, half of them at each of two nodes. The order in which
// statements meet in the ledger is raced in ledger/processes_test.go; here the whole way over HTTP is.
const atOnce = 64

// race sends requests at the same moment, by turns to each node, and counts the answers by status.
func race(t *testing.T, nodes []*node, send func(ctx context.Context, n *node, i int) (answer, error)) map[int]int {
	t.Helper()
	counts := make(map[int]int)
	var mu sync.Mutex
	var ready, together sync.WaitGroup
	start := make(chan struct{})
	for i := range atOnce {
		ready.Add(1)
		together.Go(func() {
			ready.Done()
			<-start
			a, err := send(t.Context(), nodes[i%len(nodes)], i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			counts[a.status]++
		})
	}
	ready.Wait()
	close(start)
	together.Wait()
	return counts
}

// mustCount fails the test unless so many were let in and all others got the other answer.
func mustCount(t *testing.T, counts map[int]int, letIn, others int) {
	t.Helper()
	if counts[http.StatusSeeOther] != letIn || counts[others] != atOnce-letIn {
		t.Errorf("the answers by status are %v, want %d times 303 and else %d", counts, letIn, others)
	}
}

// crowd is visitors of different addresses.
func crowd() []*visitor {
	visitors := make([]*visitor, atOnce)
	for i := range visitors {
		visitors[i] = newVisitor()
		visitors[i].from = randomAddress()
	}
	return visitors
}

// press sends the form of a page, as its button does.
func (v *visitor) press(ctx context.Context, n *node, address string) (answer, error) {
	header := sitetest.Navigation.Clone()
	header.Set("Origin", origin)
	if v.from != "" {
		header.Set("X-Forwarded-For", v.from)
	}
	return ask(ctx, &http.Client{Transport: n.transport, Jar: v.jar}, http.MethodPost, address, header, nil)
}

// find returns the address in a page that matches a pattern with one group.
func (r *rig) find(a answer, pattern string) string {
	r.t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(a.body)
	if found == nil {
		r.t.Fatalf("no %s in %s", pattern, a)
	}
	return html.UnescapeString(found[1])
}

// deviceLink is the address for another device on the receipt of a visitor who has paid.
func (r *rig) deviceLink(v *visitor, n *node) string {
	r.t.Helper()
	receipt, err := v.open(r.t.Context(), n, paid+"?axra_receipt")
	must(r.t, err)
	return r.find(receipt, `"([^"]*axra_device=[^"]*)"`)
}

// mustAgree fails the test unless all of the visitors who were let in read the page on every node, and no other.
func (r *rig) mustAgree(nodes []*node, visitors []*visitor, letIn int) {
	r.t.Helper()
	for _, n := range nodes {
		open := 0
		for _, v := range visitors {
			a, err := v.open(r.t.Context(), n, paid)
			must(r.t, err)
			if a.opened() {
				open++
			}
		}
		if open != letIn {
			r.t.Errorf("node %s opens to %d visitors, want %d", n.name, open, letIn)
		}
	}
}

// S3: 64 browsers open a device link of a purchase for three devices.
func TestS3NodesAddNoDeviceTooMany(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{gate: "devices 3"})
		for range inForm(1, 10) {
			link, friends := r.deviceLink(r.buyer(nodes[0]), nodes[0]), crowd()
			before := r.number(`SELECT COUNT(*) FROM devices`)
			counts := race(t, nodes, func(ctx context.Context, n *node, i int) (answer, error) {
				return friends[i].press(ctx, n, link+"&axra_device_id="+formDevice(i))
			})
			mustCount(t, counts, 2, http.StatusForbidden)
			if added := r.number(`SELECT COUNT(*) FROM devices`) - before; added != 2 {
				t.Errorf("%d devices were added, want 2", added)
			}
			r.mustAgree(nodes, friends, 2)
		}
	})
}

// S3: a form that one browser sends 64 times adds one device.
func TestS3NodesAddAFormOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{gate: "devices 3"})
		for range inForm(1, 10) {
			link, friend := r.deviceLink(r.buyer(nodes[0]), nodes[0]), newVisitor()
			before := r.number(`SELECT COUNT(*) FROM devices`)
			form := link + "&axra_device_id=" + formDevice(0)
			counts := race(t, nodes, func(ctx context.Context, n *node, _ int) (answer, error) {
				return friend.press(ctx, n, form)
			})
			mustCount(t, counts, atOnce, 0)
			if added := r.number(`SELECT COUNT(*) FROM devices`) - before; added != 1 {
				t.Errorf("%d devices were added, want 1", added)
			}
			r.mustAgree(nodes, []*visitor{friend}, 1)
		}
	})
}

// formDevice is the id of a device in a form that was made now.
func formDevice(i int) string { return fmt.Sprintf("FRIENDABCDEFGHIJKLMN%02d%d", i, time.Now().Unix()) }

// S3: 64 browsers claim one payment.
func TestS3NodesGrantAClaimOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{gate: "claim first"})
		for range inForm(1, 10) {
			payer, friends := newVisitor(), crowd()
			r.begin(nodes[0], payer)
			r.mustDeliver(nodes[0], completed(payer.session))
			before := r.number(`SELECT COUNT(*) FROM devices WHERE claimed = 1`)
			counts := race(t, nodes, func(ctx context.Context, n *node, i int) (answer, error) {
				return friends[i].press(ctx, n, fmt.Sprintf("%s?axra_session=%s&axra_device_id=%s", paid, payer.session.ID, formDevice(i)))
			})
			mustCount(t, counts, 1, http.StatusPaymentRequired)
			if claims := r.number(`SELECT COUNT(*) FROM devices WHERE claimed = 1`) - before; claims != 1 {
				t.Errorf("%d claims, want 1", claims)
			}
			r.mustAgree(nodes, friends, 1)
			r.mustRead(payer, nodes[1]) // whoever has claimed
		}
	})
}

// FC4: 64 requests of a purchase for five downloads. A window that ends at once makes each a download.
func TestFC4NodesSellNoDownloadTooMany(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		for _, test := range []struct {
			window             string
			sent, others, used int
		}{
			{"1ms", 5, http.StatusPaymentRequired, 5},
			{"24h", atOnce, 0, 1},
		} {
			t.Run(test.window, func(t *testing.T) {
				r, nodes := twoNodes(t, on, options{axra: "download_window " + test.window, gate: "per_path\n\t\tdownloads 5"})
				for range inForm(1, 10) {
					v := newVisitor()
					r.begin(nodes[0], v)
					r.mustDeliver(nodes[0], completed(v.session))
					a, err := v.open(t.Context(), nodes[0], paid+"?axra_session="+v.session.ID)
					must(t, err)
					if a.location != paid {
						t.Fatalf("a buyer is answered %s", a)
					}
					counts := race(t, nodes, func(ctx context.Context, n *node, _ int) (answer, error) { return v.open(ctx, n, paid) })
					if counts[http.StatusOK] != test.sent || counts[test.others] != atOnce-test.sent {
						t.Errorf("the answers by status are %v, want %d times 200 and else %d", counts, test.sent, test.others)
					}
					used := r.number(`SELECT downloads_used FROM purchases JOIN payments ON purchase_id = id WHERE session_id = $1`, v.session.ID)
					if used != test.used {
						t.Errorf("%d downloads are used, want %d", used, test.used)
					}
				}
			})
		}
	})
}

// W6: 64 extensions of one purchase arrive at once, each at both nodes. None is lost, none counts twice.
func TestW6NodesLoseNoExtension(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		for range inForm(1, 5) {
			v := r.buyer(nodes[0])
			receipt, err := v.open(t.Context(), nodes[0], paid+"?axra_receipt")
			must(t, err)
			more := r.find(receipt, `"([^"]*axra_extend=1[^"]*)"`)
			tabs := make([]*visitor, atOnce)
			for i := range tabs { // each without the checkout of the other, which it would go on with
				tabs[i] = v.clone()
			}
			must(t, r.beginAt(t.Context(), nodes[0], more, tabs...))
			counts := race(t, nodes, func(ctx context.Context, n *node, i int) (answer, error) {
				for _, at := range []*node{n, nodes[0], nodes[1]} {
					status, err := deliver(ctx, at, completed(tabs[i].session), secret)
					for tries := 0; err == nil && status == http.StatusServiceUnavailable && tries < 5; tries++ { // as Axra does
						status, err = deliver(ctx, at, completed(tabs[i].session), secret)
					}
					if err != nil || status != http.StatusOK {
						return answer{status: status}, err
					}
				}
				return answer{status: http.StatusOK}, nil
			})
			if counts[http.StatusOK] != atOnce {
				t.Errorf("the webhooks are answered %v", counts)
			}
			days := r.number(`
			SELECT (ends_at - starts_at) / 86400 FROM purchases JOIN payments ON purchase_id = id
			WHERE session_id = $1`, v.session.ID)
			if want := 30 * (1 + atOnce); days != want {
				t.Errorf("the purchase lasts %d days, want %d", days, want)
			}
			for _, n := range nodes {
				r.mustRead(v, n)
			}
		}
	})
}

// clone is another tab, with the same cookies from now on apart.
func (v *visitor) clone() *visitor {
	other := newVisitor()
	address, _ := url.Parse(origin + paid)
	cookies := v.jar.Cookies(address)
	for _, cookie := range cookies {
		cookie.Path = "/"
	}
	other.jar.SetCookies(address, cookies)
	return other
}

// W6: one webhook that arrives 64 times is one payment.
func TestW6NodesCountAPaymentOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		for range inForm(1, 10) {
			v := newVisitor()
			r.begin(nodes[0], v)
			before := r.rows()
			body := completed(v.session)
			counts := race(t, nodes, func(ctx context.Context, n *node, _ int) (answer, error) {
				status, err := deliver(ctx, n, body, secret)
				return answer{status: status}, err
			})
			if counts[http.StatusOK] != atOnce {
				t.Errorf("the webhooks are answered %v", counts)
			}
			after := r.rows()
			for _, table := range []string{"payments", "purchases"} {
				if added := after[table] - before[table]; added != 1 {
					t.Errorf("%d rows more in %s, want 1", added, table)
				}
			}
			r.mustRead(v, nodes[1])
		}
	})
}

// W7: a payment comes to one node while its refund comes to the other. Whichever is first, the purchase is closed.
func TestW7NodesSeeARefundOfTheSameMoment(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		for range inForm(1, 10) {
			visitors := crowd()
			r.begin(nodes[0], visitors[:atOnce/2]...)
			counts := race(t, nodes, func(ctx context.Context, n *node, i int) (answer, error) {
				body := completed(visitors[i/2].session)
				if i%2 == 1 {
					body = event("payment.refunded", visitors[i/2].session)
				}
				status, err := deliver(ctx, n, body, secret)
				return answer{status: status}, err
			})
			if counts[http.StatusOK] != atOnce {
				t.Errorf("the webhooks are answered %v", counts)
			}
			for i, v := range visitors[:atOnce/2] {
				if status := r.statusOf(v.session); status != "refunded" {
					t.Errorf("payment %d is %q", i, status)
				}
				if open, err := v.reads(t.Context(), nodes[i%2]); err != nil || open {
					t.Errorf("payment %d opens the gate (%v)", i, err)
				}
			}
		}
	})
}

// W7: the order of a purchase's events changes nothing, whichever node each one comes to.
func TestW7EveryOrderOnTwoNodes(t *testing.T) {
	onBoth(t, func(t *testing.T, on driver) {
		r, nodes := twoNodes(t, on, options{})
		for _, class := range []struct{ events, status string }{
			{"payment.completed payment.disputed payment.dispute_won", "active"},
			{"payment.completed payment.disputed", "disputed"},
			{"payment.completed payment.disputed payment.dispute_lost", "refunded"},
			{"payment.completed payment.refunded payment.disputed payment.dispute_won", "refunded"},
		} {
			names := strings.Fields(class.events)
			orders := permutations(names)
			for range inForm(1, 8) {
				visitors := make([]*visitor, len(orders))
				for i := range visitors {
					visitors[i] = newVisitor()
				}
				r.begin(nodes[0], visitors...)
				must(t, each(t.Context(), 8, len(orders), func(ctx context.Context, i int) error {
					for k, name := range orders[i] {
						body := completed(visitors[i].session)
						if name != "payment.completed" {
							body = event(name, visitors[i].session)
						}
						for range 1 + k%2 { // every other one twice
							if status, err := deliver(ctx, nodes[(i+k)%2], body, secret); err != nil || status != http.StatusOK {
								return fmt.Errorf("%s is answered %d %w", name, status, err)
							}
						}
					}
					return nil
				}))
				for i, v := range visitors {
					if status := r.statusOf(v.session); status != class.status {
						t.Errorf("%v: the purchase is %s, want %s", orders[i], status, class.status)
					}
					for _, n := range nodes {
						if open, err := v.reads(t.Context(), n); err != nil || open != (class.status == "active") {
							t.Errorf("%v: node %s is open: %t (%v)", orders[i], n.name, open, err)
						}
					}
				}
			}
		}
	})
}

func permutations(items []string) [][]string {
	if len(items) <= 1 {
		return [][]string{items}
	}
	var all [][]string
	for i := range items {
		rest := append(append([]string{}, items[:i]...), items[i+1:]...)
		for _, tail := range permutations(rest) {
			all = append(all, append([]string{items[i]}, tail...))
		}
	}
	return all
}
