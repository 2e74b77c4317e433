package paywall

import (
	"context"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
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
	fill(cmd)
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

// SweepIfDue lets the running configuration look whether a sweep is due.
func SweepIfDue(ctx context.Context) error {
	app, err := runningApp()
	if err != nil {
		return err
	}
	return app.sweepIfDue(ctx)
}

// ProbeStorage is what `caddy axra check` tries a storage with.
var ProbeStorage = probeStorage

// HeardOf names what the running node has heard about a session; it changes whenever that
// is more.
func HeardOf(session string) (string, error) {
	app, err := runningApp()
	if err != nil {
		return "", err
	}
	return app.shared.heard.edition(session), nil
}
