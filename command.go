package paywall

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "axra",
		Usage: "<command>",
		Short: "Looks after the purchases of a paywall",
		Long: `
Looks after the purchases and the keys of a paywall by axra_paywall, checks its
configuration, and finds out how webhooks are signed.

Most commands talk to the admin API of the Caddy that runs, at its usual address
(localhost:2019), at that of --address, or at the one that the configuration of
--config says. Unlike caddy reload, they look for no Caddyfile in this folder.

They print for people; with --json one JSON document for programs, and list one JSON
object a line. Long ones show their progress on a terminal.`,
		CobraFunc: fill,
	})
}

// fill gives `caddy axra` its flags and subcommands.
func fill(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringP("config", "c", "", "Configuration file; from it, the address of the admin API")
	flags.StringP("adapter", "a", "", "Name of the config adapter to apply")
	flags.String("address", "", "Address of the admin API, if --config does not say it")
	flags.Bool("json", false, "Print JSON, for programs")
	group(cmd, subcommands()...)
}

// group makes a command that has subcommands only; by itself cobra would take a
// misspelt one for a question.
func group(cmd *cobra.Command, subcommands ...*cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(subcommands...)
}

// subcommands are those of `caddy axra`.
func subcommands() []*cobra.Command {
	return []*cobra.Command{
		listCommand(), showCommand(), revokeCommand(), restoreCommand(), removeDeviceCommand(), giveCommand(), linkCommand(),
		reportCommand(), backupCommand(), restoreBackupCommand(), exportCommand(), importCommand(), sweepCommand(),
		keysCommand(), webhookCommand(), checkCommand(),
	}
}

// errNoAdmin: nothing answers where the admin API should be.
var errNoAdmin = errors.New("the admin API cannot be reached: is Caddy running? If its address is not the usual one, add --address or --config")

// callAdmin makes a call to the admin API of the running Caddy; an answer that is no
// success is an error. The caller closes the body.
func callAdmin(cmd *cobra.Command, method, path string, body io.Reader) (*http.Response, error) {
	address, _ := cmd.Flags().GetString("address")
	config, _ := cmd.Flags().GetString("config")
	adapter, _ := cmd.Flags().GetString("adapter")
	address, err := caddycmd.DetermineAdminAPIAddress(address, nil, config, adapter)
	if err != nil {
		return nil, err
	}
	response, err := caddycmd.AdminAPIRequest(address, method, path, nil, body)
	if err != nil && strings.HasPrefix(err.Error(), "performing request") {
		return nil, fmt.Errorf("%w (%s): %w", errNoAdmin, address, err)
	}
	return response, unpacked(err)
}

// unpacked takes an error of the admin API out of the JSON that Caddy has put it in.
func unpacked(err error) error {
	if err == nil {
		return nil
	}
	_, answer, _ := strings.Cut(err.Error(), "caddy responded with error: HTTP ")
	_, body, _ := strings.Cut(answer, ": ")
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &said) != nil || said.Error == "" {
		return err
	}
	return errors.New(clean(said.Error))
}

// atDesk is for commands that need no Caddy that runs: they take a configuration, and
// refuse the address of an admin API, which would change nothing.
func atDesk(cmd *cobra.Command, configUsage string) {
	flags := cmd.Flags()
	flags.StringP("config", "c", "", configUsage)
	flags.StringP("adapter", "a", "", "Name of the config adapter to apply")
	flags.StringSlice("envfile", nil, "Environment file(s) to load")
	flags.String("address", "", "")
	_ = flags.MarkHidden("address") // it was defined a line above
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("address") {
			return fmt.Errorf("%s talks to no Caddy that runs: leave out --address, and name the configuration with --config", cmd.Name())
		}
		files, _ := cmd.Flags().GetStringSlice("envfile")
		if err := loadEnvironment(files); err != nil {
			return err
		}
		return run(cmd, args)
	}
}

// callAdminJSON makes a call and decodes its answer.
func callAdminJSON(cmd *cobra.Command, method, path string, body io.Reader, into any) error {
	response, err := callAdmin(cmd, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of the admin API: %w", err)
	}
	return nil
}

func wantsJSON(cmd *cobra.Command) bool {
	asked, _ := cmd.Flags().GetBool("json")
	return asked
}

// printJSON prints a value for programs.
func printJSON(cmd *cobra.Command, value any) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// table prints rows of cells that end with tabs, for people.
func table(cmd *cobra.Command) *tabwriter.Writer {
	return tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
}
