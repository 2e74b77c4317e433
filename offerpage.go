package paywall

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
)

// OfferPage is what a visitor who has not paid sees before the checkout, with
// status 402.
type OfferPage struct {
	// Title is the heading, in place of the built-in one. Placeholders are replaced.
	Title string `json:"title,omitempty"`

	// Text says what is sold, in place of the built-in sentence. Placeholders are
	// replaced.
	Text string `json:"text,omitempty"`

	// Template is a file with a page of your own, in Go's html/template, read when
	// the configuration is loaded. It sees Title, Text, Site, Address, Language and
	// Passes, each of which has Name, Description, Price (`5.00 USD`), Amount,
	// Currency, Access (`30 days`) and Checkout, the address of its checkout.
	Template string `json:"template,omitempty"`

	template *template.Template
}

// read checks the configuration and reads the template, for so many passes.
func (p *OfferPage) read(passes int) error {
	if p == nil {
		return nil
	}
	if p.Template == "" {
		return nil
	}
	file, err := caddy.NewReplacer().ReplaceOrErr(p.Template, true, true)
	if err != nil {
		return fmt.Errorf("offer: template %s: %w", p.Template, err)
	}
	source, err := os.ReadFile(file) //nolint:gosec // the owner names it
	if err != nil {
		return fmt.Errorf("offer: template: %w: give the path of a file that Caddy can read, relative to where it is started or absolute", err)
	}
	if p.template, err = template.New(filepath.Base(file)).Parse(string(source)); err != nil {
		return fmt.Errorf("offer: template: %w: correct the template", err)
	}
	// A field that does not exist is better found now than by a visitor.
	trial := OfferData{Site: "example.com", Address: "/", Language: "en"}
	for range passes {
		trial.Passes = append(trial.Passes, OfferedPass{
			Name: "pass", Description: "a pass", Price: "5.00 USD", Amount: "5.00", Currency: "usd", Access: "30 days", Checkout: "/?axra_checkout=pass",
		})
	}
	if err := p.template.Execute(new(bytes.Buffer), trial); err != nil {
		return fmt.Errorf("offer: template: %w: correct the template", err)
	}
	return nil
}

// OfferData is what the owner's own template sees.
type OfferData struct {
	Title, Text string // as configured, placeholders replaced
	Site        string // the host name, as visitors know it
	Address     string // path and query of the wanted page
	Language    string // of the built-in texts that suit the visitor best, such as "en"
	Passes      []OfferedPass
}

// OfferedPass is one pass on sale.
type OfferedPass struct {
	Name        string
	Description string // may be empty
	Price       string // "5.00 USD"
	Amount      string // "5.00"
	Currency    string // "usd"
	Access      string // in words: "30 days"
	Checkout    string // address that leads to the checkout: a path of this site
}

// choosing reports whether a page is shown before the checkout.
func (v *visit) choosing(offers []offered) bool {
	return len(offers) > 1 || v.OfferPage != nil && len(offers) > 0
}

// showOffers shows what is on sale.
func (v *visit) showOffers(offers []offered, how mode) error {
	conf := v.OfferPage
	if conf == nil {
		conf = new(OfferPage)
	}
	if conf.template != nil {
		return v.ownPage(conf, offers, how)
	}
	view := page.View{Kind: page.Offer, Sale: page.Sale{Title: replaced(v.r, conf.Title), Text: replaced(v.r, conf.Text)}}
	for _, o := range offers {
		view.Offers = append(view.Offers, page.Quote{
			Name: o.pass, Description: o.description, Price: o.price.String(),
			Access: o.access.Length(), ThisOnly: o.PerPath && o.Key == "", Fetches: o.Downloads,
			URL: v.checkoutAddress(o, how),
		})
	}
	return v.showView(view)
}

// checkoutAddress leads to the checkout of an offer, and from there back to the
// wanted page.
func (v *visit) checkoutAddress(o offered, how mode) string {
	params := []string{urlpath.ParamCheckout, o.pass}
	if how == anew {
		params = append(params, urlpath.ParamRestart, "1")
	}
	if v.extends != nil {
		params = append(params, urlpath.ParamExtend, "1")
	}
	return urlpath.WithParams(v.target, params...)
}

// ownPage writes the owner's template.
func (v *visit) ownPage(conf *OfferPage, offers []offered, how mode) error {
	accept := v.r.Header.Get("Accept-Language")
	data := OfferData{
		Title: replaced(v.r, conf.Title), Text: replaced(v.r, conf.Text),
		Site: v.site.host(), Address: v.target, Language: page.Language(accept),
	}
	for _, o := range offers {
		data.Passes = append(data.Passes, OfferedPass{
			Name: o.pass, Description: o.description, Price: o.price.String(), Amount: o.price.Digits(), Currency: o.price.Currency,
			Access: page.AccessInWords(accept, o.access.Length()), Checkout: v.checkoutAddress(o, how),
		})
	}
	var body bytes.Buffer
	if err := conf.template.Execute(&body, data); err != nil {
		return v.misconfigured(fmt.Errorf("offer: template: %w", err))
	}
	v.offerHeaders()
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	v.w.WriteHeader(http.StatusPaymentRequired)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(body.Bytes()) // the visitor may be gone
	}
	return nil
}

func (v *visit) offerHeaders() {
	noStore(v.w.Header())
	addVary(v.w.Header(), "Accept-Language")
	v.w.Header().Set("X-Content-Type-Options", "nosniff")
	v.w.Header().Set("X-Robots-Tag", "noindex")
}

// inAttribute escapes what would end an attribute of HTML: owners write these addresses
// into pages.
var inAttribute = strings.NewReplacer("'", "%27", `"`, "%22", "<", "%3C", ">", "%3E")

// tellOffers sets the placeholders of what is on sale.
func (v *visit) tellOffers(offers []offered) {
	if replacer, ok := v.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		names := make([]string, 0, len(offers))
		for _, o := range offers {
			names = append(names, o.pass)
			for name, value := range map[string]string{
				"price": o.price.String(), "amount": o.price.Digits(), "currency": o.price.Currency,
				"description": o.description, "access": accessText(o.Access), "checkout": inAttribute.Replace(v.checkoutAddress(o, again)),
			} {
				replacer.Set("http.axra.offer."+o.pass+"."+name, value)
			}
		}
		replacer.Set("http.axra.offer.passes", strings.Join(names, " "))
	}
}

func accessText(configured string) string {
	if configured == "" {
		return "forever"
	}
	return configured
}
