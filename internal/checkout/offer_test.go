package checkout_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
)

func template(t *testing.T, source string) *checkout.OfferPage {
	t.Helper()
	file := filepath.Join(t.TempDir(), "offer.html")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return &checkout.OfferPage{Title: "The {http.request.uri.path}", Template: file}
}

func TestAnOfferPageOfTheOwners(t *testing.T) {
	t.Parallel()
	config := newGateConfig("/premium/*", []product{sold("a", "1.00"), sold("b", "2.00")})
	config.flow.OfferPage = template(t, `{{.Title}} of {{.Site}}:{{range .Passes}} <a href="{{.Checkout}}">{{.Name}} {{.Price}} for {{.Access}}</a>{{end}}`)
	s := newShop(t, config)
	v := s.visitor()
	offer := v.open(article + "?x=1")
	offer.wantPage(http.StatusPaymentRequired, "The "+article+" of shop.example:")
	v.buy(link(t, offer, "b 2.00 USD for 30 days")).wantPaid()
	v.open(receiptPage).wantPage(http.StatusOK, "2.00 USD")
}

func TestWhatIsNotOnSale(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*gate.ProductConfig)
		status int
		phrase string
	}{
		"retired":  {func(p *gate.ProductConfig) { p.Retired = true }, http.StatusPaymentRequired, "shop.example"},
		"no price": {func(p *gate.ProductConfig) { p.Price.Amount = "{http.request.uri.query.price}" }, http.StatusInternalServerError, "Nothing was charged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member(with(test.change)))
			s.visitor().open(article).wantPage(test.status, test.phrase)
			s.program().do(http.MethodPost, article+"?axra_checkout=member", nil).wantRefused(test.status)
			s.wantCreated(0)
		})
	}
}

// FB2: another spelling of what is looked up by its path is redirected before anything is sold.
func TestFB2AnotherSpellingIsNotSold(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(keyed))
	for _, target := range []string{"/premium//a/x.html", "/premium/a/x.html/"} {
		s.visitor().open(target).wantRedirect("/premium/a/x.html")
	}
	s.wantCreated(0)
}

func TestATeaserAndATemplateAreChecked(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"is not a path":         (&checkout.Teaser{URI: "https://shop.example/teaser"}).Check(),
		"is not a path ":        (&checkout.Teaser{}).Check(),
		"only the path":         (&checkout.Teaser{URI: "/{http.request.uri.path}/{http.request.uri.query.lang}.html"}).Check(),
		"only the path ":        (&checkout.Teaser{URI: "{http.request.header.X}"}).Check(),
		"offer: template {":     (&checkout.OfferPage{Template: "{nothing}"}).Provision(1),
		"correct the template":  template(t, "{{.Nothing}}").Provision(1),
		"correct the template ": template(t, "{{range .Passes}}{{.Nothing}}{{end}}").Provision(1),
		"unclosed action":       template(t, "{{").Provision(1),
	} {
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	if err := (&checkout.Teaser{URI: "{path}"}).Check(); err != nil {
		t.Error(err)
	}
}

func TestAnOpenCheckoutOfAnotherPriceIsNotReused(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v := s.visitor()
	old := v.start(article)
	s.configure(newGateConfig("/premium/*", []product{sold("member", "9.00")}))
	if id := v.start(article); id == old || s.axra.order(id).Terms.Price.String() != "9.00 USD" {
		t.Errorf("sold for %s", s.axra.order(id).Terms.Price)
	}
	v.browse(s.pay(old)).wantPaid() // what was asked is honoured
}
