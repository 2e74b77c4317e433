package session

import (
	"context"
	"errors"
	"time"
)

// Paths of Axra's API, below the endpoint.
const (
	pathSession = "/business/payment/session"
	pathToken   = "/business/auth/token" //nolint:gosec // no credential
)

// Call is a finished call to Axra's API. A checkout session may take several: the
// exchange for an access token, and retries.
type Call struct {
	Name    string // one of CallNames
	Outcome string // one of CallOutcomes
	Took    time.Duration
}

var callNames = map[string]string{pathSession: "session", pathToken: "token"}

// CallNames lists the calls: creating a checkout session, and exchanging key and secret
// for an access token.
func CallNames() []string { return []string{"session", "token"} }

// Outcomes of calls.
const (
	callOK          = "ok"
	callUnavailable = "unavailable" // 5xx, no connection, or an unusable answer
	callTimeout     = "timeout"     // no answer in time
	callThrottled   = "throttled"   // 429
	callCredentials = "credentials" // 401 or 403
	callRefused     = "refused"     // any other 4xx, or success: false
	callLeft        = "left"        // the visitor did not wait
)

// CallOutcomes lists how a call may end.
func CallOutcomes() []string {
	return []string{callOK, callUnavailable, callTimeout, callThrottled, callCredentials, callRefused, callLeft}
}

func outcomeOf(ctx context.Context, err error) string {
	var wait *retryLater
	switch {
	case err == nil:
		return callOK
	case errors.As(err, &wait):
		return callThrottled
	case errors.Is(err, ErrCredentials):
		return callCredentials
	case errors.Is(err, ErrRefused):
		return callRefused
	case errors.Is(ctx.Err(), context.Canceled):
		return callLeft
	case ctx.Err() != nil:
		return callTimeout
	}
	return callUnavailable
}
