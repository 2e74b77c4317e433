// Package cli holds the commands of `caddy axra`. Most call the admin API of the Caddy that runs.
package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/preflight"
)

// Plugin does what needs the plugin's own reading of a configuration.
type Plugin struct {
	// Check examines a configuration without starting it.
	Check func(ctx context.Context, config, adapter string, live bool) *preflight.Diagnosis
}

// Command describes `caddy axra` to Caddy.
func (p Plugin) Command() caddycmd.Command {
	return caddycmd.Command{
		Name: "axra", Usage: "<command>", Short: "Manages the purchases of a paywall",
		Long: `Most commands talk to the admin API of the running Caddy, at its usual address (localhost:2019), at the one that
--address names, or at the one in the configuration that --config names. They do not look for a Caddyfile in this
folder. They print text for people, and with --json for programs.`,
		CobraFunc: p.Fill,
	}
}

// Fill gives `caddy axra` its flags and subcommands.
func (p Plugin) Fill(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringP("config", "c", "", "Configuration file; from it, the address of the admin API")
	flags.StringP("adapter", "a", "", "Name of the config adapter to apply")
	flags.String("address", "", "Address of the admin API, if --config does not say it")
	flags.Bool("json", false, "Print JSON, for programs")
	flags.Bool("csv", false, "Print tables as comma-separated values, for spreadsheets")
	keys := group(&cobra.Command{Use: "keys", Short: "Lists, rotates and removes signing keys"})
	hooks := group(&cobra.Command{Use: "webhook", Short: "Finds out how webhooks are signed, and accepts those that failed"})
	group(cmd, keys, hooks, p.checkCommand())
	parents := map[string]*cobra.Command{"keys": keys, "webhook": hooks}
	for _, o := range admin.Operations {
		words := strings.Fields(o.Name)
		cmp.Or(parents[words[0]], cmd).AddCommand(operationCommand(o, words[len(words)-1]))
	}
}

// group makes a command that only has subcommands. Without RunE, cobra would print help for a misspelled one.
func group(cmd *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(subcommands...)
	return cmd
}

func (p Plugin) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Checks a configuration before going live", Args: cobra.NoArgs,
		Long: `Reads the configuration that --config names as caddy validate does, without starting it, and reports what would keep
visitors from paying or let them in for free, each with its fix. Nothing is written, and nothing is called except a
PostgreSQL server, for reading. The exit code is 1 if there is an error; with --strict, also if there is a warning. Run
it as the user and in the environment of the service: --envfile reads the file that EnvironmentFile of systemd names.`,
	}
	live := cmd.Flags().Bool("live", false, "Call Axra and the webhook's address, too")
	strict := cmd.Flags().Bool("strict", false, "Treat warnings as errors")
	envFiles := cmd.Flags().StringSlice("envfile", nil, "Environment file(s) to load")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := loadEnvironment(*envFiles); err != nil {
			return err
		}
		if _, err := os.Stat(flag(cmd, "config")); flag(cmd, "config") != "" && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no file %s: name the configuration with --config", flag(cmd, "config"))
		}
		diagnosis := p.Check(cmd.Context(), flag(cmd, "config"), flag(cmd, "adapter"), *live)
		if isSet(cmd, "json") {
			_ = json.NewEncoder(cmd.OutOrStdout()).Encode(diagnosis) // if that fails, the reader is gone
		} else {
			diagnosis.WriteText(cmd.OutOrStdout())
		}
		if failed, warned := diagnosis.Count("error"), diagnosis.Count("warning"); failed > 0 || *strict && warned > 0 {
			return fmt.Errorf("not ready to go live (errors: %d, warnings: %d)", failed, warned)
		}
		return nil
	}
	return cmd
}

// loadEnvironment reads environment files as Caddy's own commands do. Caddy exports no function for it, so this runs
// `caddy validate`, which reads them first, with a configuration file that cannot exist.
func loadEnvironment(files []string) error {
	if len(files) == 0 {
		return nil
	}
	validate := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	caddycmd.Commands()["validate"].CobraFunc(validate)
	caddy.BufferedLog() // hides the error about that file
	validate.SetArgs([]string{"--config", "\x00", "--envfile", strings.Join(files, ",")})
	if err := validate.Execute(); err != nil && strings.Contains(err.Error(), "environment") {
		return err
	}
	return nil
}

func flag(cmd *cobra.Command, name string) string { return cmd.Flag(name).Value.String() }

func isSet(cmd *cobra.Command, name string) bool { return flag(cmd, name) == "true" }
