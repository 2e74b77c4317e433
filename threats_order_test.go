package paywall_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// G12: what a client claims to be is replaced by what is so.
func TestG12IdentityHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		rw.Write([]byte(marker)) //nolint:errcheck // a test server
	}))
	defer upstream.Close()
	config := strings.Replace(strings.Replace(gateBefore, "GATE", "/paid/*", 1), "UPSTREAM", "reverse_proxy "+upstream.URL+
		" {\n\t\theader_up X-Paid {http.axra.paid}\n\t\theader_up X-Paid-Pass {http.axra.pass}\n\t\theader_up X-Paid-Purchase {http.axra.purchase}\n\t}", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	claims := navigation.Clone()
	claims.Set("X-Paid", "true")
	claims.Set("X-Paid-Pass", "/paid/*")
	claims.Set("X-Paid-Purchase", "cs_other")
	v.do(http.MethodGet, "/free", claims, nil)
	if got := <-seen; got.Get("X-Paid") != "false" || got.Get("X-Paid-Pass") != "" || got.Get("X-Paid-Purchase") != "" {
		t.Errorf("on a free page: %q %q %q", got.Get("X-Paid"), got.Get("X-Paid-Pass"), got.Get("X-Paid-Purchase"))
	}
	back := v.pay(v.browse("/paid/a"), cardGood)
	w.delivered()
	v.open(back.location())
	v.do(http.MethodGet, "/paid/a", claims, nil)
	if got := <-seen; got.Get("X-Paid") != "true" || got.Get("X-Paid-Purchase") != ledger.PurchaseID(w.lastPayment().SessionID) {
		t.Errorf("on a paid page: %q %q", got.Get("X-Paid"), got.Get("X-Paid-Purchase"))
	}
}

// W10: an event about a session of ours that this process has never seen.
func TestW10SessionThatThisNodeNeverSaw(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	w.restart()
	body := encode(t, event)
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
		t.Errorf("answers %d", answer.status)
	}
	v.browse("/premium/article.html").wantPaid(t)
}

var everyOrder = flag.Bool("every-order", false, "let TestW7EveryOrder try every order of events")

// W7: the order of events changes nothing. Each class of events has one final
// state (docs/architecture.md, "What opens and closes a gate").
func TestW7EveryOrder(t *testing.T) {
	const isOpen, refunded, disputed, shut = "open", "This payment was refunded", "This payment is in dispute", "shut"
	every := 24 // orders of each class, evenly spread
	if *everyOrder {
		every = 1 << 20
	}
	for _, class := range []struct {
		events string
		want   string
	}{
		{"payment.completed payment.settled", isOpen},
		{"payment.completed payment.settled payment.disputed payment.dispute_won", isOpen},
		{"payment.completed payment.settled payment.disputed", disputed},
		{"payment.completed payment.disputed payment.dispute_lost", refunded},
		{"payment.completed payment.settled payment.refunded", refunded},
		{"payment.settled payment.disputed payment.dispute_won", shut},
		{"payment.completed payment.settled payment.refunded payment.disputed payment.dispute_won payment.dispute_lost", refunded},
	} {
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "endpoint       ENDPOINT", "endpoint ENDPOINT\n\t\tlimit_per_client 5000 1m\n\t\tlimit_total 5000 1m", 1)})
		orders := permutations(strings.Fields(class.events))
		step := max(1, len(orders)/every)
		for i := 0; i < len(orders); i += step {
			v := w.visitor()
			_, completed := v.started("/premium/article.html")
			payment := completed["data"].(map[string]any)["paymentId"]
			for n, name := range orders[i] {
				event := map[string]any{"event": name, "timestamp": w.now().UTC().Format(time.RFC3339), "data": map[string]any{"paymentId": payment}}
				if name == "payment.completed" {
					event = completed
				}
				body := encode(t, event)
				for range 1 + n%2 { // every other one twice
					if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
						t.Fatalf("%s answers %d", name, answer.status)
					}
				}
			}
			answer := v.open("/premium/article.html")
			what := fmt.Sprintf("%v: %d %.0s", orders[i], answer.status, answer.body)
			switch class.want {
			case isOpen:
				if answer.status != http.StatusSeeOther || answer.location() != "/premium/article.html" {
					t.Errorf("%s: not open", what)
				}
			case shut:
				if answer.status == http.StatusOK || answer.location() == "/premium/article.html" {
					t.Errorf("%s: open", what)
				}
			default:
				if answer.status != http.StatusPaymentRequired || !strings.Contains(answer.body, class.want) {
					t.Errorf("%s: want %q", what, class.want)
				}
			}
		}
		w.stop()
	}
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
