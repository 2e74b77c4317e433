package contract

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// program buys over HTTP. Whatever it sends and gets is held to the description.
type program struct {
	*exampletest.Example
	t      *testing.T
	client *http.Client
	seen   map[string]bool // "GET 200"
}

func newProgram(t *testing.T) *program {
	t.Helper()
	return &program{
		Example: exampletest.Start(t, binary), t: t,
		client: &http.Client{
			Timeout:       10 * time.Second,
			Transport:     checking{t: t, description: readDescription(t)},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		seen: map[string]bool{},
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request. Headers are pairs; a target without a host is the site's.
func (p *program) do(method, target string, headers ...string) answer {
	p.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = p.Site + target
	}
	request, err := http.NewRequestWithContext(p.t.Context(), method, target, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := p.client.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.seen[method+" "+response.Status[:3]] = true
	return answer{response.StatusCode, response.Header, string(body)}
}

func (p *program) get(target string, headers ...string) answer {
	p.t.Helper()
	return p.do(http.MethodGet, target, headers...)
}

func (p *program) want(a answer, status int) answer {
	p.t.Helper()
	if a.status != status {
		p.t.Fatalf("want %d, got %d\n%.1000s", status, a.status, a.body)
	}
	return a
}

// wantPaid expects the very bytes of the site's file.
func (p *program) wantPaid(a answer, path string) {
	p.t.Helper()
	p.want(a, http.StatusOK)
	if a.body != p.File(path) {
		p.t.Fatalf("%s is not what was paid for:\n%.1000s", path, a.body)
	}
}

func (p *program) decode(a answer, into any) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		p.t.Fatalf("%v\n%.1000s", err, a.body)
	}
}

// forSale is what a program learns from a 402.
type forSale struct {
	Pass, Currency, Checkout, StatusURL string
	Amount                              json.Number
	Access                              int64
	Passes                              []forSale
}

func (p *program) ask(path string) forSale {
	p.t.Helper()
	var found forSale
	p.decode(p.want(p.get(path), http.StatusPaymentRequired), &found)
	return found
}

// checkout is an open checkout.
type checkout struct {
	Session, CheckoutURL, Pass, Currency, StatusURL, StatusToken string
	Amount                                                       json.Number
}

func (p *program) start(address string) checkout {
	p.t.Helper()
	var started checkout
	p.decode(p.want(p.do(http.MethodPost, address), http.StatusCreated), &started)
	return started
}

// status is how a checkout stands.
type status struct {
	State, AccessToken string
	ExpiresAt          time.Time
	Until              *time.Time
}

func (p *program) status(c checkout) status {
	p.t.Helper()
	var found status
	p.decode(p.want(p.get(c.StatusURL, "Authorization", "Bearer "+c.StatusToken), http.StatusOK), &found)
	return found
}

// await asks until the checkout has come to a state.
func (p *program) await(c checkout, state string) status {
	p.t.Helper()
	var found status
	exampletest.Eventually(p.t, "the checkout is "+state, func() bool {
		found = p.status(c)
		return found.State == state
	})
	return found
}

// pay pays through the sandbox's control and returns the payment's id.
func (p *program) pay(c checkout, card string) string {
	p.t.Helper()
	var paid struct{ PaymentID string }
	if err := json.Unmarshal(p.Control("sessions/"+c.Session+"/pay", `{"card":"`+card+`"}`), &paid); err != nil {
		p.t.Fatal(err)
	}
	return paid.PaymentID
}

// buy goes the whole way and returns the header that opens the resource.
func (p *program) buy(path string) (bearer string, c checkout) {
	p.t.Helper()
	c = p.start(p.ask(path).Checkout)
	p.pay(c, cardGood)
	return "Bearer " + p.await(c, "paid").AccessToken, c
}

// paymentOf asks the sandbox for the id of the payment that succeeded.
func (p *program) paymentOf(c checkout) string {
	p.t.Helper()
	var list struct {
		Payments []struct{ PaymentID, SessionID, Status string }
	}
	p.State("payments", &list)
	for _, payment := range list.Payments {
		if payment.SessionID == c.Session && payment.Status == "completed" {
			return payment.PaymentID
		}
	}
	p.t.Fatalf("no payment of %s in %+v", c.Session, list)
	return ""
}
