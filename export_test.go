package paywall

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

var newRealApp = newApp

// SetClock gives the apps of later configurations a clock and returns how to undo that.
func SetClock(now func() time.Time) (restore func()) {
	newApp = func() *App { return &App{clock: now} }
	return UseRealClock
}

// UseRealClock undoes SetClock.
func UseRealClock() {
	newApp = newRealApp
}

// NewCommand returns `caddy axra`.
func NewCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "axra", SilenceUsage: true, SilenceErrors: true}
	commands.Fill(cmd)
	return cmd
}

// RegisterMetrics registers the collectors.
func RegisterMetrics(registry *prometheus.Registry) error {
	for _, m := range inPool[*metrics]() {
		return m.register(registry)
	}
	return newMetrics().register(registry)
}

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

// MetricNames lists the names of the collectors.
func MetricNames() []string {
	var names []string
	for _, collector := range newMetrics().all {
		descriptions := make(chan *prometheus.Desc, 8)
		collector.Describe(descriptions)
		close(descriptions)
		for description := range descriptions {
			names = append(names, fqName.FindStringSubmatch(description.String())[1])
		}
	}
	return names
}

// PollFeeds asks the change feed of every open ledger now, as each does once a second.
func PollFeeds(ctx context.Context) error {
	var errs []error
	for _, n := range inPool[*node.Node]() {
		errs = append(errs, n.Access.Poll(ctx))
		select {
		case <-n.Keys.Ready():
		default:
			errs = append(errs, token.ErrNoKeys)
		}
	}
	return errors.Join(errs...)
}

// RunningLedger is the ledger of the running configuration.
func RunningLedger() (*ledger.Ledger, error) {
	app, err := runningApp()
	if err != nil {
		return nil, err
	}
	return app.shared.node.Ledger, nil
}
