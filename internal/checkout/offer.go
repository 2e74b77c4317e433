package checkout

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/page"
)

// OfferPage is what a visitor who has not paid sees before the checkout, with status 402.
type OfferPage struct {
	// Title replaces the built-in heading. Placeholders are replaced.
	Title string `json:"title,omitempty"`

	// Text says what is sold, in place of the built-in sentence. Placeholders are replaced.
	Text string `json:"text,omitempty"`

	// Template is a file with a page of your own, in Go's html/template, read when the configuration is loaded. It sees
	// Title, Text, Site, Address, Language and Passes, each of which has Name, Description, Price (`5.00 USD`), Amount,
	// Currency, Access (`30 days`) and Checkout, the address of its checkout.
	Template string `json:"template,omitempty"`

	template *template.Template
}

// Provision reads the template, and tries it with that many passes.
func (p *OfferPage) Provision(passes int) error {
	if p == nil || p.Template == "" {
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
	if err := p.template.Execute(io.Discard, offerData{Passes: make([]offerPass, passes)}); err != nil {
		return fmt.Errorf("offer: template: %w: correct the template", err)
	}
	return nil
}

// offerData is what the owner's own template sees.
type offerData struct {
	Title, Text, Site string
	Address           string // path and query of the requested page
	Language          string // of the built-in texts that suit the visitor best, such as "en"
	Passes            []offerPass
}

// offerPass is one pass for the owner's own texts.
type offerPass struct {
	Name, Description       string
	Price, Amount, Currency string // "5.00 USD", "5.00", "usd"
	Access                  string // in words: "30 days"
	Checkout                string // the address that leads to its checkout: a path of this site
}

// showOffers shows what is on sale.
func (v *Visit) showOffers(quotes []gate.Quote) error {
	config := cmp.Or(v.config.OfferPage, new(OfferPage))
	title, text := gate.Replace(v.r, config.Title), gate.Replace(v.r, config.Text)
	if config.template == nil {
		view := page.View{Kind: page.Offer, OfferPage: page.OfferPage{Title: title, Text: text}}
		for _, quote := range quotes {
			product := quote.Product
			view.Quotes = append(view.Quotes, page.Quote{
				Name: product.Name, Description: quote.Description, Price: quote.Price.String(),
				Access: product.Access.Length(), ThisOnly: product.Config.PerPath && product.Config.Key == "", Fetches: product.Config.Downloads,
				URL: v.checkoutAddress(quote),
			})
		}
		return v.showPage(view)
	}
	data := offerData{
		Title: title, Text: text, Site: v.site.Host(), Address: v.target, Language: page.Language(v.r.Header.Get("Accept-Language")),
		Passes: v.offerPasses(quotes),
	}
	var body bytes.Buffer
	if err := config.template.Execute(&body, data); err != nil {
		return v.showMisconfigured(fmt.Errorf("offer: template: %w", err))
	}
	header := v.w.Header()
	response.NoStore(header)
	header.Add("Vary", "Accept-Language")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Robots-Tag", "noindex")
	header.Set("Content-Type", "text/html; charset=utf-8")
	response.Body(v.w, v.r, http.StatusPaymentRequired, body.Bytes())
	return nil
}

// checkoutAddress leads to the checkout of a quote, and from there back to the requested page.
func (v *Visit) checkoutAddress(quote gate.Quote) string {
	params := []string{urlpath.ParamCheckout, quote.Product.Name}
	if v.restarts() {
		params = append(params, urlpath.ParamRestart, "1")
	}
	if v.has(urlpath.ParamExtend) {
		params = append(params, urlpath.ParamExtend, "1")
	}
	return urlpath.WithParams(v.target, params...)
}

// offerPasses describes quotes for the owner's own texts.
func (v *Visit) offerPasses(quotes []gate.Quote) []offerPass {
	var passes []offerPass
	for _, quote := range quotes {
		passes = append(passes, offerPass{
			Name: quote.Product.Name, Description: quote.Description,
			Price: quote.Price.String(), Amount: quote.Price.Digits(), Currency: quote.Price.Currency,
			Access: v.describeAccess(quote.Product), Checkout: v.checkoutAddress(quote),
		})
	}
	return passes
}

// escapeAttribute escapes what would end an attribute of HTML: owners write these addresses into pages.
var escapeAttribute = strings.NewReplacer("'", "%27", `"`, "%22", "<", "%3C", ">", "%3E")

// setOfferPlaceholders sets the placeholders that describe what is on sale.
func (v *Visit) setOfferPlaceholders(quotes []gate.Quote) {
	var names []string
	for i, pass := range v.offerPasses(quotes) {
		names = append(names, pass.Name)
		for field, value := range map[string]string{
			"price": pass.Price, "amount": pass.Amount, "currency": pass.Currency, "description": pass.Description,
			"access":   cmp.Or(quotes[i].Product.Config.Access, "forever"),
			"checkout": escapeAttribute.Replace(pass.Checkout),
		} {
			replacer(v.r).Set("http.axra.offer."+pass.Name+"."+field, value)
		}
	}
	replacer(v.r).Set("http.axra.offer.passes", strings.Join(names, " "))
}
