package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/webhook"
)

func (p Plugin) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Shows how a captured webhook is signed, and what to write into the Caddyfile",
		Long: `
Tries the ways in which payment providers sign on a captured request, and prints the
lines of the Caddyfile that fit. Then it shows the event, and which of its fields are
understood.

FILE is a request as HTTP/1.1 sends it, with or without the request line, such as
` + "`caddy axra webhook rejected`" + ` prints it; - is the standard input.

It tries the secrets of the configuration (--config, or the Caddyfile in this folder),
or the one in --secret-file, and prints none of them. Run it in the environment of the
service: --envfile reads the file that EnvironmentFile of systemd names.

The exit code is 0 if something fits, and 1 otherwise.`,
		Example: `  caddy axra webhook rejected > request.txt
  caddy axra webhook inspect request.txt --config /etc/caddy/Caddyfile`,
		Args: cobra.ExactArgs(1),
	}
	secretFile := cmd.Flags().String("secret-file", "", "File that holds the webhook secret")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := readInput(cmd, args[0])
		if err != nil {
			return err
		}
		request, err := webhook.ReadCaptured(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		secrets, verifier, err := p.secretsToTry(cmd, *secretFile)
		if err != nil {
			return err
		}
		report := inspect(request, secrets, verifier)
		err = printAnswer(cmd, report, printWebhookReport)
		if err == nil && !report.Verifiable {
			cmd.SilenceErrors = true // the report says it
			err = errors.New("no signature scheme that this version can verify fits")
		}
		return err
	}
	return offline(cmd, "Configuration file with the secrets")
}

// secretsToTry returns the secret of the file, or else those of the configuration and the verifier that it describes.
func (p Plugin) secretsToTry(cmd *cobra.Command, file string) (secrets [][]byte, configured *webhook.Verifier, err error) {
	if file == "" {
		secrets, configured, err = p.WebhookSecrets(flag(cmd, "config"), flag(cmd, "adapter"))
	} else {
		var raw []byte
		raw, err = os.ReadFile(file) //nolint:gosec // the operator names it
		secrets = [][]byte{bytes.TrimSpace(raw)}
	}
	if err == nil && (len(secrets) == 0 || len(secrets[0]) == 0) {
		err = errors.New("there is no secret to try: name the configuration (--config), or a file with the secret (--secret-file)")
	}
	return secrets, configured, err
}
