package preflight

import (
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/money"
)

// checkSecrets looks at the credentials that Axra has issued. Values are compared, never shown.
func (c *checker) checkSecrets(r *report) {
	for _, s := range c.Secrets {
		file := strings.TrimSuffix(strings.TrimPrefix(s.Placeholder, "{file."), "}")
		if info, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
			r.warn(s.Name, "chmod 600 "+file, "%s can be read by every user of this machine", file)
		}
		switch {
		case strings.HasPrefix(s.Value, "bk_") && s.Name != "api_key":
			r.fail(s.Name, "put the secret there; it begins with bs_", "%s holds an API key, which begins with bk_", s.Placeholder)
		case strings.HasPrefix(s.Value, "bs_") && s.Name == "api_key":
			r.fail(s.Name, "put the key there; it begins with bk_", "%s holds a secret, which begins with bs_", s.Placeholder)
		case strings.ContainsAny(s.Value, " \t\r\n\"'"):
			r.fail(s.Name, "remove what does not belong to it", "%s holds spaces or quotation marks", s.Placeholder)
		}
	}
	switch {
	case c.secret("api_key") == "":
		r.warn("api_key", "add `api_key {env.AXRA_API_KEY}`, unless this Caddy only receives webhooks", "there is none, so nothing can be sold here")
	case c.secret("webhook_secret")+c.secret("api_secret") == "":
		r.warn("webhook_secret", "add `webhook_secret {env.AXRA_WEBHOOK_SECRET}`, unless another Caddy with the same `database` receives the webhooks",
			"there is none, so no payment can be confirmed here")
	}
}

// secret is the value of the first secret of a name.
func (c *checker) secret(name string) string {
	for _, s := range c.Secrets {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

// checkEndpoint compares key, secrets and endpoint. Impossible combinations were rejected at load.
func (c *checker) checkEndpoint(r *report) {
	mode := settings.KeyMode(c.secret("api_key"), "bk_")
	for _, secret := range c.Secrets {
		if other := settings.KeyMode(secret.Value, "bs_"); mode != "" && other != "" && other != mode {
			r.fail(secret.Name, "take key and secret from the same page of Axra's dashboard",
				"a %s secret beside a %s key: no event of a payment would verify, or one of a test payment would", other, mode)
		}
	}
	endpoint, _ := url.Parse(c.Endpoint) // it was built from a URL
	switch {
	case mode == "sandbox":
		r.warn("api_key", "before going live, put in the live key and secret", "it is a test key: %s takes no real money", endpoint.Host)
	case c.Client != nil && settings.EndpointMode(endpoint.Hostname()) == "":
		r.warn("endpoint", "leave out `endpoint` to use Axra's own", "%s is none of Axra's addresses", endpoint.Host)
	}
}

// checkPrices finds empty placeholders of the environment. Without a price, every visitor would see an error.
func (c *checker) checkPrices(r *report) {
	for _, p := range c.Pricing {
		price := strings.TrimSpace(p.Amount + " " + p.Currency)
		resolved := caddy.NewReplacer().ReplaceKnown(price, "")
		if unset := unsetIn(price); len(unset) > 0 {
			r.fail(p.Subject, fixEnvironment, "the price needs {env.%s}, which is empty: visitors would see an error 500", unset[0])
		} else if price != resolved && !strings.Contains(resolved, "{") {
			amount, currency, _ := strings.Cut(resolved, " ")
			if _, err := money.Parse(amount, strings.TrimSpace(currency)); err != nil {
				r.fail(p.Subject, "write an amount and a currency there, such as 5.00 and usd", "the price %s: %v", price, err)
			}
		}
		for _, name := range unsetIn(p.Texts...) {
			r.warn(p.Subject, fixEnvironment, "it uses {env.%s}, which is empty", name)
		}
	}
}

var envPlaceholder = regexp.MustCompile(`\{env\.([^{}]+)\}`)

// unsetIn are the variables of the environment that texts need and that are empty.
func unsetIn(texts ...string) (unset []string) {
	for _, match := range envPlaceholder.FindAllStringSubmatch(strings.Join(texts, "\n"), -1) {
		if os.Getenv(match[1]) == "" {
			unset = append(unset, match[1])
		}
	}
	return unset // each is reported once
}
