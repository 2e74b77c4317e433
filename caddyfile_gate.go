package paywall

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/option"
)

// routesParser parses a block of directives.
type routesParser func(caddyfile.Segment) (json.RawMessage, error)

// parseGate gives the matcher to the gate itself, which also applies it to other readings of the path.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	matcherName := ""
	if ahead := *h.Dispenser; ahead.Next() && ahead.NextArg() {
		matcherName = ahead.Val()
	}
	matchers, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	handler := new(Handler)
	if matchers != nil {
		handler.MatchersRaw = caddyhttp.RawMatcherSets{matchers}
	}
	if err := handler.parse(h.Dispenser, func(segment caddyfile.Segment) (json.RawMessage, error) {
		routes, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(caddyfile.NewDispenser(segment)))
		if err != nil {
			return nil, err
		}
		return caddyconfig.JSONModuleObject(routes, "handler", "subroute", nil), nil
	}); err != nil {
		return nil, err
	}
	if handler.Pass == "" && handler.sellsItself() && matchers != nil {
		handler.Pass = matcherName
		if err := gate.CheckProductName(handler.Pass); err != nil {
			h.Reset()
			h.Next()
			return nil, h.Errf("the matcher cannot be the name of the pass (%v): add `pass NAME`", err)
		}
	}
	return newRoute(h, nil, handler), nil
}

// UnmarshalCaddyfile reads the directive axra_paywall. docs/caddyfile.md has its syntax.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return h.parse(d, nil) }

func (h *Handler) parse(d *caddyfile.Dispenser, routes routesParser) error {
	if err := readDirective(d, "/premium/*", "", h.options(routes)); err != nil {
		return err
	}
	if !h.sellsItself() {
		return nil
	}
	if _, err := h.ownProduct(); err != nil {
		d.Reset() // the error names the line of the directive
		d.Next()
		return d.Errf("axra_paywall: %v", err)
	}
	return nil
}

func (h *Handler) options(routes routesParser) []option.Option {
	return append(productOptions(&h.ProductConfig), []option.Option{
		option.Text("pass", &h.Pass, gate.CheckProductName),
		option.List("passes", &h.Passes, "day month", gate.CheckProductName),
		{Name: "offer", Read: func(d *caddyfile.Dispenser) error {
			if h.OfferPage == nil {
				h.OfferPage = new(checkout.OfferPage)
			}
			return option.ReadBlock(d, "offer", "", offerPageOptions(h.OfferPage))
		}},
		{Name: "teaser", Read: func(d *caddyfile.Dispenser) error { return h.readTeaser(d, routes) }},
		option.Args("preview", h.readPreview),
		option.Args("request_headers", func(args []string) error {
			h.RequestHeaders = cmp.Or(strings.Join(args, " "), admission.DefaultRequestHeaders)
			return admission.RequestHeaders(h.RequestHeaders).Check()
		}),
		option.Flag("receipt", &h.Receipt),
		option.OneOf("claim", &h.Claim, claimFirst),
		option.Args("links", h.readLinks),
		option.Duration("expires_in", &h.ExpiresIn, checkExpiresIn),
		option.Text("customer_email", &h.CustomerEmail),
		option.ArgsN("metadata", 2, "metadata takes a key and a value: write `metadata article {path}`", func(args []string) error {
			if h.Metadata == nil {
				h.Metadata = make(map[string]string)
			}
			h.Metadata[args[0]] = args[1]
			return checkMetadataKey(args[0])
		}),
		option.Text("cancel_url", &h.CancelURL, checkCancelURL),
		option.Address("site_url", &h.SiteURL, false),
	}...)
}

func offerPageOptions(p *checkout.OfferPage) []option.Option {
	return []option.Option{option.Text("title", &p.Title), option.Text("text", &p.Text), option.Text("template", &p.Template)}
}

func (h *Handler) readTeaser(d *caddyfile.Dispenser, routes routesParser) error {
	if h.Teaser != nil {
		return d.Err("teaser is given twice: keep one")
	}
	teaser := new(checkout.Teaser)
	h.Teaser = teaser
	for d.NextArg() {
		switch {
		case d.Val() == "index":
			teaser.Index = true
		case teaser.URI == "":
			teaser.URI = d.Val()
			if err := checkout.CheckTeaserURI(teaser.URI); err != nil {
				return d.WrapErr(err)
			}
		default:
			return d.Errf("teaser takes one path, and `index` after it, not %q", d.Val())
		}
	}
	begin, segment := *d, d.NextSegment()
	hasBlock := len(segment) > 1
	switch {
	case hasBlock && teaser.URI != "":
		return begin.Err("teaser takes a path or a block of directives, not both")
	case teaser.URI != "":
		return nil
	case !hasBlock || routes == nil:
		return begin.Err("teaser needs a path or a block of directives: write `teaser /teaser.html`")
	case slices.ContainsFunc(segment, func(t caddyfile.Token) bool { return t.Text == "axra_paywall" }):
		return begin.Err("visitors who have not paid see the teaser: remove axra_paywall from it")
	}
	var err error
	teaser.HandlerRaw, err = routes(segment)
	return err
}

func (h *Handler) readPreview(args []string) error {
	if h.Preview != nil || len(args) != 3 || args[1] != "per" {
		return checkout.ErrPreviewSyntax
	}
	pages, pagesErr := strconv.Atoi(args[0])
	per, perErr := caddy.ParseDuration(args[2])
	if pagesErr != nil || perErr != nil {
		return checkout.ErrPreviewSyntax
	}
	h.Preview = &checkout.Preview{Pages: pages, Per: caddy.Duration(per)}
	return h.Preview.Check()
}

func (h *Handler) readLinks(args []string) error {
	if h.Links != nil || len(args) > 1 {
		return checkout.ErrLinksSyntax
	}
	h.Links = new(checkout.Links)
	if len(args) == 1 {
		length, err := caddy.ParseDuration(args[0])
		if err != nil || length <= 0 {
			return checkout.ErrLinksSyntax
		}
		h.Links.For = caddy.Duration(length)
	}
	return h.Links.Check()
}
