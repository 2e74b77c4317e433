package settings

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/session"
)

// Limits bounds how many checkout sessions are started. A visitor beyond a
// limit sees a page that says when to try again.
type Limits struct {
	// PerClient bounds one client, by Caddy's client IP (so `trusted_proxies`
	// applies); an IPv6 client is its /64 network. The default is 30 per 10m.
	PerClient *Rate `json:"per_client,omitempty"`

	// Total bounds all clients together. The default is 600 per 1m.
	Total *Rate `json:"total,omitempty"`
}

// Rate is a number of events within a time.
type Rate struct {
	// Events is the number of events allowed.
	Events int `json:"events"`

	// Per is the time to which the number applies.
	Per caddy.Duration `json:"per"`
}

// Rates are the configured limits, or their defaults.
func (l *Limits) Rates() (perClient, total session.Rate, err error) {
	if l == nil {
		l = new(Limits)
	}
	perClient, perClientErr := l.PerClient.or(session.DefaultPerClient, "per_client")
	total, totalErr := l.Total.or(session.DefaultTotal, "total")
	return perClient, total, errors.Join(perClientErr, totalErr)
}

func (r *Rate) or(byDefault session.Rate, name string) (session.Rate, error) {
	switch {
	case r == nil:
		return byDefault, nil
	case r.Events < 1 || r.Per <= 0:
		return byDefault, fmt.Errorf("limit %s must allow at least one session within a time greater than zero", name)
	}
	return session.Rate{Events: r.Events, Per: time.Duration(r.Per)}, nil
}
