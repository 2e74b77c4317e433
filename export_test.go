package paywall

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// SetClock sets the plugin's clock and returns how to set it back.
func SetClock(c func() time.Time) (restore func()) {
	clock.Store(&c)
	return func() { clock.Store(nil) }
}

// UseRealClock ends SetClock.
func UseRealClock() { clock.Store(nil) }

// HangingApp is an app that was started, whose event handlers and storage hang.
func HangingApp() *App {
	return &App{
		stop: func() {}, stopped: make(chan struct{}),
		announcer: &announcer{logger: zap.NewNop(), done: make(chan struct{})},
	}
}

// NewCommand returns `caddy axra`.
func NewCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "axra", SilenceUsage: true, SilenceErrors: true}
	commands.Fill(cmd)
	return cmd
}

// RegisterMetrics registers the collectors.
func RegisterMetrics(registry *prometheus.Registry) error { return registerMetrics(registry) }

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

// MetricNames lists the names of the collectors.
func MetricNames() []string {
	var names []string
	for _, collector := range collectors {
		descriptions := make(chan *prometheus.Desc, 8)
		collector.Describe(descriptions)
		close(descriptions)
		for description := range descriptions {
			names = append(names, fqName.FindStringSubmatch(description.String())[1])
		}
	}
	return names
}

// Sweep deletes old purchases now.
func Sweep(ctx context.Context) error {
	app, err := runningApp()
	if err != nil {
		return err
	}
	_, err = app.operations().SweepLedger(ctx)
	return err
}

// PollFeeds asks the change feed of every open ledger now, as each does once a second.
func PollFeeds(ctx context.Context) error {
	var errs []error
	pool.Range(func(_, value any) bool {
		if s, ok := value.(*store); ok {
			errs = append(errs, s.access.Poll(ctx))
			select {
			case <-s.keyring.Ready():
			default:
				errs = append(errs, token.ErrNoKeys)
			}
		}
		return true
	})
	return errors.Join(errs...)
}

// KeyStore is how the plugin keeps its keys in a ledger.
func KeyStore(l *ledger.Ledger) token.Store { return keyStore{l} }

// RunningLedger is the ledger of the running configuration.
func RunningLedger() (*ledger.Ledger, error) {
	app, err := runningApp()
	if err != nil {
		return nil, err
	}
	return app.ledger, nil
}
