package paywall

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-axra/paywall/webhook"
)

// The collectors are made once and registered on the registry of every
// configuration, so that counts go on over a reload.
var (
	checkouts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "checkouts_total",
		Help: "Checkout sessions by what became of them: created, reused, redeemed, limited, failed.",
	}, []string{"outcome"})
	events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "axra", Name: "webhook_events_total",
		Help: "Webhook deliveries by event and outcome.",
	}, []string{"event", "outcome"})
)

func registerMetrics(registry *prometheus.Registry) error {
	if registry == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{checkouts, events} {
		var known prometheus.AlreadyRegisteredError
		if err := registry.Register(collector); err != nil && !errors.As(err, &known) {
			return err
		}
	}
	return nil
}

func (a *App) count(counter *prometheus.CounterVec, outcome string) {
	counter.WithLabelValues(outcome).Inc()
}

// countEvent keeps the labels few: what Axra does not document is "other".
func (a *App) countEvent(name webhook.Type, outcome string) {
	label := string(name)
	if !name.Known() {
		label = "other"
	}
	events.WithLabelValues(label, outcome).Inc()
}
