package access

import (
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// Status returns the status of the token's purchase as last read; empty if it was never read.
func (t *Token) Status(at time.Time) ledger.Status {
	if known, ok := t.Holding(); ok {
		return known.StatusAt(at)
	}
	return ""
}

// EndsAfter reports whether the token outlasts one of another purchase of the same resource.
func (t *Token) EndsAfter(other token.Access) bool {
	if t.Purchase == other.Purchase || t.Resource != other.Resource || t.DownloadLimit() > 0 {
		return false
	}
	end := t.End()
	return !other.Until.IsZero() && (end.IsZero() || end.After(other.Until))
}

// EndsEarly reports whether a token ends before its access does.
func (t *Token) EndsEarly() bool {
	end := t.End()
	return end.IsZero() || t.Expires.Before(end)
}

// Renewal returns the successor of a token that ends before its access does, once it is due.
func (t *Token) Renewal(at time.Time) (renewed token.Access, isDue bool) {
	renewed = t.Access
	end := t.End().Truncate(time.Second) // tokens store seconds
	if !renewed.Until.IsZero() && (end.IsZero() || end.After(renewed.Until)) {
		renewed.Until = end
		return renewed, true
	}
	return renewed, renewed.Stale(at)
}
