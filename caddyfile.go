package paywall

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("axra", parseGlobal)
	httpcaddyfile.RegisterDirective("axra_webhook", parseWebhook)
	httpcaddyfile.RegisterDirective("axra_paywall", parseGate)
	httpcaddyfile.RegisterDirective("axra_jwks", parseJWKS)
	// The webhook comes first, so that no gate of the same block can cover it, nor a
	// try_files or rewrite lead its deliveries elsewhere. So do the public keys.
	httpcaddyfile.RegisterDirectiveOrder("axra_webhook", httpcaddyfile.Before, "redir")
	httpcaddyfile.RegisterDirectiveOrder("axra_jwks", httpcaddyfile.Before, "redir")
	httpcaddyfile.RegisterDirectiveOrder("axra_paywall", httpcaddyfile.Before, "basic_auth")
}

func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("axra is configured twice: put all its options into one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "axra", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the global option:
//
//	axra {
//		api_key           {env.NAME}
//		api_secret        {env.NAME}
//		webhook_secret    {env.NAME}...
//		endpoint          <url>
//		checkout_hosts    <host...>
//		site_url          <url>
//		database          sqlite [<path>] | postgres <url>
//		signature {
//			header           <name>
//			scheme           body|timestamp.body|t,v1|standard_webhooks
//			timestamp_header <name>
//			id_header        <name>
//			secret_encoding  hex|base64
//		}
//		signing_algorithm HS256|EdDSA
//		recheck           <duration>
//		grace             <duration>
//		download_window   <duration>
//		keep              <duration>|forever
//		limit_per_client  <events> <duration>
//		limit_total       <events> <duration>
//		pass <name> {
//			price       <amount> <currency>
//			description <text>
//			access      <duration>|forever
//			per_path    [<key>]
//			downloads   <number>
//			devices     <number>
//			retired
//		}
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.Errf("axra takes a block, not the argument %q: open it with `axra {` and write each option on a line of its own", d.Val())
	}
	for d.NextBlock(0) {
		if err := a.unmarshalOption(d, d.Val()); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "api_key":
		return secretArg(d, &a.APIKey)
	case "api_secret":
		return secretArg(d, &a.APISecret)
	case "webhook_secret":
		return a.unmarshalWebhookSecrets(d)
	case "endpoint":
		return urlArg(d, &a.Endpoint, true)
	case "checkout_hosts":
		a.CheckoutHosts = append(a.CheckoutHosts, d.RemainingArgs()...)
		if len(a.CheckoutHosts) == 0 {
			return d.Err("checkout_hosts needs at least one host: write `checkout_hosts pay.useaxra.com`")
		}
		return located(d, checkCheckoutHosts(a.CheckoutHosts))
	case "site_url":
		return urlArg(d, &a.SiteURL, false)
	case "database":
		return a.unmarshalDatabase(d)
	case "signature":
		return a.unmarshalSignature(d)
	case "signing_algorithm":
		return oneOf(d, &a.SigningAlgorithm, token.HS256, token.EdDSA)
	case "recheck":
		return durationArg(d, &a.Recheck)
	case "grace":
		return durationArg(d, &a.Grace)
	case "download_window":
		return durationArg(d, &a.DownloadWindow)
	case "keep":
		return a.unmarshalKeep(d)
	case "limit_per_client", "limit_total":
		return a.unmarshalLimit(d, name)
	case "pass":
		return a.unmarshalPass(d)
	default:
		return d.Errf("axra has no option %q: it takes api_key, api_secret, webhook_secret, pass, endpoint, checkout_hosts, "+
			"site_url, database, signature, signing_algorithm, recheck, grace, download_window, keep, limit_per_client and limit_total", name)
	}
}

func (a *App) unmarshalKeep(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 1 && firstArg(*d) == "forever" {
		d.NextArg()
		a.Keep = -1
		return nil
	}
	if err := durationArg(d, &a.Keep); err != nil {
		return err
	}
	return located(d, checkKeep(a.Keep))
}

func (a *App) unmarshalWebhookSecrets(d *caddyfile.Dispenser) error {
	values := d.RemainingArgs()
	if len(values) == 0 {
		return d.Err("webhook_secret needs a value: write `webhook_secret {env.AXRA_WEBHOOK_SECRET}`")
	}
	for _, value := range values {
		if err := secretIsPlaceholder("webhook_secret", value); err != nil {
			return d.WrapErr(err)
		}
	}
	a.WebhookSecrets = append(a.WebhookSecrets, values...)
	return nil
}

func (a *App) unmarshalPass(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("pass takes one name and a block: write `pass month { price 5.00 usd }`")
	}
	name, offer := args[0], new(Offer)
	if err := gate.CheckProductName(name); err != nil {
		return d.WrapErr(err)
	}
	if a.Passes[name] != nil {
		return d.Errf("pass %q is defined twice: keep one", name)
	}
	begin := *d // so that an error about the whole names this line
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if known, err := unmarshalProductOption(d, offer, option); err != nil {
			return err
		} else if !known {
			return d.Errf("pass has no option %q: it takes price, description, access, per_path, downloads, devices and retired", option)
		}
	}
	if _, err := gate.NewProduct(name, *offer); err != nil {
		return begin.Errf("pass %q: %v", name, err)
	}
	if a.Passes == nil {
		a.Passes = make(map[string]*Offer)
	}
	a.Passes[name] = offer
	return nil
}

// unmarshalOption reads what gates and passes have in common.
func unmarshalProductOption(d *caddyfile.Dispenser, o *Offer, name string) (known bool, err error) {
	switch name {
	case "price":
		return true, unmarshalPrice(d, o)
	case "description":
		return true, oneArg(d, &o.Description)
	case "access":
		return true, checkedArg(d, &o.Access, func(value string) error {
			_, err := gate.ParseAccess(value)
			return err
		})
	case "per_path":
		args := d.RemainingArgs()
		if o.PerPath || len(args) > 1 {
			return true, d.Err("per_path is written once, alone or with one key: write `per_path` or `per_path {sku}`")
		}
		o.PerPath, o.Key = true, strings.Join(args, "")
		return true, nil
	case "downloads":
		return true, numberArg(d, &o.Downloads, "5")
	case "devices":
		return true, numberArg(d, &o.Devices, "3")
	case "retired":
		return true, flag(d, &o.Retired)
	}
	return false, nil
}

// numberArg reads a number of one or more.
func numberArg(d *caddyfile.Dispenser, into *int, example string) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) != 1 || *into != 0 {
		return d.Errf("%s takes one number: write `%s %s`", name, name, example)
	}
	number, err := strconv.Atoi(args[0])
	if err != nil || number < 1 {
		return d.Errf("%s %q is no number from 1 to 1000: write `%s %s`", name, args[0], name, example)
	}
	*into = number
	return nil
}

// flag reads an option that takes no value.
func flag(d *caddyfile.Dispenser, into *bool) error {
	*into = true
	return noArgs(d)
}

func noArgs(d *caddyfile.Dispenser) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes no value", name)
	}
	return nil
}

func (a *App) unmarshalDatabase(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if a.Database != nil {
		return d.Err("database is written twice: keep one")
	}
	if len(args) == 0 || len(args) > 2 {
		return d.Err("database takes a driver and where it is: write `database sqlite`, `database sqlite /var/lib/axra/ledger.db` or " +
			"`database postgres {env.AXRA_DATABASE_URL}`")
	}
	a.Database = &Database{Driver: args[0]}
	where := ""
	if len(args) == 2 {
		where = args[1]
	}
	if args[0] == driverPostgres {
		a.Database.URL = where
	} else {
		a.Database.Path = where
	}
	err := a.Database.check()
	if err != nil || args[0] == driverPostgres || strings.HasPrefix(where, "{") { // known in the running Caddy only
		return located(d, err)
	}
	_, err = a.Database.location()
	return located(d, err)
}

func (a *App) unmarshalSignature(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("signature takes a block, not the argument %q: open it with `signature {` and write `header %s` on a line of its own", d.Val(), webhook.DefaultHeader)
	}
	if a.Signature == nil {
		a.Signature = new(SignatureConfig)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch name := d.Val(); name {
		case "header":
			err = oneArg(d, &a.Signature.Header)
		case "scheme":
			err = oneOf(d, &a.Signature.Scheme, webhook.Schemes...)
		case "timestamp_header":
			err = oneArg(d, &a.Signature.TimestampHeader)
		case "id_header":
			err = oneArg(d, &a.Signature.IDHeader)
		case "secret_encoding":
			err = oneOf(d, &a.Signature.SecretEncoding, webhook.SecretEncodings...)
		default:
			err = d.Errf("signature has no option %q: it takes header, scheme, timestamp_header, id_header and secret_encoding", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *App) unmarshalLimit(d *caddyfile.Dispenser, name string) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Errf("%s takes a number and a time: write `%s 30 10m`", name, name)
	}
	count, err := strconv.Atoi(args[0])
	if err != nil || count < 1 {
		return d.Errf("%s: %q is not a number of sessions: write `%s 30 10m`", name, args[0], name)
	}
	per, err := caddy.ParseDuration(args[1])
	if err != nil || per <= 0 {
		return d.Errf("%s: %q is not a time: write `%s 30 10m`", name, args[1], name)
	}
	if a.Limits == nil {
		a.Limits = new(LimitsConfig)
	}
	limit := &Rate{Events: count, Per: caddy.Duration(per)}
	if name == "limit_total" {
		a.Limits.Total = limit
	} else {
		a.Limits.PerClient = limit
	}
	return nil
}

func parseWebhook(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	webhook := new(Webhook)
	matchers, err := parseEndpoint(h, webhook)
	if err != nil {
		return nil, err
	}
	if matchers != nil {
		webhook.MatchersRaw = caddyhttp.RawMatcherSets{matchers}
	}
	return amongOthers(h, webhook), nil
}

func parseJWKS(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	keySet := new(JWKS)
	matchers, err := parseEndpoint(h, keySet)
	if err != nil {
		return nil, err
	}
	return h.NewRoute(matchers, keySet), nil
}

// parseEndpoint reads the directive of what answers what its matcher lets through.
func parseEndpoint(h httpcaddyfile.Helper, handler caddyfile.Unmarshaler) (caddy.ModuleMap, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matchers, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	return matchers, handler.UnmarshalCaddyfile(h.Dispenser)
}

// amongOthers puts a handler that has its matcher within itself into one route with its
// neighbours: Caddy goes through every route for every request.
func amongOthers(h httpcaddyfile.Helper, handler caddyhttp.MiddlewareHandler) []httpcaddyfile.ConfigValue {
	if h.IsNamedRoute() {
		return h.NewRoute(everyPath, handler)
	}
	return h.NewRoute(nil, handler)
}

// extractMatcher adds to Caddy's error where the directive stands.
func extractMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	matchers, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(fmt.Errorf("%w: define it in this site block, above or below", err))
	}
	return matchers, nil
}

// UnmarshalCaddyfile reads the directive:
//
//	axra_webhook [<matcher>] {
//		keep_refused
//	}
func (h *Webhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("axra_webhook takes one matcher only, not %q: write `axra_webhook /webhooks/axra` (a path begins with a slash)", d.Val())
	}
	for d.NextBlock(0) {
		if d.Val() != "keep_refused" {
			return d.Errf("axra_webhook has no option %q: it takes keep_refused; secrets and signature stand in the global option axra", d.Val())
		}
		if err := flag(d, &h.KeepRefused); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalCaddyfile reads the directive:
//
//	axra_jwks [<matcher>]
func (h *JWKS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("axra_jwks takes one matcher only, not %q: write `axra_jwks /.well-known/jwks.json` (a path begins with a slash)", d.Val())
	}
	if d.NextBlock(0) {
		return d.Err("axra_jwks takes no block: signing_algorithm stands in the global option axra")
	}
	return nil
}

// parseGate gives the matcher to the gate itself, which applies it to more than
// the path as Caddy reads it.
func parseGate(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	handler := &Handler{caddyfile: gateCaddyfile{routes: func(d *caddyfile.Dispenser) (json.RawMessage, error) {
		handler, err := httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(d.NewFromNextSegment()))
		if err != nil {
			return nil, err
		}
		return caddyconfig.JSONModuleObject(handler, "handler", "subroute", nil), nil
	}}}
	matcherName := ""
	if h.NextArg() {
		matcherName = h.Val()
		h.Prev()
	}
	matchers, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
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
	return amongOthers(h, handler), nil
}

// routesParser reads a block of directives.
type routesParser func(d *caddyfile.Dispenser) (json.RawMessage, error)

// everyPath matches every request, and keeps the gate's route apart from those of other
// directives in a named route: of one whose directives have all become one route without a
// matcher, Caddy keeps the first directive and drops the others, gates among them.
var everyPath = caddy.ModuleMap{"path": json.RawMessage(`["*"]`)}

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
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("axra_paywall takes one matcher and a block, not the argument %q: a path begins with a slash, as in `axra_paywall /premium/* {`; "+
			"for several paths write `@paid path /premium/* /members/*` and `axra_paywall @paid {`", d.Val())
	}
	for d.NextBlock(0) {
		if err := h.unmarshalOption(d, d.Val()); err != nil {
			return err
		}
	}
	if len(h.caddyfile.listed) > 0 {
		if h.Offer != (Offer{}) {
			return h.caddyfile.listed[0].Err("pass takes exactly one value beside a price: put a name with spaces in quotes, or write `passes` to name passes of the global option axra")
		}
		h.caddyfile.listed = nil
	}
	if h.Pass != "" && h.Offer == (Offer{}) {
		h.Passes, h.Pass = append([]string{h.Pass}, h.Passes...), "" // `pass month` without a price is one of the app's
	}
	if err := h.checkOwnOffer(); err != nil {
		d.Reset() // so that the error names the line of the directive
		d.Next()
		if errors.Is(err, gate.ErrNoPrice) {
			return d.Errf("axra_paywall %v", err)
		}
		return d.Errf("axra_paywall: %v", err)
	}
	return nil
}

// checkOwnOffer checks what the gate itself sells, if anything.
func (h *Handler) checkOwnOffer() error {
	if !h.sellsItself() {
		return nil
	}
	_, err := h.ownProduct()
	if errors.Is(err, gate.ErrNoPrice) && len(h.Passes) > 0 {
		return errOptionsOfPass
	}
	return err
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "pass":
		return h.unmarshalPassNames(d)
	case "passes":
		return appendNames(d, &h.Passes)
	case "offer":
		return h.unmarshalOfferPage(d)
	case "teaser":
		return h.unmarshalTeaser(d)
	case "preview":
		return h.unmarshalPreview(d)
	case "request_headers":
		return h.unmarshalRequestHeaders(d)
	case "receipt":
		return flag(d, &h.Receipt)
	case "claim":
		if h.Claim != "" || d.CountRemainingArgs() != 1 {
			return d.WrapErr(checkClaim(""))
		}
		return checkedArg(d, &h.Claim, checkClaim)
	case "links":
		return h.unmarshalLinks(d)
	case "expires_in":
		if err := durationArg(d, &h.ExpiresIn); err != nil {
			return err
		}
		return located(d, checkExpiresIn(h.ExpiresIn))
	case "customer_email":
		return oneArg(d, &h.CustomerEmail)
	case "metadata":
		return h.unmarshalMetadata(d)
	case "cancel_url":
		return checkedArg(d, &h.CancelURL, checkCancelURL)
	case "site_url":
		return urlArg(d, &h.SiteURL, false)
	default:
		if known, err := unmarshalProductOption(d, &h.Offer, name); known {
			return err
		}
		return d.Errf("axra_paywall has no option %q: it takes price, pass, passes, description, access, per_path, downloads, devices, retired, offer, "+
			"teaser, preview, request_headers, receipt, claim, links, expires_in, customer_email, metadata, cancel_url and site_url", name)
	}
}

// unmarshalPassNames reads one name, of the gate's own price, or several of the
// app's passes.
func (h *Handler) unmarshalPassNames(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() > 1 {
		h.caddyfile.listed = append(h.caddyfile.listed, *d)
		return appendNames(d, &h.Passes)
	}
	return checkedArg(d, &h.Pass, gate.CheckProductName)
}

func appendNames(d *caddyfile.Dispenser, into *[]string) error {
	option := d.Val()
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.Errf("%s needs names of passes: write `%s day month`", option, option)
	}
	for _, name := range names {
		if err := gate.CheckProductName(name); err != nil || name == "" {
			return d.Errf("%s %q is no name of a pass", option, name)
		}
	}
	*into = append(*into, names...)
	return nil
}

func (h *Handler) unmarshalOfferPage(d *caddyfile.Dispenser) error {
	if h.OfferPage != nil {
		return d.Err("offer is given twice: keep one")
	}
	h.OfferPage = new(checkout.OfferPage)
	if d.NextArg() {
		return d.Errf("offer takes a block, not %q", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch name := d.Val(); name {
		case "title":
			err = oneArg(d, &h.OfferPage.Title)
		case "text":
			err = oneArg(d, &h.OfferPage.Text)
		case "template":
			err = oneArg(d, &h.OfferPage.Template)
		default:
			err = d.Errf("offer has no option %q: it takes title, text and template", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalTeaser(d *caddyfile.Dispenser) error {
	if h.Teaser != nil {
		return d.Err("teaser is given twice: keep one")
	}
	h.Teaser = new(checkout.Teaser)
	segment := *d
	for d.NextArg() {
		switch {
		case d.Val() == "index":
			h.Teaser.Index = true
		case h.Teaser.URI == "":
			h.Teaser.URI = d.Val()
			if err := checkout.CheckTeaserURI(h.Teaser.URI); err != nil {
				return d.WrapErr(err)
			}
		default:
			return d.Errf("teaser takes one path, and `index` after it, not %q", d.Val())
		}
		segment = *d
	}
	if h.Teaser.URI != "" {
		if d.NextBlock(d.Nesting()) {
			return d.Err("teaser takes a path or a block of directives, not both")
		}
		return nil
	}
	if h.caddyfile.routes == nil {
		return d.Err("teaser takes a path here: write `teaser /teaser.html`")
	}
	var err error
	if h.Teaser.HandlerRaw, err = h.caddyfile.routes(&segment); err != nil {
		return err
	}
	empty := true
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		empty = false // read above; this goes past it
		if d.Val() == "axra_paywall" {
			return d.Err("a teaser is what those see who have not paid: put no axra_paywall into it")
		}
	}
	if empty {
		return d.Err("teaser needs a path or a block of directives: write `teaser /teaser.html`")
	}
	return nil
}

func (h *Handler) unmarshalPreview(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if h.Preview != nil {
		return d.Err("preview is given twice: keep one")
	}
	if len(args) != 3 || args[1] != "per" {
		return d.WrapErr(checkout.ErrPreviewSyntax)
	}
	pages, err := strconv.Atoi(args[0])
	if err != nil {
		return d.WrapErr(checkout.ErrPreviewSyntax)
	}
	per, err := caddy.ParseDuration(args[2])
	if err != nil {
		return d.WrapErr(checkout.ErrPreviewSyntax)
	}
	h.Preview = &checkout.Preview{Pages: pages, Per: caddy.Duration(per)}
	return located(d, h.Preview.Check())
}

func (h *Handler) unmarshalLinks(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if h.Links != nil || len(args) > 1 {
		return d.WrapErr(checkout.ErrLinksSyntax)
	}
	h.Links = new(checkout.Links)
	if len(args) == 0 {
		return nil
	}
	length, err := caddy.ParseDuration(args[0])
	if err != nil || length <= 0 {
		return d.WrapErr(checkout.ErrLinksSyntax)
	}
	h.Links.For = caddy.Duration(length)
	return located(d, h.Links.Check())
}

func (h *Handler) unmarshalRequestHeaders(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 0 {
		h.RequestHeaders = admission.DefaultRequestHeaders
		return nil
	}
	return checkedArg(d, &h.RequestHeaders, func(value string) error { return admission.RequestHeaders(value).Check() })
}

func unmarshalPrice(d *caddyfile.Dispenser, o *Offer) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("price takes an amount and a currency: write `price 5.00 usd`")
	}
	if o.Price != (gate.Price{}) {
		return d.Err("price is given twice: keep one")
	}
	o.Price = gate.Price{Amount: args[0], Currency: args[1]}
	if strings.Contains(args[0]+args[1], "{") {
		return nil // known only for a request
	}
	o.Price.Currency = strings.ToLower(args[1])
	_, err := o.Price.Parse()
	return located(d, err)
}

func (h *Handler) unmarshalMetadata(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("metadata takes a key and a value: write `metadata article {path}`")
	}
	if err := checkMetadataKey(args[0]); err != nil {
		return d.WrapErr(err)
	}
	if h.Metadata == nil {
		h.Metadata = make(map[string]string)
	}
	h.Metadata[args[0]] = args[1]
	return nil
}

// UnmarshalCaddyfile reads the matcher:
//
//	axra_paid [<pass...>]
func (m *MatchPaid) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		m.Passes = append(m.Passes, d.RemainingArgs()...)
		if d.NextBlock(0) {
			return d.Err("axra_paid takes names of passes and no block: write `@paid axra_paid month`")
		}
	}
	return nil
}

// located adds file and line to an error.
func located(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

func oneArg(d *caddyfile.Dispenser, into *string) error {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Errf("%s takes exactly one value: put text with spaces in quotes", name)
	}
	if *into != "" {
		return d.Errf("%s is given twice: keep one", name)
	}
	*into = args[0]
	return nil
}

func checkedArg(d *caddyfile.Dispenser, into *string, check func(string) error) error {
	if err := oneArg(d, into); err != nil {
		return err
	}
	return located(d, check(*into))
}

func secretArg(d *caddyfile.Dispenser, into *string) error {
	name := d.Val()
	if d.CountRemainingArgs() == 0 || d.CountRemainingArgs() == 1 && strings.TrimSpace(firstArg(*d)) == "" {
		return d.Errf("%s is empty: write `%s {env.NAME}`, which is read when Caddy starts ({$NAME} is replaced in the Caddyfile, here by nothing)", name, name)
	}
	return checkedArg(d, into, func(value string) error { return secretIsPlaceholder(name, value) })
}

// firstArg looks at the next argument without taking it.
func firstArg(d caddyfile.Dispenser) string {
	d.NextArg()
	return d.Val()
}

// urlArg checks addresses that hold no placeholder; others are checked when they
// are resolved.
func urlArg(d *caddyfile.Dispenser, into *string, withPath bool) error {
	name := d.Val()
	return checkedArg(d, into, func(value string) error {
		if strings.Contains(value, "{") {
			return nil
		}
		if _, err := parseBaseURL(value, withPath); err != nil {
			return fmt.Errorf("%s: %w", name, err) // without the address, which could hold a password
		}
		return nil
	})
}

func durationArg(d *caddyfile.Dispenser, into *caddy.Duration) error {
	name := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	length, err := caddy.ParseDuration(text)
	if err != nil || length <= 0 {
		return d.Errf("%s: %q is not a length of time: write for example `%s 30s`", name, text, name)
	}
	if *into != 0 {
		return d.Errf("%s is given twice: keep one", name)
	}
	*into = caddy.Duration(length)
	return nil
}

func oneOf(d *caddyfile.Dispenser, into *string, allowed ...string) error {
	name := d.Val()
	return checkedArg(d, into, func(value string) error {
		for _, each := range allowed {
			if value == each {
				return nil
			}
		}
		return errors.New(name + " " + value + " is unknown: write " + strings.Join(allowed, " or "))
	})
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Webhook)(nil)
	_ caddyfile.Unmarshaler = (*JWKS)(nil)
	_ caddyfile.Unmarshaler = (*MatchPaid)(nil)
)
