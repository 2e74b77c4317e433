package paywall

import (
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strings"

	gates "github.com/caddy-axra/paywall/internal/gate"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/money"
)

// checkSecrets looks at what Axra has given out. Values are compared, never shown.
func (e *examination) checkSecrets() []finding {
	found := &remarks{check: "secrets"}
	all := e.app.placeholders()
	for _, secret := range all {
		checkSecretFile(found, secret)
		checkSecretKind(found, secret)
	}
	switch {
	case e.app.APIKey == "":
		found.warn("api_key", "add `api_key {env.AXRA_API_KEY}`, unless this Caddy only receives webhooks", "there is none, so nothing can be sold here")
	case len(e.app.verifier.Secrets) == 0:
		found.warn("webhook_secret", "add `webhook_secret {env.AXRA_WEBHOOK_SECRET}`, unless another Caddy with the same `database` receives the webhooks",
			"there is none, so no payment can be confirmed here")
	}
	return found.orOK("%d are set", len(all))
}

// checkSecretKind finds secrets in each other's place.
func checkSecretKind(found *remarks, secret configuredSecret) {
	value, err := resolveSecret(secret.name, secret.value)
	if err != nil {
		return
	}
	switch isKey, isSecret := strings.HasPrefix(value, "bk_"), strings.HasPrefix(value, "bs_"); {
	case isKey && secret.name != "api_key":
		found.fail(secret.name, "put the secret there, which begins with bs_", "%s holds an API key, which begins with bk_", secret.value)
	case isSecret && secret.name == "api_key":
		found.fail(secret.name, "put the key there, which begins with bk_", "%s holds a secret, which begins with bs_", secret.value)
	case strings.ContainsAny(value, " \t\r\n\"'"):
		found.fail(secret.name, "remove what does not belong to it", "%s holds spaces or quotation marks", secret.value)
	}
}

func checkSecretFile(found *remarks, secret configuredSecret) {
	if path, isFile := strings.CutPrefix(strings.TrimSuffix(secret.value, "}"), "{file."); isFile {
		checkReaders(found, secret.name, path, path)
	}
}

// checkReaders finds files that everybody can read; name is how the file is shown.
func checkReaders(found *remarks, subject, path, name string) {
	if runtime.GOOS == "windows" {
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		found.warn(subject, "chmod 600 "+name, "%s can be read by every user of this machine", name)
	}
}

// checkEndpoint compares key, secrets and endpoint; what cannot work at all Caddy has
// refused before.
func (e *examination) checkEndpoint() []finding {
	found := &remarks{check: "endpoint"}
	all, err := e.app.resolveSecrets()
	if err != nil || all.key == "" {
		return nil
	}
	mode := keyMode(all.key, "bk_")
	for _, secret := range all.webhook { // as they are given out; the verifier may have decoded them
		if other := keyMode(string(secret), "bs_"); mode != "" && other != "" && other != mode {
			found.fail("webhook_secret", "take key and secret from the same page of Axra's dashboard",
				"a %s secret beside a %s key: no event of a payment would verify, or one of a test payment would", other, mode)
		}
	}
	host := e.app.endpoint
	if parsed, err := url.Parse(host); err == nil {
		host = parsed.Host
	}
	switch at := endpointMode(gates.HostOf("https://" + host)); {
	case mode == sandbox:
		found.warn("api_key", "before going live, put in the live key and secret", "it is a test key: %s takes no real money", host)
	case at == "":
		found.warn("endpoint", "leave out `endpoint` to use Axra's own", "%s is none of Axra's addresses", host)
	}
	return found.orOK("key, secrets and %s belong together", host)
}

var envPlaceholder = regexp.MustCompile(`\{env\.([^{}]+)\}`)

// checkPrices finds placeholders of the environment that are empty: what a gate sells
// would have no price, and every visitor would see an error.
func (e *examination) checkPrices() []finding {
	found := &remarks{check: "prices"}
	for name, offer := range e.app.Passes {
		checkOffer(found, "pass "+name, *offer)
	}
	for _, gate := range e.app.allGates() {
		subject := "gate " + gate.label()
		checkOffer(found, subject, gate.Offer)
		checkOptions(found, subject, gate)
	}
	sort.SliceStable(found.list, func(i, j int) bool { return found.list[i].Subject < found.list[j].Subject })
	return found.orOK("no placeholder of the environment is empty")
}

func checkOffer(found *remarks, subject string, offer Offer) {
	price := offer.Price.Amount + " " + offer.Price.Currency
	for _, name := range unsetIn(price) {
		found.fail(subject, "set it in the environment of the service, or add --envfile FILE if it is there", "the price needs {env.%s}, which is empty: visitors would see an error 500", name)
		return
	}
	if !strings.Contains(price, "{env.") {
		return // read by money.Parse already, or from other placeholders
	}
	resolved := caddy.NewReplacer().ReplaceKnown(price, "")
	amount, currency, _ := strings.Cut(resolved, " ")
	if strings.Contains(resolved, "{") {
		return
	}
	if _, err := money.Parse(strings.TrimSpace(amount), strings.TrimSpace(currency)); err != nil {
		found.fail(subject, "write an amount and a currency there, such as 5.00 and usd", "the price %s: %v", price, err)
	}
}

// checkOptions looks at what else a gate says with placeholders.
func checkOptions(found *remarks, subject string, gate *Handler) {
	options := []string{gate.Description, gate.Key, gate.CustomerEmail, gate.CancelURL}
	for _, value := range gate.Metadata {
		options = append(options, value)
	}
	slices.Sort(options)
	for _, name := range unsetIn(strings.Join(options, "\n")) {
		found.warn(subject, "set it in the environment of the service, or add --envfile FILE if it is there", "it uses {env.%s}, which is empty", name)
	}
}

// unsetIn are the variables of the environment that a text needs and that are empty.
func unsetIn(text string) []string {
	var unset []string
	for _, match := range envPlaceholder.FindAllStringSubmatch(text, -1) {
		if os.Getenv(match[1]) == "" && !slices.Contains(unset, match[1]) {
			unset = append(unset, match[1])
		}
	}
	return unset
}
