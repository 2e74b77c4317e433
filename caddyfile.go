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
	httpcaddyfile.RegisterDirective("axra_webhook", parseHandler[Webhook])
	httpcaddyfile.RegisterDirective("axra_paywall", parseGate)
	httpcaddyfile.RegisterDirective("axra_jwks", parseHandler[JWKS])
	// They come first, so that no gate, try_files or rewrite of the same block can intercept them.
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

// UnmarshalCaddyfile reads the global option axra. docs/reference.md has its syntax.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	return option.ReadBlock(d, "axra", "", a.options())
}

func (a *App) options() []option.Option {
	return []option.Option{
		option.Secret("api_key", &a.APIKey),
		option.Secret("api_secret", &a.APISecret),
		option.List("webhook_secret", &a.WebhookSecrets, "{env.AXRA_WEBHOOK_SECRET}", func(value string) error {
			return settings.CheckPlaceholder("webhook_secret", value)
		}),
		{Name: "pass", Read: a.readPass},
		option.Address("endpoint", &a.Endpoint, true),
		option.List("checkout_hosts", &a.CheckoutHosts, "pay.useaxra.com", settings.CheckCheckoutHost),
		option.Address("site_url", &a.SiteURL, false),
		option.Args("database", func(args []string) (err error) {
			if a.Database != (settings.Database{}) {
				return errors.New("database is given twice: keep one")
			}
			a.Database, err = settings.ParseDatabase(args)
			return err
		}),
		{Name: "signature", Read: func(d *caddyfile.Dispenser) error {
			return option.ReadBlock(d, "signature", "", signatureOptions(&a.Signature))
		}},
		option.OneOf("signing_algorithm", &a.SigningAlgorithm, token.HS256, token.EdDSA),
		option.Duration("recheck", &a.Recheck),
		option.Duration("grace", &a.Grace),
		option.Duration("download_window", &a.DownloadWindow),
		option.Value("keep", &a.Keep, parseKeep, checkKeep),
		limitOption("limit_per_client", &a.Limits.PerClient),
		limitOption("limit_total", &a.Limits.Total),
	}
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

func parseKeep(value string) (caddy.Duration, error) {
	if value == "forever" {
		return -1, nil
	}
	length, err := caddy.ParseDuration(value)
	if err != nil || length <= 0 {
		return 0, fmt.Errorf("keep: %q is not a length of time: write `keep 540d` or `keep forever`", value)
	}
	return caddy.Duration(length), nil
}

func limitOption(name string, target *settings.Rate) option.Option {
	usage := name + " takes a number of sessions and a time: write `" + name + " 30 10m`"
	return option.ArgsN(name, 2, usage, func(args []string) error {
		events, _ := strconv.Atoi(args[0]) // zero is rejected
		per, _ := caddy.ParseDuration(args[1])
		if *target = (settings.Rate{Events: events, Per: caddy.Duration(per)}); events < 1 || per <= 0 {
			return errors.New(usage)
		}
		return nil
	})
}

func (a *App) readPass(d *caddyfile.Dispenser) error {
	begin, product := *d, gate.ProductConfig{} // an error about the pass names its first line
	var name string
	if !d.AllArgs(&name) || name == "" {
		return begin.Err("pass takes one name and a block: write `pass month { price 5.00 usd }`")
	}
	if _, isDefined := a.Passes[name]; isDefined {
		return d.Errf("pass %q is defined twice: keep one", name)
	}
	if err := option.ReadBlock(d, "pass", "", productOptions(&product)); err != nil {
		return err
	}
	if _, err := gate.NewProduct(name, product); err != nil {
		return begin.Errf("pass %q: %v", name, err)
	}
	if a.Passes == nil {
		a.Passes = make(map[string]gate.ProductConfig)
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
		option.Args("per_path", func(args []string) error {
			if p.PerPath || len(args) > 1 {
				return errors.New("per_path is written once, alone or with one key: write `per_path` or `per_path {sku}`")
			}
			p.PerPath, p.Key = true, strings.Join(args, "")
			return nil
		}),
		option.Number("downloads", &p.Downloads, "5"),
		option.Number("devices", &p.Devices, "3"),
		option.Flag("retired", &p.Retired),
	}
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

// extractMatcher moves to the directive and parses its matcher; it adds file and line to Caddy's error.
func extractMatcher(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matchers, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(fmt.Errorf("%w: define it in this site block, above or below", err))
	}
	return matchers, nil
}

// parseHandler parses the directive of a handler without blocks of directives.
func parseHandler[T any, H interface {
	*T
	caddyhttp.MiddlewareHandler
	caddyfile.Unmarshaler
}](h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	handler := H(new(T))
	matchers, err := extractMatcher(h)
	if err != nil {
		return nil, err
	}
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return newRoute(h, matchers, handler), nil
}

// readDirective reads the block of a directive whose matcher has been removed.
func readDirective(d *caddyfile.Dispenser, path, hint string, options []option.Option) error {
	d.Next() // the directive's name
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes one matcher, not the argument %q: a path begins with a slash, as in `%s %s`; "+
			"for several paths write `@several path %s /members/*` and `%s @several`", name, d.Val(), name, path, path, name)
	}
	return option.ReadBlock(d, name, hint, options)
}

// newRoute returns the route of a handler.
func newRoute(h httpcaddyfile.Helper, matchers caddy.ModuleMap, handler caddyhttp.MiddlewareHandler) []httpcaddyfile.ConfigValue {
	if matchers == nil && h.IsNamedRoute() { // without a matcher, Caddy merges the directives and keeps only the first
		matchers = caddy.ModuleMap{"path": json.RawMessage(`["*"]`)}
	}
	return h.NewRoute(matchers, handler)
}

// UnmarshalCaddyfile reads the matcher `axra_paid [<pass...>]`.
func (m *MatchPaid) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		m.Passes = append(m.Passes, d.RemainingArgs()...)
		if d.NextBlock(0) {
			return d.Err("axra_paid takes names of passes and no block: write `@paid axra_paid month`")
		}
	}
	return nil
}
