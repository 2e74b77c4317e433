package paywall

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "axra",
		Usage: "<command>",
		Short: "Looks after the payments of a paywall",
		Long: `
Looks after the payments and the keys of a paywall by axra_paywall, checks its
configuration, and finds out how webhooks are signed.

Most commands talk to the admin API of the Caddy that runs: as with caddy reload,
--address or --config say where that is. They print for people; with --json, for
programs.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(subcommands()...)
		},
	})
}

// subcommands are those of `caddy axra`.
func subcommands() []*cobra.Command {
	return []*cobra.Command{}
}
