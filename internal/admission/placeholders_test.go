package admission

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/access/accesstest"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/token"
)

func TestThePlaceholdersTellWhoHasPaid(t *testing.T) {
	t.Parallel()
	const text = "{http.axra.paid}|{http.axra.pass}|{http.axra.purchase}|{http.axra.until}|{http.axra.user}|{http.auth.user.id}|{http.axra.other}"
	const none = "false|||||{http.auth.user.id}|{http.axra.other}"
	day := &access.Token{Access: token.Access{Pass: "day", Purchase: "1", Until: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}}
	gold := &access.Token{Access: token.Access{Pass: "gold", Purchase: "2"}}
	const ofDay = "true|day|1|2026-06-01T12:00:00Z|axra-6b86b273ff34fce1|axra-6b86b273ff34fce1|{http.axra.other}"
	const ofGold = "true|gold|2||axra-d4735e3a265e16ee|axra-d4735e3a265e16ee|{http.axra.other}"
	for name, test := range map[string]struct {
		gates []*access.Token // by which the gates on the way admit; nil: the gate does not cover the request
		want  string
	}{
		"outside a gate":               {[]*access.Token{nil}, none},
		"outside two gates":            {[]*access.Token{nil, nil}, none},
		"behind a gate":                {[]*access.Token{day}, ofDay},
		"behind a gate and a free one": {[]*access.Token{day, nil}, ofDay},
		"behind a free one and a gate": {[]*access.Token{nil, day}, ofDay},
		"behind two gates":             {[]*access.Token{day, gold}, ofGold},
		"without a gate":               {nil, text},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request("/")
			var last *access.Token
			for _, token := range test.gates {
				SetToken(r, token)
				if token != nil {
					last = token
				}
			}
			if got := replaced(r, text); got != test.want || TokenOf(r) != last {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestAnAuthenticationHandlerNamesTheUserFirst(t *testing.T) {
	t.Parallel()
	r := request("/")
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set("http.auth.user.id", "reader")
	SetToken(r, &access.Token{Access: token.Access{Purchase: "1"}})
	if got := replaced(r, "{http.auth.user.id}"); got != "reader" {
		t.Errorf("the user is %s", got)
	}
}

func TestPlaceholdersOfPrivateAddresses(t *testing.T) {
	t.Parallel()
	var err error
	logged := 0
	links := &Admission{
		PrivateAddress: func(site *gate.Site, token *access.Token, target string) (string, error) {
			if err != nil {
				return "", err
			}
			return site.Origin + target + "#" + token.Purchase, nil
		},
		LogLimited: func(string, ...zap.Field) { logged++ },
	}
	r := request("/")
	links.addLinks(r, gate.NewSite(accesstest.Site), &access.Token{Access: token.Access{Purchase: "1"}})
	for placeholder, want := range map[string]string{
		"{http.axra.link./feed/1.mp3}":  "https://example.com/feed/1.mp3#1",
		"{http.axra.link./My File.mp3}": "https://example.com/My%20File.mp3#1",
		"{http.axra.link.feed}":         "{http.axra.link.feed}",
		"{http.axra.pass}":              "{http.axra.pass}",
	} {
		if got := replaced(r, placeholder); got != want {
			t.Errorf("%s is %s, want %s", placeholder, got, want)
		}
	}
	if err = errors.New("no keys"); replaced(r, "{http.axra.link./a}") != "" || logged != 1 {
		t.Errorf("an address that cannot be signed is logged %d times", logged)
	}
	// A request that Caddy has not prepared has no placeholders.
	bare := httptest.NewRequest("GET", "/", nil)
	links.addLinks(bare, nil, nil)
	SetToken(bare, nil)
}
