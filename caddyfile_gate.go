package paywall

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/option"
)

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
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
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

// UnmarshalCaddyfile reads the directive axra_paywall. docs/reference.md has its syntax.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := readDirective(d, "/premium/*", "", h.options()); err != nil {
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

func (h *Handler) options() []option.Option {
	return append(productOptions(&h.ProductConfig), []option.Option{
		option.Text("pass", &h.Pass, gate.CheckProductName),
		option.List("passes", &h.Passes, "day month", gate.CheckProductName),
		{Name: "offer", Read: func(d *caddyfile.Dispenser) error {
			if h.OfferPage == nil {
				h.OfferPage = new(checkout.OfferPage)
			}
			return option.ReadBlock(d, "offer", "", offerPageOptions(h.OfferPage))
		}},
		option.Args("teaser", h.readTeaser),
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

func (h *Handler) readTeaser(args []string) error {
	isIndexed := len(args) == 2 && args[1] == "index"
	if h.Teaser != nil || len(args) != 1 && !isIndexed {
		return errors.New("teaser is written once, with one path, and `index` after it: write `teaser /teaser.html`")
	}
	h.Teaser = &checkout.Teaser{URI: args[0], Index: isIndexed}
	return h.Teaser.Check()
}

func (h *Handler) readPreview(args []string) error {
	if h.Preview != nil || len(args) != 3 || args[1] != "per" {
		return checkout.ErrPreviewSyntax
	}
	pages, _ := strconv.Atoi(args[0]) // zero is rejected
	per, _ := caddy.ParseDuration(args[2])
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
