package sitetest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-axra/paywall/internal/pagetest"
)

// Visitor is a person with a browser.
type Visitor struct {
	w      *World
	Client *http.Client
}

// Visitor returns somebody who has never been here.
func (w *World) Visitor() *Visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	return &Visitor{w: w, Client: &http.Client{
		Jar:       browserJar{jar},
		Transport: w.transport,
		Timeout:   20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Do sends a request, whose target may be a path of the site, and follows no redirect.
func (v *Visitor) Do(method, target string, header http.Header, body io.Reader) Reply {
	v.w.T.Helper()
	if strings.HasPrefix(target, "/") {
		target = v.w.Site + target
	}
	request, err := http.NewRequestWithContext(v.w.T.Context(), method, target, body)
	if err != nil {
		v.w.T.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := v.Client.Do(request)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// A connection that a restarted Caddy had just closed: once more, as browsers do.
		if request.GetBody != nil {
			if request.Body, err = request.GetBody(); err != nil {
				v.w.T.Fatal(err)
			}
		}
		response, err = v.Client.Do(request)
	}
	if err != nil {
		v.w.T.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		v.w.T.Fatal(err)
	}
	return Reply{response.StatusCode, response.Header, string(content), response.Request.URL}
}

// Navigation is the header of a person who opens a page.
var Navigation = http.Header{
	"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	"Sec-Fetch-Mode": {"navigate"},
	"Sec-Fetch-Dest": {"document"},
	"User-Agent":     {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
}

// Open navigates to a page without following redirects.
func (v *Visitor) Open(target string) Reply {
	v.w.T.Helper()
	return v.Do(http.MethodGet, target, Navigation, nil)
}

// Browse navigates to a page and follows redirects, as a browser does.
func (v *Visitor) Browse(target string) Reply {
	v.w.T.Helper()
	for range 10 {
		answer := v.Open(target)
		if answer.Location() == "" {
			return answer
		}
		target = answer.Next()
	}
	v.w.T.Fatalf("too many redirects, the last to %s", target)
	return Reply{}
}

// Submit fills in the form whose button is labelled so, and sends it.
func (v *Visitor) Submit(page Reply, button string, fields url.Values) Reply {
	v.w.T.Helper()
	action, values := pagetest.Form(v.w.T, page.Body, button)
	for name, value := range fields {
		values[name] = value
	}
	target, err := page.URL.Parse(action)
	if err != nil {
		v.w.T.Fatal(err)
	}
	header := Navigation.Clone()
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Set("Origin", page.URL.Scheme+"://"+page.URL.Host)
	return v.Do(http.MethodPost, target.String(), header, strings.NewReader(values.Encode()))
}

// Pay pays on the checkout page and returns the way back to the site.
func (v *Visitor) Pay(checkout Reply) Reply {
	v.w.T.Helper()
	return v.PayWith(checkout, cardGood)
}

// PayWith fills in the checkout page with a card and returns what comes then.
func (v *Visitor) PayWith(checkout Reply, card string) Reply {
	v.w.T.Helper()
	return v.Submit(checkout, "Pay ", url.Values{"number": {card}, "expiry": {"12/39"}, "cvv": {"123"}})
}

// Buy goes the whole way for a page and returns what the visitor sees in the end.
func (v *Visitor) Buy(target string) Reply {
	v.w.T.Helper()
	back := v.Pay(v.Browse(target))
	v.w.Delivered()
	return v.Browse(back.Location())
}

// BuyPass goes from the offer page through the checkout.
func (v *Visitor) BuyPass(target, pass string) Reply {
	v.w.T.Helper()
	return v.Buy(target + "?axra_checkout=" + url.QueryEscape(pass))
}

// OpenOnDevice opens a device link as a person does: by the button of its page.
func (v *Visitor) OpenOnDevice(address string) Reply {
	v.w.T.Helper()
	page := v.Open(address)
	page.WantPage(v.w.T, http.StatusOK, "on this device?")
	answer := v.Submit(page, "Open on this device", nil)
	if answer.Location() == "" {
		return answer
	}
	return v.Browse(answer.Next())
}

// PrivateAddress is that of a page, from its receipt.
func (v *Visitor) PrivateAddress(target string) string {
	v.w.T.Helper()
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	receipt := v.Open(target + separator + "axra_receipt")
	address := ""
	for node := range pagetest.Nodes(v.w.T, receipt.Body) {
		if node.Data == "input" && strings.Contains(pagetest.Attribute(node, "value"), "axra_link=") {
			address = pagetest.Attribute(node, "value")
		}
	}
	if address == "" {
		v.w.T.Fatalf("no private address on the receipt:\n%s", receipt.Body)
	}
	return address
}

// Poll is what the waiting page asks.
func (v *Visitor) Poll(target string) string {
	v.w.T.Helper()
	answer := v.Do(http.MethodGet, target, http.Header{
		"Accept": {"application/json"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"},
	}, nil)
	var state struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &state); err != nil {
		v.w.T.Fatalf("poll: %d %s", answer.Status, answer.Body)
	}
	return state.State
}
