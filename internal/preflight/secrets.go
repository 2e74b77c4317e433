package preflight

import (
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/gate"
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
		isKey := s.Name == "api_key"
		secretMode := settings.KeyMode(s.Value, "bs_")
		switch {
		case isKey && strings.HasPrefix(s.Value, "bs_"), !isKey && strings.HasPrefix(s.Value, "bk_"):
			r.fail(s.Name, "swap them: a key begins with bk_, a secret with bs_", "%s is no %s", s.Placeholder, s.Name)
		case strings.ContainsAny(s.Value, " \t\r\n\"'"):
			r.fail(s.Name, "remove what does not belong to it", "%s holds spaces or quotation marks", s.Placeholder)
		case c.KeyMode != "" && secretMode != "" && secretMode != c.KeyMode:
			r.fail(s.Name, "take key and secret from the same page of Axra's dashboard",
				"a %s secret beside a %s key: no event of a payment would verify", secretMode, c.KeyMode)
		}
	}
	endpoint, _ := url.Parse(c.Endpoint) // it was built from a URL
	switch {
	case c.KeyMode == "sandbox":
		r.warn("api_key", "before going live, put in the live key and secret", "it is a test key: it takes no real money")
	case c.Client != nil && settings.EndpointMode(endpoint.Hostname()) == "":
		r.warn("endpoint", "leave out `endpoint` to use Axra's own", "%s is none of Axra's addresses", endpoint.Host)
	}
}

// checkPrices finds empty placeholders of the environment. Without a price, every visitor would see an error.
func (c *checker) checkPrices(r *report) {
	replacer := caddy.NewReplacer()
	for _, o := range c.Offers {
		amount, currency := replacer.ReplaceKnown(o.Price.Amount, ""), replacer.ReplaceKnown(o.Price.Currency, "")
		_, err := money.Parse(amount, currency)
		if err != nil && o.Price != (gate.Price{}) && !strings.Contains(amount+currency, "{") {
			r.fail(o.Subject, "put an amount and a currency there, such as 5.00 and usd; "+fixEnvironment,
				"the price %s %s is none: %v", o.Price.Amount, o.Price.Currency, err)
		}
		for _, match := range envPlaceholder.FindAllStringSubmatch(o.Options, -1) {
			if os.Getenv(match[1]) == "" {
				r.warn(o.Subject, fixEnvironment, "it uses %s, which is empty", match[0])
			}
		}
	}
}

var envPlaceholder = regexp.MustCompile(`\{env\.([^{}]+)\}`)
