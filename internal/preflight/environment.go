package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/ledger"
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

// checkEnvironment finds empty variables in what gates and passes say. Without a price, every visitor would see an error.
func (c *checker) checkEnvironment(r *report) {
	for _, subject := range slices.Sorted(maps.Keys(c.Options)) {
		for _, match := range envPlaceholder.FindAllStringSubmatch(c.Options[subject], -1) {
			if os.Getenv(match[1]) == "" {
				r.fail(subject, fixEnvironment, "it uses %s, which is empty", match[0])
			}
		}
	}
}

var envPlaceholder = regexp.MustCompile(`\{env\.([^{}]+)\}`)

// checkLedger looks at where the ledger is. It opens no file, and only reads from a server.
func (c *checker) checkLedger(r *report) {
	location := c.Ledger.Location
	exists, faults := c.examineLedger()
	for _, fault := range faults {
		r.add(severity(fault.IsWarning), location, fault.Fix, "%s", fault.Problem)
	}
	switch {
	case len(faults) > 0:
	case exists:
		r.ok(location, "it exists, and can be read and written")
	default:
		r.ok(location, "new: Caddy creates it when it starts. If there should be purchases, the path or URL is wrong")
	}
	if !c.Ledger.Named || c.Ledger.URL == "" && os.Geteuid() == 0 {
		r.note(location, "whether the service has the same ledger, and may write to it: run this command as its user")
	}
}

func (c *checker) examineLedger() (exists bool, faults []*ledger.Fault) {
	if c.Ledger.URL == "" {
		return ledger.CheckFile(c.Ledger.Location)
	}
	if verifies, err := ledger.VerifiesServer(c.Ledger.URL); err == nil && !verifies {
		faults = append(faults, &ledger.Fault{
			Problem:   "the server's certificate is not checked: someone on the network could change what was paid",
			Fix:       "add sslmode=verify-full to the URL, and sslrootcert=FILE if no public authority has issued it",
			IsWarning: true,
		})
	}
	ctx, cancel := context.WithTimeout(c.ctx, 3*time.Second)
	defer cancel()
	state, err := ledger.CheckServer(ctx, c.Ledger.URL)
	if err != nil {
		faults = append(faults, &ledger.Fault{
			Problem: "the server cannot be asked, so nothing could be sold: " + err.Error(),
			Fix: "start the server, let this machine reach it (name server, firewall, pg_hba.conf), " +
				"and correct user, password and database in the URL",
		})
	}
	return state.Exists, append(faults, state.Faults...)
}

// checkLogs finds logs that record addresses that open purchases.
func (c *checker) checkLogs(r *report) {
	const fix = "add the filter of docs/reference.md, \"Logs\", to the global option `log` " +
		"and to each `log` with a `format` or `output` of its own"
	for _, name := range slices.Sorted(maps.Keys(c.logs)) {
		log := c.logs[name]
		takes := func(logger string) bool {
			isAround := func(namespace string) bool { return strings.HasPrefix("http.log.access."+logger+".", namespace+".") }
			return len(log.Include) == 0 || slices.ContainsFunc(log.Include, isAround) // what it excludes, errors repeat
		}
		fields := unfiltered(log)
		for _, at := range c.places[paywall] {
			if len(fields) > 0 && slices.ContainsFunc(loggersOf(at.site.server.Logs, at.site.host), takes) {
				r.warn(at.site.host, fix, "its logs keep secret addresses in %s: private addresses, "+
					"links for other devices, returns from the checkout", strings.Join(fields, ", "))
			}
		}
	}
}

// unfiltered names the fields in which addresses occur and that the format of a log does not filter.
func unfiltered(log *caddy.CustomLog) []string {
	if bytes.Contains(log.WriterRaw, []byte(`"discard"`)) {
		return nil
	}
	var format struct{ Fields map[string]any }
	_ = json.Unmarshal(log.EncoderRaw, &format) // other formats have no such fields
	fields := []string{"request>uri", "request>headers>Referer", "resp_headers>Location"}
	return slices.DeleteFunc(fields, func(field string) bool { return format.Fields[field] != nil })
}

// loggersOf names the loggers of requests for a host, as Caddy chooses them.
func loggersOf(logs *caddyhttp.ServerLogConfig, host string) (names []string) {
	if logs == nil {
		return nil
	}
	matches := func(pattern string) bool { return certmagic.MatchWildcard(host, pattern) }
	for pattern, others := range logs.LoggerNames {
		if matches(pattern) {
			names = append(names, others...)
		}
	}
	if names == nil && !logs.SkipUnmappedHosts && !slices.ContainsFunc(logs.SkipHosts, matches) {
		names = []string{logs.DefaultLoggerName}
	}
	return names
}

// maxSkew is how far clocks may differ: times in tokens and events are compared to the second and minute.
const maxSkew = 30 * time.Second

// checkAxra sends Axra one request that creates nothing.
func (c *checker) checkAxra(r *report) {
	if c.Client == nil {
		return
	}
	probe, err := c.Client.Probe(c.ctx)
	asked := "api_key"
	if probe.Exchanged {
		asked += " and api_secret"
	}
	switch {
	case err != nil:
		r.fail(c.Endpoint, "copy key and secret again from one page of Axra's dashboard, check `endpoint`, "+
			"and whether this machine can reach it; if all is right, try again later", "asked with %s: %v", asked, err)
	case probe.Created:
		r.warn(c.Endpoint, "none: it is unpaid, costs nothing and expires", "Axra created a session over the amount 0")
	default:
		r.ok(c.Endpoint, "Axra accepts %s, and nothing was created", asked)
	}
	if skew := probe.Date.Sub(c.Now()).Round(time.Second).Abs(); !probe.Date.IsZero() && skew > maxSkew {
		r.warn("Axra", "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)",
			"its clock and this machine's differ by %s: access would begin and end at wrong times", skew)
	}
}

// checkWebhookAddresses requests the webhooks at their public addresses.
func (c *checker) checkWebhookAddresses(r *report) {
	for _, at := range c.places[webhook] {
		t := at.reached(http.MethodPost)
		if t == nil || at.takesAll(http.MethodPost) {
			continue // which is reported
		}
		if address := c.publicAddress(t); address.Host != "" {
			c.requestWebhook(r, address.String())
		}
	}
	r.note("", "the way from Axra to the webhook: it was requested from this machine, maybe behind the same firewall")
}

// requestWebhook requests a webhook by GET, which it refuses.
func (c *checker) requestWebhook(r *report, address string) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody) // the address is a URL
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request) // follows no redirect
	if err == nil {
		_ = response.Body.Close() // it is not read
		if response.StatusCode == http.StatusMethodNotAllowed && response.Header.Get("Allow") == http.MethodPost {
			r.ok(address, "the webhook answers")
			return
		}
		target, _, _ := strings.Cut(response.Header.Get("Location"), "?") // the query may hold a secret
		err = fmt.Errorf("something else does: %s %s", response.Status, target)
	}
	r.fail(address, "look at the host's DNS record, the firewall, the certificate (not one of `tls internal`), and "+
		"whether Caddy runs with this configuration; put axra_webhook before gates, passwords and redirects, or enter "+
		"in Axra the address that a redirect leads to", "the webhook does not answer: %v", err)
}
