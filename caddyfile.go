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

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/option"
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("axra", parseGlobal)
	httpcaddyfile.RegisterDirective("axra_webhook", parseWebhook)
	httpcaddyfile.RegisterDirective("axra_paywall", parseGate)
	httpcaddyfile.RegisterDirective("axra_jwks", parseJWKS)
	// The webhook and the public keys come first, so that no gate, try_files or rewrite of the same block can
	// intercept them.
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
//			price, description, access, per_path, downloads, devices, retired, as in axra_paywall
//		}
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.Errf("axra takes a block, not the argument %q: open it with `axra {` and write each option on a line of its own", d.Val())
	}
	return option.ReadBlock(d, "axra", "", a.options())
}

func (a *App) options() []option.Option {
	return []option.Option{
		option.Secret("api_key", &a.APIKey),
		option.Secret("api_secret", &a.APISecret),
		option.Args("webhook_secret", a.readWebhookSecrets),
		option.New("pass", a.readPass),
		option.Address("endpoint", &a.Endpoint, true),
		option.Args("checkout_hosts", a.readCheckoutHosts),
		option.Address("site_url", &a.SiteURL, false),
		option.Args("database", a.readDatabase),
		option.New("signature", a.readSignature),
		option.OneOf("signing_algorithm", &a.SigningAlgorithm, token.HS256, token.EdDSA),
		option.Duration("recheck", &a.Recheck),
		option.Duration("grace", &a.Grace),
		option.Duration("download_window", &a.DownloadWindow),
		option.New("keep", a.readKeep),
		a.limitOption("limit_per_client", func(l *settings.Limits) **settings.Rate { return &l.PerClient }),
		a.limitOption("limit_total", func(l *settings.Limits) **settings.Rate { return &l.Total }),
	}
}

func (a *App) readWebhookSecrets(values []string) error {
	if len(values) == 0 {
		return errors.New("webhook_secret needs a value: write `webhook_secret {env.AXRA_WEBHOOK_SECRET}`")
	}
	for _, value := range values {
		if err := settings.CheckPlaceholder("webhook_secret", value); err != nil {
			return err
		}
	}
	a.WebhookSecrets = append(a.WebhookSecrets, values...)
	return nil
}

func (a *App) readCheckoutHosts(hosts []string) error {
	if len(hosts) == 0 {
		return errors.New("checkout_hosts needs at least one host: write `checkout_hosts pay.useaxra.com`")
	}
	a.CheckoutHosts = append(a.CheckoutHosts, hosts...)
	return settings.CheckCheckoutHosts(hosts)
}

func (a *App) readDatabase(args []string) (err error) {
	if a.Database != nil {
		return errors.New("database is written twice: keep one")
	}
	a.Database, err = settings.ParseDatabase(args)
	return err
}

func (a *App) readSignature(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("signature takes a block, not the argument %q: open it with `signature {` and write `header %s` on a line of its own", d.Val(), webhook.DefaultHeader)
	}
	if a.Signature == nil {
		a.Signature = new(settings.Signature)
	}
	return option.ReadBlock(d, "signature", "", signatureOptions(a.Signature))
}

func signatureOptions(c *settings.Signature) []option.Option {
	return []option.Option{
		option.Text("header", &c.Header),
		option.OneOf("scheme", &c.Scheme, webhook.Schemes...),
		option.Text("timestamp_header", &c.TimestampHeader),
		option.Text("id_header", &c.IDHeader),
		option.OneOf("secret_encoding", &c.SecretEncoding, webhook.SecretEncodings...),
	}
}

func (a *App) readKeep(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 1 && option.Next(*d) == "forever" {
		d.NextArg()
		a.Keep = -1
		return nil
	}
	return option.Duration("keep", &a.Keep, checkKeep).Read(d)
}

// limitOption reads a limit of session creation into the field that pick returns.
func (a *App) limitOption(name string, pick func(*settings.Limits) **settings.Rate) option.Option {
	write := ": write `" + name + " 30 10m`"
	return option.ArgsN(name, 2, name+" takes a number and a time"+write, func(args []string) error {
		count, err := strconv.Atoi(args[0])
		if err != nil || count < 1 {
			return fmt.Errorf("%s: %q is not a number of sessions%s", name, args[0], write)
		}
		per, err := caddy.ParseDuration(args[1])
		if err != nil || per <= 0 {
			return fmt.Errorf("%s: %q is not a time%s", name, args[1], write)
		}
		if a.Limits == nil {
			a.Limits = new(settings.Limits)
		}
		*pick(a.Limits) = &settings.Rate{Events: count, Per: caddy.Duration(per)}
		return nil
	})
}

func (a *App) readPass(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("pass takes one name and a block: write `pass month { price 5.00 usd }`")
	}
	name, product := args[0], new(gate.ProductConfig)
	if err := gate.CheckProductName(name); err != nil {
		return d.WrapErr(err)
	}
	if a.Passes[name] != nil {
		return d.Errf("pass %q is defined twice: keep one", name)
	}
	begin := *d // an error about the pass names this line
	if err := option.ReadBlock(d, "pass", "", productOptions(product)); err != nil {
		return err
	}
	if _, err := gate.NewProduct(name, *product); err != nil {
		return begin.Errf("pass %q: %v", name, err)
	}
	if a.Passes == nil {
		a.Passes = make(map[string]*gate.ProductConfig)
	}
	a.Passes[name] = product
	return nil
}

// productOptions returns the options that gates and passes share.
func productOptions(p *gate.ProductConfig) []option.Option {
	return []option.Option{
		option.ArgsN("price", 2, "price takes an amount and a currency: write `price 5.00 usd`", func(args []string) error { return readPrice(p, args) }),
		option.Text("description", &p.Description),
		option.Text("access", &p.Access, func(value string) error {
			_, err := gate.ParseAccess(value)
			return err
		}),
		option.Args("per_path", func(args []string) error { return readPerPath(p, args) }),
		option.Number("downloads", &p.Downloads, "5"),
		option.Number("devices", &p.Devices, "3"),
		option.Flag("retired", &p.Retired),
	}
}

func readPerPath(p *gate.ProductConfig, args []string) error {
	if p.PerPath || len(args) > 1 {
		return errors.New("per_path is written once, alone or with one key: write `per_path` or `per_path {sku}`")
	}
	p.PerPath, p.Key = true, strings.Join(args, "")
	return nil
}

func readPrice(p *gate.ProductConfig, args []string) error {
	if p.Price != (gate.Price{}) {
		return errors.New("price is given twice: keep one")
	}
	p.Price = gate.Price{Amount: args[0], Currency: args[1]}
	if strings.Contains(args[0]+args[1], "{") {
		return nil // known only for a request
	}
	p.Price.Currency = strings.ToLower(args[1])
	_, err := p.Price.Parse()
	return err
}

// parseTerminal parses a terminal handler's directive.
func parseTerminal(h httpcaddyfile.Helper, handler caddyfile.Unmarshaler) (caddy.ModuleMap, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matchers, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	return matchers, handler.UnmarshalCaddyfile(h.Dispenser)
}

// extractMatcher parses the matcher; it adds file and line to Caddy's error.
func extractMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	matchers, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(fmt.Errorf("%w: define it in this site block, above or below", err))
	}
	return matchers, nil
}

// newSharedRoute puts a handler that applies its own matcher into one route with its neighbours: Caddy tries every
// route for every request.
func newSharedRoute(h httpcaddyfile.Helper, handler caddyhttp.MiddlewareHandler) []httpcaddyfile.ConfigValue {
	if h.IsNamedRoute() {
		return h.NewRoute(everyPath, handler)
	}
	return h.NewRoute(nil, handler)
}

// everyPath matches every request. It keeps the handler's route in a named route separate: without a matcher, Caddy
// merges the directives and keeps only the first.
var everyPath = caddy.ModuleMap{"path": json.RawMessage(`["*"]`)}

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

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*MatchPaid)(nil)
)
