package paywall

import (
	"errors"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/webhook"
)

// metrics are the plugin's collectors. They live in the pool and are registered with every configuration, so counts
// survive a reload. No label's values grow with the number of visitors. docs/operations.md describes each metric.
type metrics struct {
	checkouts     *prometheus.CounterVec
	funnel        *prometheus.CounterVec
	amounts       *prometheus.CounterVec
	webhookEvents *prometheus.CounterVec
	limits        *prometheus.CounterVec
	ledgerErrors  *prometheus.CounterVec
	grace         *prometheus.CounterVec
	apiCalls      *prometheus.HistogramVec

	all  []prometheus.Collector
	used *otter.Cache[string, any] // purchases whose first use is counted
}

func newMetrics() *metrics {
	m := &metrics{used: otter.Must(&otter.Options[string, any]{MaximumSize: 10_000})}
	m.checkouts = m.counter("checkouts_total",
		"Checkout sessions by outcome: created, reused, redeemed, limited, failed.", "outcome")
	m.webhookEvents = m.counter("webhook_events_total", "Webhook deliveries by event and outcome.", "event", "outcome")
	m.funnel = m.counter("funnel_steps_total", "Steps towards a purchase, by pass: shown, checkout, paid, used.", "pass", "step")
	m.amounts = m.counter("amount_total",
		"Money in major units of the currency, by outcome: paid, refunded, disputed, dispute_won, dispute_lost.", "pass", "currency", "outcome")
	m.limits = m.counter("limits_hit_total", "Requests refused by a limit, by limit.", "limit")
	m.ledgerErrors = m.counter("ledger_errors_total",
		"Failed ledger operations: poll (change feed), read (purchase), write (webhook).", "operation")
	m.grace = m.counter("grace_requests_total", "Requests of known buyers served while the ledger could not be read.")
	m.apiCalls = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "api_call_duration_seconds",
		Help:    "Duration of calls to Axra's API (session, token), by outcome.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 7.5, 10}, // up to the client's deadline
	}, []string{"call", "outcome"})
	m.all = append(m.all, m.apiCalls,
		gauge("api_suspended", "1 while calls to Axra's API are suspended after repeated failures.", func(c *axraClient) float64 {
			if c.IsSuspended() {
				return 1
			}
			return 0
		}),
		gauge("change_feed_age_seconds", "Time since the ledger's change feed was last read; normally about one second.",
			func(n *node.Node) float64 { return n.FeedAge().Seconds() }),
		gauge("tokens_remembered", "Verified access tokens and private addresses in memory.",
			func(n *node.Node) float64 { return float64(n.Access.Size()) }))
	m.startAtZero()
	return m
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "axra", Name: name, Help: help}, labels)
	m.all = append(m.all, counter)
	return counter
}

// gauge reads the highest value of those in the pool. What has left the pool does not count, even if old requests still
// use it.
func gauge[T any](name, help string, read func(T) float64) prometheus.Collector {
	opts := prometheus.GaugeOpts{Namespace: "caddy", Subsystem: "axra", Name: name, Help: help}
	return prometheus.NewGaugeFunc(opts, func() (highest float64) {
		for _, each := range inPool[T]() {
			highest = max(highest, read(each))
		}
		return highest
	})
}

// startAtZero creates the series that are worth an alert, so that the first increase is visible.
func (m *metrics) startAtZero() {
	for _, operation := range []string{node.OperationPoll, node.OperationRead, node.OperationWrite} {
		m.ledgerErrors.WithLabelValues(operation)
	}
	m.grace.WithLabelValues()
	for _, event := range []webhook.Type{
		webhook.PaymentCompleted, webhook.LinkSessionCompleted, webhook.PaymentRefunded,
		webhook.PaymentDisputed, webhook.DisputeWon, webhook.DisputeLost,
	} {
		m.webhookEvents.WithLabelValues(string(event), outcomeNotStored)
		if event.Completes() {
			m.webhookEvents.WithLabelValues(string(event), string(payments.Mismatch))
		}
	}
}

// register registers the collectors.
func (m *metrics) register(registry *prometheus.Registry) error {
	var errs []error
	for _, collector := range m.all {
		errs = append(errs, registry.Register(collector))
	}
	return errors.Join(errs...)
}

// Destruct stops the background work of the cache.
func (m *metrics) Destruct() error {
	m.used.StopAllGoroutines()
	return nil
}

// Outcomes of webhook deliveries, beside those of payments.Outcome.
const (
	outcomeUnsigned   = "unsigned"
	outcomeUnreadable = "unreadable"
	outcomeMalformed  = "malformed"
	outcomeNotStored  = "not_stored"
)

// CountEvent counts a webhook delivery. All undocumented events share one label.
func (m *metrics) CountEvent(event webhook.Type, outcome string) {
	label := string(event)
	if !event.Known() {
		label = "other"
	}
	m.webhookEvents.WithLabelValues(label, outcome).Inc()
}

func (m *metrics) CountCheckout(outcome string)      { m.checkouts.WithLabelValues(outcome).Inc() }
func (m *metrics) CountStep(product, step string)    { m.funnel.WithLabelValues(product, step).Inc() }
func (m *metrics) CountLimit(limit string)           { m.limits.WithLabelValues(limit).Inc() }
func (m *metrics) CountLedgerError(operation string) { m.ledgerErrors.WithLabelValues(operation).Inc() }
func (m *metrics) CountGrace()                       { m.grace.WithLabelValues().Inc() } // a known buyer was served without the ledger

// StartFunnel starts the funnel of a product at zero. Call it only for a configuration that is started.
func (m *metrics) StartFunnel(product string) {
	for _, step := range []string{checkout.StepShown, checkout.StepCheckout, checkout.StepPaid, checkout.StepUsed} {
		m.funnel.WithLabelValues(product, step)
	}
}

// CountUsed counts the first use of a purchase; a program may fetch its token many times.
func (m *metrics) CountUsed(purchaseID, product string) {
	if _, isFirst := m.used.SetIfAbsent(purchaseID, nil); isFirst {
		m.CountStep(product, checkout.StepUsed)
		m.CountCheckout(checkout.OutcomeRedeemed)
	}
}

// CountCall counts a call to Axra's API.
func (m *metrics) CountCall(call session.Call) {
	m.apiCalls.WithLabelValues(call.Name, call.Outcome).Observe(call.Took.Seconds())
}

// CountAmount counts a payment, its refund, or a step of its dispute.
func (m *metrics) CountAmount(outcome payments.Outcome, payment ledger.Payment) {
	if outcome == payments.Paid {
		m.CountStep(payment.Terms.Pass, checkout.StepPaid)
	}
	m.amounts.WithLabelValues(payment.Terms.Pass, payment.Paid.Currency, string(outcome)).Add(payment.Paid.Amount.InexactFloat64())
}
