package paywall

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/caddy-axra/paywall/internal/gate"
)

// checkGates rejects gates whose public address is unknown, and gates of one site that would sell different products
// under one name.
func (a *App) checkGates() error {
	for _, name := range a.gates.expected {
		if a.settings.passes[name] == nil && !slices.ContainsFunc(a.gates.all, func(h *Handler) bool { return h.gate.Product(name) != nil }) {
			return fmt.Errorf("axra_paid: no gate sells a pass %q, and none of that name is defined in the global option axra: correct the name", name)
		}
	}
	sold := make(map[string]*Handler)
	for _, h := range a.gates.all {
		isFound := h.siteURL != "" || a.settings.siteURL != ""
		for _, server := range a.httpServers() {
			for _, hosts := range h.gate.HostsOn(server) {
				isFound = true
				if err := h.checkSite(hosts, sold); err != nil {
					return err
				}
			}
		}
		if !isFound {
			return fmt.Errorf("axra_paywall: gate %q is in a site whose address cannot be found: "+
				"add `site_url https://example.com` to the gate or to the global option axra", h.label())
		}
	}
	return nil
}

func (h *Handler) checkSite(hosts []string, sold map[string]*Handler) error {
	if h.siteURL != "" || len(hosts) == 0 {
		hosts = []string{cmp.Or(h.siteURL, h.app.settings.siteURL)}
	}
	if hosts[0] == "" {
		return fmt.Errorf("axra_paywall: gate %q is in a site without a host name, so visitors could not be sent back to it: "+
			"give the site block its host name, or add `site_url https://example.com` to the gate or to the global option axra", h.label())
	}
	if !h.sellsItself() {
		return nil // an app's pass is the same in every gate
	}
	for _, host := range hosts {
		key := gate.HostOf(host) + "\n" + h.Pass
		other := sold[key]
		if other != nil && other != h && (!other.isNamed || !h.isNamed || !other.gate.Products[0].Same(h.gate.Products[0])) {
			return fmt.Errorf("axra_paywall: two gates of %s would sell under the same name %q, "+
				"so a payment for one would open the other: add `pass NAME` to each, with a name of its own, or with the same name, price, access, per_path, downloads and devices if that is meant", host, h.Pass)
		}
		sold[key] = h
	}
	return nil
}

// gateList collects what handlers and matchers register while they are provisioned, one after the other.
type gateList struct {
	all      []*Handler
	expected []string // passes that matchers name
}
