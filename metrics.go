package paywall

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// The collectors are made once and registered on the registry of every
// configuration, so that counts go on over a reload. docs/operations.md says what
// each means; no label grows with visitors.
var (
	checkouts = newCounter("checkouts_total",
		"Checkout sessions by what became of them: created, reused, redeemed, limited, failed.", "outcome")
	webhookEvents = newCounter("webhook_events_total",
		"Webhook deliveries by event and outcome.", "event", "outcome")
	funnel = newCounter("funnel_steps_total",
		"Steps towards a purchase, by pass: shown, checkout, paid, used.", "pass", "step")
	paidAmount = newCounter("paid_amount_total",
		"Money paid, in major units of the currency.", "pass", "currency")
	refundedAmount = newCounter("refunded_amount_total",
		"Money of payments that were refunded, in major units of the currency.", "pass", "currency")
	disputedAmount = newCounter("disputed_amount_total",
		"Money of payments in dispute, by outcome (opened, won, lost), in major units of the currency.", "pass", "currency", "outcome")
	disputes = newCounter("disputes_total",
		"Disputes by outcome: opened, won, lost.", "pass", "outcome")
	apiCalls = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "api_call_duration_seconds",
		Help:    "Calls of Axra's API (session, token) by outcome, with their durations.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 7.5, 10}, // the client's deadline
	}, []string{"call", "outcome"})
	apiSuspended = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "api_suspended",
		Help: "1 while calls of Axra's API are suspended after repeated failures.",
	}, anySuspended)
	limitsHit = newCounter("limits_hit_total",
		"Requests that a limit turned away, by limit.", "limit")
	ledgerErrors = newCounter("ledger_errors_total",
		"Operations of the ledger that failed: poll of the change feed, read of a purchase, write of a webhook.", "operation")
	graceVerdicts = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "grace_verdicts_total",
		Help: "Requests of known buyers that were let in while the ledger could not be read.",
	})
	feedAge = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "feed_age_seconds",
		Help: "Time since the ledger's change feed was last read; every second while all is well.",
	}, oldestFeed)
	tokensRemembered = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "tokens_remembered",
		Help: "Access tokens and private addresses held in memory after their signatures were verified.",
	}, countRemembered)
)

var collectors = []prometheus.Collector{
	checkouts, webhookEvents, funnel, paidAmount, refundedAmount, disputedAmount, disputes,
	apiCalls, apiSuspended, limitsHit, ledgerErrors, graceVerdicts, feedAge, tokensRemembered,
}

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "axra", Name: name, Help: help,
	}, labels)
}

// beginAtZero makes the series whose labels are known beforehand, so that the first
// increase is seen.
func beginAtZero() {
	for _, outcome := range []string{outcomeCreated, outcomeReused, outcomeRedeemed, outcomeLimited, outcomeFailed} {
		checkouts.WithLabelValues(outcome)
	}
	for _, limit := range []string{
		string(session.PerClient), string(session.Total), limitConcurrent, limitClaims, limitPreview, limitPreviewParts, limitDownloads, limitDevices,
	} {
		limitsHit.WithLabelValues(limit)
	}
	for _, operation := range []string{operationPoll, operationRead, operationWrite} {
		ledgerErrors.WithLabelValues(operation)
	}
	for _, event := range storedEvents {
		countsFrom(event, outcomeNotStored)
		if event.Completes() {
			countsFrom(event, outcomeMismatch)
		}
	}
	for _, call := range session.CallNames() {
		for _, outcome := range session.CallOutcomes() {
			apiCalls.WithLabelValues(call, outcome)
		}
	}
}

func registerMetrics(registry *prometheus.Registry) error {
	if registry == nil {
		return nil
	}
	beginAtZero()
	for _, collector := range collectors {
		var known prometheus.AlreadyRegisteredError
		if err := registry.Register(collector); err != nil && !errors.As(err, &known) {
			return err
		}
	}
	return nil
}

// Outcomes of checkout sessions.
const (
	outcomeCreated  = "created"
	outcomeReused   = "reused"
	outcomeRedeemed = "redeemed"
	outcomeLimited  = "limited"
	outcomeFailed   = "failed"
)

func countCheckout(outcome string) { checkouts.WithLabelValues(outcome).Inc() }

// Outcomes of webhooks that are worth an alert.
const (
	outcomeNotStored = "not_stored"
	outcomeMismatch  = "mismatch"
)

// storedEvents are those that change the ledger.
var storedEvents = []webhook.Type{
	webhook.PaymentCompleted, webhook.LinkSessionCompleted, webhook.PaymentRefunded,
	webhook.PaymentDisputed, webhook.DisputeWon, webhook.DisputeLost,
}

func countsFrom(name webhook.Type, outcome string) {
	webhookEvents.WithLabelValues(string(name), outcome)
}

// countEvent keeps the labels few: what Axra does not document is "other".
func countEvent(name webhook.Type, outcome string) {
	label := string(name)
	if !name.Known() {
		label = "other"
	}
	webhookEvents.WithLabelValues(label, outcome).Inc()
}

// Steps of the funnel.
const (
	stepShown    = "shown"    // a person was turned away and saw what there is to buy
	stepCheckout = "checkout" // a checkout session was created
	stepPaid     = "paid"     // the payment was confirmed
	stepUsed     = "used"     // the buyer got in
)

func countStep(pass, step string) { funnel.WithLabelValues(pass, step).Inc() }

// beginSteps lets the funnel of what is on sale begin at zero, once it is: a
// configuration that is only tried sells nothing.
func beginSteps(products []*gate.Product) {
	for _, product := range products {
		for _, step := range []string{stepShown, stepCheckout, stepPaid, stepUsed} {
			funnel.WithLabelValues(product.Name, step)
		}
	}
}

// countUsed counts the first use of a purchase. What was used is remembered within
// bounds: a program may fetch its token as often as it asks.
func (a *App) countUsed(purchaseID, pass string) {
	if _, first := a.store.used.SetIfAbsent(purchaseID, new(struct{})); first {
		countStep(pass, stepUsed)
		countCheckout(outcomeRedeemed)
	}
}

// Limits, beside those of session.Limiter.
const (
	limitConcurrent   = "concurrent" // visitors who wait for Axra at once
	limitClaims       = "claims"
	limitPreview      = "preview"
	limitPreviewParts = "preview_parts"
	limitDownloads    = "downloads" // of one purchase
	limitDevices      = "devices"   // of one purchase
)

func countLimit(limit string) { limitsHit.WithLabelValues(limit).Inc() }

// newLimiter counts its refusals: under one name, or by the bound that refused.
func newLimiter(perClient, total session.Rate, name string) *session.Limiter {
	limiter := session.NewLimiter(perClient, total, now)
	limiter.OnLimit = func(by session.Bound) {
		if name != "" {
			countLimit(name)
			return
		}
		countLimit(string(by))
	}
	return limiter
}

// Operations of the ledger that may fail.
const (
	operationPoll  = "poll"
	operationRead  = "read"
	operationWrite = "write"
)

func countCall(call session.Call) {
	apiCalls.WithLabelValues(call.Name, call.Outcome).Observe(call.Took.Seconds())
}

func countPaid(payment ledger.Payment) {
	countStep(payment.Terms.Pass, stepPaid)
	paidAmount.WithLabelValues(payment.Terms.Pass, payment.Paid.Currency).Add(payment.Paid.Amount.InexactFloat64())
}

// disputeOutcomes are the outcomes of disputes, as labels and in events.
var disputeOutcomes = map[ledger.EventKind]string{
	ledger.EventDisputed: "opened", ledger.EventDisputeWon: "won", ledger.EventDisputeLost: "lost",
}

// countOutcome counts a refund or a step of a dispute about a payment that is known.
// What the operator has decided is none.
func countOutcome(kind ledger.EventKind, sold ledger.Payment) {
	pass, currency, amount := sold.Terms.Pass, sold.Paid.Currency, sold.Paid.Amount.InexactFloat64()
	if kind == ledger.EventRefunded {
		refundedAmount.WithLabelValues(pass, currency).Add(amount)
		return
	}
	if outcome, ok := disputeOutcomes[kind]; ok {
		disputes.WithLabelValues(pass, outcome).Inc()
		disputedAmount.WithLabelValues(pass, currency, outcome).Add(amount)
	}
}

// checkoutMetrics counts for the gates' flows.
type checkoutMetrics struct{ app *App }

func (checkoutMetrics) CountCheckout(outcome string)   { countCheckout(outcome) }
func (checkoutMetrics) CountStep(product, step string) { countStep(product, step) }
func (checkoutMetrics) CountLimit(limit string)        { countLimit(limit) }

func (m checkoutMetrics) CountUsed(purchaseID, product string) { m.app.countUsed(purchaseID, product) }
