package paywall

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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

// gateParser parses the directive of a gate.
type gateParser struct {
	handler *Handler
	routes  routesParser         // nil if blocks of directives cannot be parsed
	listed  *caddyfile.Dispenser // at a `pass` with several names
}

// routesParser parses a block of directives.
type routesParser func(d *caddyfile.Dispenser) (json.RawMessage, error)

// parseGate gives the matcher to the gate itself, which also applies it to other
// readings of the path.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcherName := ""
	if h.NextArg() {
		matcherName = h.Val()
		h.Prev()
	}
	matchers, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	handler := new(Handler)
	if matchers != nil {
		handler.MatchersRaw = caddyhttp.RawMatcherSets{matchers}
	}
	parser := gateParser{handler: handler, routes: func(d *caddyfile.Dispenser) (json.RawMessage, error) {
		handler, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(d.NewFromNextSegment()))
		if err != nil {
			return nil, err
		}
		return caddyconfig.JSONModuleObject(handler, "handler", "subroute", nil), nil
	}}
	if err := parser.parse(h.Dispenser); err != nil {
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
	return newSharedRoute(h, handler), nil
}

// UnmarshalCaddyfile reads the directive:
//
//	axra_paywall [<matcher>] {
//		price          <amount> <currency>
//		pass           <name>
//		description    <text>
//		access         <duration>|forever
//		per_path       [<key>]
//		downloads      <number>
//		devices        <number>
//		retired
//		passes         <name...>
//		offer          {
//			title    <text>
//			text     <text>
//			template <file>
//		}
//		teaser         <uri> [index]
//		teaser         [index] { <directives...> }
//		preview        <pages> per <duration>
//		request_headers [<prefix>]
//		receipt
//		claim          first
//		links          [<duration>]
//		expires_in     <duration>
//		customer_email <text>
//		metadata       <key> <value>
//		cancel_url     <url>|<path>
//		site_url       <url>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	parser := gateParser{handler: h}
	return parser.parse(d)
}

func (p *gateParser) parse(d *caddyfile.Dispenser) error {
	handler := p.handler
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("axra_paywall takes one matcher and a block, not the argument %q: a path begins with a slash, as in `axra_paywall /premium/* {`; "+
			"for several paths write `@paid path /premium/* /members/*` and `axra_paywall @paid {`", d.Val())
	}
	if err := option.ReadBlock(d, "axra_paywall", "", p.options()); err != nil {
		return err
	}
	hasProduct := handler.ProductConfig != gate.ProductConfig{}
	if p.listed != nil && hasProduct {
		return p.listed.Err("pass takes exactly one value beside a price: put a name with spaces in quotes, or write `passes` to name passes of the global option axra")
	}
	if handler.Pass != "" && !hasProduct {
		handler.Passes, handler.Pass = append([]string{handler.Pass}, handler.Passes...), "" // `pass month` without a price names a pass of the app
	}
	if err := handler.checkOwnProduct(); err != nil {
		d.Reset() // the error names the line of the directive
		d.Next()
		if errors.Is(err, gate.ErrNoPrice) {
			return d.Errf("axra_paywall %v", err)
		}
		return d.Errf("axra_paywall: %v", err)
	}
	return nil
}

func (p *gateParser) options() []option.Option {
	handler := p.handler
	return append(productOptions(&handler.ProductConfig), []option.Option{
		option.New("pass", p.readPass),
		p.passesOption("passes"),
		option.New("offer", p.readOfferPage),
		option.New("teaser", p.readTeaser),
		option.Args("preview", p.readPreview),
		option.New("request_headers", p.readRequestHeaders),
		option.Flag("receipt", &handler.Receipt),
		option.New("claim", p.readClaim),
		option.Args("links", p.readLinks),
		option.Duration("expires_in", &handler.ExpiresIn, checkExpiresIn),
		option.Text("customer_email", &handler.CustomerEmail),
		option.ArgsN("metadata", 2, "metadata takes a key and a value: write `metadata article {path}`", p.readMetadata),
		option.Text("cancel_url", &handler.CancelURL, checkCancelURL),
		option.Address("site_url", &handler.SiteURL, false),
	}...)
}

// checkOwnProduct checks the gate's own product, if it has one.
func (h *Handler) checkOwnProduct() error {
	if !h.sellsItself() {
		return nil
	}
	_, err := h.ownProduct()
	return err
}

// readPass reads one name, for the gate's own price, or several of the app's passes.
func (p *gateParser) readPass(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() < 2 {
		return option.Text("pass", &p.handler.Pass, gate.CheckProductName).Read(d)
	}
	if p.listed == nil {
		at := *d
		p.listed = &at
	}
	return p.passesOption("pass").Read(d)
}

func (p *gateParser) passesOption(name string) option.Option {
	return option.Args(name, func(passes []string) error {
		if len(passes) == 0 {
			return fmt.Errorf("%s needs names of passes: write `%s day month`", name, name)
		}
		for _, pass := range passes {
			if err := gate.CheckProductName(pass); err != nil || pass == "" {
				return fmt.Errorf("%s %q is not the name of a pass", name, pass)
			}
		}
		p.handler.Passes = append(p.handler.Passes, passes...)
		return nil
	})
}

func (p *gateParser) readOfferPage(d *caddyfile.Dispenser) error {
	if p.handler.OfferPage != nil {
		return d.Err("offer is given twice: keep one")
	}
	if d.NextArg() {
		return d.Errf("offer takes a block, not %q", d.Val())
	}
	page := new(checkout.OfferPage)
	p.handler.OfferPage = page
	return option.ReadBlock(d, "offer", "", offerPageOptions(page))
}

func offerPageOptions(p *checkout.OfferPage) []option.Option {
	return []option.Option{option.Text("title", &p.Title), option.Text("text", &p.Text), option.Text("template", &p.Template)}
}

func (p *gateParser) readTeaser(d *caddyfile.Dispenser) error {
	if p.handler.Teaser != nil {
		return d.Err("teaser is given twice: keep one")
	}
	teaser := new(checkout.Teaser)
	p.handler.Teaser = teaser
	segment := *d
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
		segment = *d
	}
	switch {
	case teaser.URI == "":
		return p.readTeaserBlock(d, &segment)
	case d.NextBlock(d.Nesting()):
		return d.Err("teaser takes a path or a block of directives, not both")
	}
	return nil
}

// readTeaserBlock parses the segment that begins with the option, and moves the dispenser past its block.
func (p *gateParser) readTeaserBlock(d, segment *caddyfile.Dispenser) error {
	if p.routes == nil {
		return d.Err("teaser takes a path here: write `teaser /teaser.html`")
	}
	var err error
	if p.handler.Teaser.HandlerRaw, err = p.routes(segment); err != nil {
		return err
	}
	isEmpty := true
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		isEmpty = false
		if d.Val() == "axra_paywall" {
			return d.Err("visitors who have not paid see the teaser: remove axra_paywall from it")
		}
	}
	if isEmpty {
		return d.Err("teaser needs a path or a block of directives: write `teaser /teaser.html`")
	}
	return nil
}

func (p *gateParser) readPreview(args []string) error {
	if p.handler.Preview != nil {
		return errors.New("preview is given twice: keep one")
	}
	if len(args) != 3 || args[1] != "per" {
		return checkout.ErrPreviewSyntax
	}
	pages, pagesErr := strconv.Atoi(args[0])
	per, perErr := caddy.ParseDuration(args[2])
	if pagesErr != nil || perErr != nil {
		return checkout.ErrPreviewSyntax
	}
	p.handler.Preview = &checkout.Preview{Pages: pages, Per: caddy.Duration(per)}
	return p.handler.Preview.Check()
}

func (p *gateParser) readRequestHeaders(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 0 {
		p.handler.RequestHeaders = admission.DefaultRequestHeaders
		return nil
	}
	return option.Text("request_headers", &p.handler.RequestHeaders, func(value string) error { return admission.RequestHeaders(value).Check() }).Read(d)
}

func (p *gateParser) readClaim(d *caddyfile.Dispenser) error {
	if p.handler.Claim != "" || d.CountRemainingArgs() != 1 {
		return d.WrapErr(checkClaim(""))
	}
	return option.Text("claim", &p.handler.Claim, checkClaim).Read(d)
}

func (p *gateParser) readLinks(args []string) error {
	if p.handler.Links != nil || len(args) > 1 {
		return checkout.ErrLinksSyntax
	}
	p.handler.Links = new(checkout.Links)
	if len(args) == 0 {
		return nil
	}
	length, err := caddy.ParseDuration(args[0])
	if err != nil || length <= 0 {
		return checkout.ErrLinksSyntax
	}
	p.handler.Links.For = caddy.Duration(length)
	return p.handler.Links.Check()
}

func (p *gateParser) readMetadata(args []string) error {
	if err := checkMetadataKey(args[0]); err != nil {
		return err
	}
	if p.handler.Metadata == nil {
		p.handler.Metadata = make(map[string]string)
	}
	p.handler.Metadata[args[0]] = args[1]
	return nil
}
