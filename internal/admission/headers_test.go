package admission

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/token"
)

// G12: what a client claims to be is removed, in every spelling that an application may read.
func TestG12HeadersOfAClientAreStripped(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		headers RequestHeaders
		name    string
		want    bool // it stays
	}{
		{"X-Axra-", "X-Axra-Paid", false},
		{"X-Axra-", "X-Axra-Anything", false},
		{"X-Axra-", "x-axra-paid", false},
		{"X-Axra-", "X_Axra_User", false},
		{"X-Axra-", "x.axra.user", false},
		{"X-Axra-", "X-axra_Session", false},
		{"X-Axra-", "X-Axra-", false},
		{"X-Axra-", "X-Axra", true},
		{"X-Axra-", "X-Axray", true},
		{"X-Axra-", "Not-X-Axra-Paid", true},
		{"X-Other-", "X-Axra-Paid", true},
		{"x_other-", "X-Other-Paid", false},
		{"", "X-Axra-Paid", true},
	} {
		r := request("/", test.name+": forged", "Accept: text/html")
		test.headers.Strip(r)
		if _, stays := r.Header[test.name]; stays != test.want || r.Header.Get("Accept") == "" {
			t.Errorf("%q leaves %v", test.headers, r.Header)
		}
	}
}

// FD4: a client cannot have the proxy behind the gate remove them.
func TestFD4ConnectionDoesNotNameTheHeaders(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"X-Axra-Until, X-Axra-User":               "",
		"keep-alive, x-axra-user ,Upgrade":        "keep-alive,Upgrade",
		"Upgrade":                                 "Upgrade",
		"X_Axra_User, X-Other":                    " X-Other",
		"keep-alive, Upgrade, X-Not-X-Axra-Until": "keep-alive, Upgrade, X-Not-X-Axra-Until",
	} {
		r := request("/", "Connection: "+sent)
		RequestHeaders("X-Axra-").Strip(r)
		if got := r.Header.Get("Connection"); got != want {
			t.Errorf("%q becomes %q, want %q", sent, got, want)
		}
	}
}

func TestG12AGateBehindAnotherKeepsItsHeaders(t *testing.T) {
	t.Parallel()
	outer, inner := RequestHeaders("X-Axra-"), RequestHeaders("X-Other-")
	r := request("/", "X-Axra-User: forged", "X-Other-User: forged")
	outer.Strip(r)
	outer.Set(r, &access.Token{Access: token.Access{Pass: "day", Purchase: "1"}})
	outer.Strip(r)
	inner.Strip(r)
	if r.Header.Get("X-Axra-Pass") != "day" || r.Header.Get("X-Axra-User") != userID("1") || r.Header.Get("X-Other-User") != "" {
		t.Errorf("header %v", r.Header)
	}
}

func TestTheHeadersThatTellWhoHasPaid(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 6, 1, 12, 0, 0, 0, time.FixedZone("", 7200))
	for _, test := range []struct {
		headers RequestHeaders
		granted token.Access
		want    string
	}{
		{"X-Axra-", token.Access{Pass: "day", Purchase: "1", Until: until},
			"X-Axra-Paid=true X-Axra-Pass=day X-Axra-Purchase=1 X-Axra-Until=2026-06-01T10:00:00Z X-Axra-User=axra-6b86b273ff34fce1"},
		{"X-A-", token.Access{Pass: "Tagespaß", Purchase: "1"}, "X-A-Paid=true X-A-Pass=Tagespaß X-A-Purchase=1 X-A-User=axra-6b86b273ff34fce1"},
		{"", token.Access{Pass: "day", Purchase: "1"}, ""},
	} {
		r := request("/")
		test.headers.Set(r, &access.Token{Access: test.granted})
		var got []string
		for name, values := range r.Header {
			got = append(got, name+"="+strings.Join(values, "|"))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestWhatCanBeginTheNamesOfHeaders(t *testing.T) {
	t.Parallel()
	for prefix, isGood := range map[RequestHeaders]bool{"": true, "X-Axra-": true, "A1-": true, "X-Axra": false, "A-": false, "-": false, "X Axra-": false, "X:-": false} {
		if err := prefix.Check(); (err == nil) != isGood {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}
