package paywall

import (
	"context"
	"time"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// judge says whether a token still opens its resource.
func (a *App) judge(ctx context.Context, t *access.Token, at time.Time) access.Decision {
	verdict := a.access.Judge(ctx, t, at, a.bounds)
	if verdict == access.Open && !a.access.IsFresh(a.bounds.Recheck) {
		graceVerdicts.Inc()
	}
	return verdict
}

// statusOf is the status of the purchase behind a token, as it was last read.
func statusOf(t *access.Token) ledger.Status {
	if known, ok := t.Holding(); ok {
		return known.StatusAt(now())
	}
	return ""
}

// endsAfter reports whether a token is better kept than replaced by another purchase of the same.
func endsAfter(t *access.Token, other token.Access) bool {
	if t.Purchase == other.Purchase || t.Resource != other.Resource || t.DownloadLimit() > 0 {
		return false
	}
	end := t.End()
	return !other.Until.IsZero() && (end.IsZero() || end.After(other.Until))
}

// endsEarly reports whether a token ends before its access does.
func endsEarly(t *access.Token) bool {
	end := t.End()
	return end.IsZero() || t.Expires.Before(end)
}

// renewal is the token in place of one that ends before its access does.
func renewal(t *access.Token, at time.Time) (renewed token.Access, isDue bool) {
	renewed = t.Access
	end := t.End().Truncate(time.Second) // a token knows whole seconds
	if !renewed.Until.IsZero() && (end.IsZero() || end.After(renewed.Until)) {
		renewed.Until = end
		return renewed, true
	}
	return renewed, renewed.Stale(at)
}
