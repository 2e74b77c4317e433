package settings

import (
	"cmp"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/session"
)

// Limits bounds how many checkout sessions are started. Others see a page that says when to try again.
type Limits struct {
	// PerClient bounds one client, by Caddy's client IP (so `trusted_proxies` applies); an IPv6 client is its /64
	// network. The default is 30 per 10m.
	PerClient Rate `json:"per_client,omitzero"`

	// Total bounds all clients together. The default is 600 per 1m.
	Total Rate `json:"total,omitzero"`
}

// Rate is a number of events within a time.
type Rate struct {
	// Events is the number of events allowed.
	Events int `json:"events"`

	// Per is the time to which the number applies.
	Per caddy.Duration `json:"per"`
}

// Rates are the configured limits, or their defaults.
func (l Limits) Rates() (perClient, total session.Rate, err error) {
	for name, rate := range map[string]Rate{"per_client": l.PerClient, "total": l.Total} {
		if rate != (Rate{}) && (rate.Events < 1 || rate.Per <= 0) {
			return perClient, total, fmt.Errorf("limit %s must allow at least one session within a time greater than zero", name)
		}
	}
	perClient = session.Rate{Events: l.PerClient.Events, Per: time.Duration(l.PerClient.Per)}
	total = session.Rate{Events: l.Total.Events, Per: time.Duration(l.Total.Per)}
	return cmp.Or(perClient, session.DefaultPerClient), cmp.Or(total, session.DefaultTotal), nil
}
