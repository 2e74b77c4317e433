package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/webhook"
)

func (p Plugin) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect <file>", Short: "Shows how a captured webhook is signed, and what to write into the Caddyfile", Args: namedArgs,
		Long: `Tries the ways in which payment providers sign on a captured request, and prints the lines of the Caddyfile that fit.
It also shows the event, by the names of its fields. The file is what caddy axra webhook rejected writes, or a request
as HTTP/1.1 sends it; - is the standard input. The secrets are those of the configuration that --config names, in the
environment of the service; none is printed. The exit code is 1 if nothing fits:
  caddy axra webhook rejected - | caddy axra webhook inspect - --config /etc/caddy/Caddyfile`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := readInput(cmd, args[0])
		if err != nil {
			return err
		}
		request, err := webhook.ReadCaptured(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		secrets, configured, err := p.WebhookSecrets(flag(cmd, "config"), flag(cmd, "adapter"))
		if err != nil {
			return err
		}
		report := webhook.Inspect(request, secrets, configured)
		printValue(cmd, report)
		switch {
		case len(report.Fits) == 0:
			return errors.New("nothing fits: it was signed with another secret (test or live?) or in a way that this version cannot verify, " +
				"a proxy has changed the body or removed the signature, or it is not from Axra: anyone can send requests to a webhook's address")
		case isSet(cmd, "json"):
		case report.Verified:
			fmt.Fprintln(cmd.OutOrStdout(), "\nThe configuration verifies it. If Caddy refuses it, reload Caddy, or restart it if its environment has changed.")
		default:
			const block = "\nWrite into the Caddyfile, in place of any other `signature`:\n\n{\n\taxra {\n\t\tsignature {\n\t\t\t%s\n\t\t}\n\t}\n}\n"
			fmt.Fprintf(cmd.OutOrStdout(), block, strings.Join(report.Fits[0].Options, "\n\t\t\t")) // header names and schemes only
		}
		return nil
	}
	return cmd
}
