package paywall

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [--config <path>] [--adapter <name>] [--envfile <path>] [--live] [--strict]",
		Short: "Checks a configuration before going live",
		Long: `
Reads a configuration as caddy validate does, without starting it, and reports what
would keep visitors from paying or let them in for free, each with its fix.

Nothing is written, and nothing is called but a PostgreSQL server, for reading. (Caddy itself creates its local
authority where a site needs one, as it does for caddy validate.) With --live, Axra is sent one request that
creates nothing, and the addresses of the webhooks are requested.

The exit code is 1 if there is an error; with --strict, if there is a warning too.
Run it as the user and in the environment of the service: --envfile reads the file
that EnvironmentFile of systemd names.`,
		Args: cobra.NoArgs,
		RunE: runCheck,
	}
	atDesk(cmd, "Configuration file to check")
	flags := cmd.Flags()
	flags.Bool("live", false, "Call Axra and the webhook's address, too")
	flags.Bool("strict", false, "Treat warnings as errors")
	return cmd
}

// errFindings is what makes the exit code 1.
var errFindings = errors.New("not ready to go live")

func runCheck(cmd *cobra.Command, _ []string) error {
	flags := cmd.Flags()
	config, _ := flags.GetString("config")
	adapter, _ := flags.GetString("adapter")
	live, _ := flags.GetBool("live")
	strict, _ := flags.GetBool("strict")

	caddy.BufferedLog() // what is logged until provisionFor discards logs
	diagnosis := examine(cmd.Context(), config, adapter, live)
	if err := diagnosis.print(cmd); err != nil {
		return err
	}
	if failed := diagnosis.count(levelError); failed > 0 || strict && diagnosis.count(levelWarning) > 0 {
		return fmt.Errorf("%w (errors: %d, warnings: %d)", errFindings, failed, diagnosis.count(levelWarning))
	}
	return nil
}

// loadEnvironment reads environment files as Caddy's own commands do. Caddy exports no
// function for it, so that its `validate` is asked, with a configuration file that
// cannot exist: it reads the environment first.
func loadEnvironment(files []string) error {
	if len(files) == 0 {
		return nil
	}
	validate := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	caddycmd.Commands()["validate"].CobraFunc(validate)
	caddy.BufferedLog() // that such a file cannot be read is no news
	args := []string{"--config", "\x00"}
	for _, file := range files {
		args = append(args, "--envfile", file)
	}
	validate.SetArgs(args)
	if err := validate.Execute(); err != nil && strings.Contains(err.Error(), "environment") {
		return err
	}
	return nil
}
