package paywall

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkGates refuses gates whose public address nothing tells, and gates of one
// site that would sell different things under one name.
func (a *App) checkGates() error {
	a.gates.mu.Lock()
	defer a.gates.mu.Unlock()
	servers := a.httpServers()
	for _, name := range a.gates.expected {
		if a.settings.passes[name] == nil && !slices.ContainsFunc(a.allGates(), func(h *Handler) bool { return h.gate.Product(name) != nil }) {
			return fmt.Errorf("axra_paid: no gate sells a pass %q, and none of that name is defined in the global option axra%s: correct the name",
				name, a.definedPasses())
		}
	}
	sold := make(map[string]*Handler)
	for _, h := range a.allGates() {
		places := 0
		for _, server := range servers {
			for _, hosts := range h.gate.Sites.HostsOn(server) {
				places++
				if err := h.checkPlace(hosts, sold); err != nil {
					return err
				}
			}
		}
		if places == 0 && h.siteURL == "" && a.settings.siteURL == "" {
			return fmt.Errorf("axra_paywall: gate %q stands where its site's address cannot be found: "+
				"add `site_url https://example.com` to the gate or to the global option axra", h.label())
		}
	}
	return nil
}

func (h *Handler) checkPlace(hosts []string, sold map[string]*Handler) error {
	switch {
	case h.siteURL != "":
		hosts = []string{h.siteURL}
	case len(hosts) == 0 && h.app.settings.siteURL != "":
		hosts = []string{h.app.settings.siteURL}
	case len(hosts) == 0:
		return fmt.Errorf("axra_paywall: gate %q stands in a site without a host name, so visitors could not be sent back to it: "+
			"give the site block its host name, or add `site_url https://example.com` to the gate or to the global option axra", h.label())
	}
	if !h.sellsItself() {
		return nil // passes of the app are the same everywhere
	}
	for _, host := range hosts {
		key := gate.HostOf(host) + "\n" + h.Pass
		other := sold[key]
		if other != nil && other != h && (!other.isNamed || !h.isNamed || !other.gate.Products[0].Same(h.gate.Products[0])) {
			return fmt.Errorf("axra_paywall: two gates of %s would sell under the one name %q, "+
				"so that who pays for one would open the other: add `pass NAME` to each, with a name of its own, or with the same name, price, access, per_path, downloads and devices if that is meant", host, h.Pass)
		}
		sold[key] = h
	}
	return nil
}

func (a *App) httpServers() map[string]*caddyhttp.Server {
	if app := a.httpApp(); app != nil {
		return app.Servers
	}
	return nil
}

// gateList is what handlers and matchers tell the app while they are provisioned.
type gateList struct {
	mu       sync.Mutex
	all      atomic.Pointer[[]*Handler] // read by matchers on every request
	expected []string                   // passes that matchers name

	isStarted    atomic.Bool
	keepRejected atomic.Bool // a webhook keeps rejected requests
}

// register adds a gate to those that Start checks.
func (a *App) register(h *Handler) {
	a.gates.mu.Lock()
	defer a.gates.mu.Unlock()
	gates := append(slices.Clone(a.allGates()), h)
	a.gates.all.Store(&gates)
}

func (a *App) allGates() []*Handler {
	if gates := a.gates.all.Load(); gates != nil {
		return *gates
	}
	return nil
}

// expect makes Start look for gates that sell the passes. Later it does nothing: an
// expression with a placeholder makes a matcher for each request.
func (a *App) expect(passes []string) {
	if a.gates.isStarted.Load() {
		return
	}
	a.gates.mu.Lock()
	defer a.gates.mu.Unlock()
	a.gates.expected = append(a.gates.expected, passes...)
}

// definedPasses lists the app's passes for an error.
func (a *App) definedPasses() string {
	if len(a.settings.passes) == 0 {
		return ""
	}
	return " (there are " + strings.Join(slices.Sorted(maps.Keys(a.settings.passes)), ", ") + ")"
}
