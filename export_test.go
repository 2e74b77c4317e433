package paywall

import (
	"time"

	"github.com/spf13/cobra"
)

// SetClock sets the plugin's clock and returns how to set it back.
func SetClock(c func() time.Time) (restore func()) {
	clock.Store(&c)
	return func() { clock.Store(nil) }
}

// NewCommand returns `caddy axra`.
func NewCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "axra", SilenceUsage: true, SilenceErrors: true}
	fill(cmd)
	return cmd
}
