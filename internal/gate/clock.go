package gate

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Clock tells the time. A nil Clock is the system's.
type Clock func() time.Time

// Now returns the current time.
func (c Clock) Now() time.Time {
	if c != nil {
		return c()
	}
	return time.Now()
}

// Of returns when Caddy received a request. Reading the clock again would take a third of the time of a decision.
func (c Clock) Of(r *http.Request) time.Time {
	if c == nil {
		if at, ok := caddyhttp.GetVar(r.Context(), "start_time").(time.Time); ok {
			return at
		}
	}
	return c.Now()
}
