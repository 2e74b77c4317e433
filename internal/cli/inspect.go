package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/webhook"
)

func (p Plugin) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Shows how a captured webhook is signed, and what to write into the Caddyfile",
		Long: `
Tries the ways of signing that payment providers use on a captured request, and
prints the lines of the Caddyfile that fit; then it shows what the event is, and
which of its fields are understood.

FILE is a request as HTTP/1.1 sends it (headers, an empty line, the body; the request
line may be missing), or what ` + "`caddy axra webhook refused`" + ` prints; - is the standard
input.

All secrets at hand are tried: those of the configuration (--config, or the Caddyfile
in this folder), read as Caddy reads them, so run it in Caddy's environment, or name
the file that EnvironmentFile of systemd names with --envfile; that of --secret-file;
and that of AXRA_WEBHOOK_SECRET. No secret is printed.

The exit code is 0 if something fits, and 1 if nothing does.`,
		Example: `  caddy axra webhook refused > request.txt
  caddy axra webhook inspect request.txt --config /etc/caddy/Caddyfile`,
		Args: cobra.ExactArgs(1),
	}
	secretFile := cmd.Flags().String("secret-file", "", "File that holds the webhook secret")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		requests, err := readRequests(cmd, args[0])
		if err != nil {
			return err
		}
		secrets, err := p.secretsToTry(cmd, *secretFile)
		if err != nil {
			return err
		}
		reports, fits := make([]webhookReport, 0, len(requests)), false
		for _, request := range requests {
			report := secrets.inspect(request)
			reports = append(reports, report)
			fits = fits || report.Verifiable
		}
		err = printAnswer(cmd, reports, func(p printer, reports []webhookReport) {
			for _, report := range reports {
				report.print(p)
			}
		})
		if err == nil && !fits {
			cmd.SilenceErrors = true // the report says it
			err = errors.New("nothing that this version can verify fits")
		}
		return err
	}
	return offline(cmd, "Configuration file with the secrets")
}

func readRequests(cmd *cobra.Command, file string) ([]webhook.Captured, error) {
	raw, err := readCapture(cmd, file)
	if err != nil {
		return nil, err
	}
	requests, err := webhook.ReadCaptured(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case len(requests) == 0:
		return nil, fmt.Errorf("%s: there is no request in it", file)
	}
	return requests, nil
}

// webhookSecrets are secrets to try, and where each of them comes from.
type webhookSecrets struct {
	secrets    [][]byte
	names      []string
	configured *webhook.Verifier // nil without a configuration
}

func (s *webhookSecrets) add(secret []byte, name string) {
	known := slices.ContainsFunc(s.secrets, func(known []byte) bool { return bytes.Equal(known, secret) })
	if len(secret) > 0 && !known {
		s.secrets, s.names = append(s.secrets, secret), append(s.names, name)
	}
}

// secretsToTry collects those of the file, of the configuration and of the environment.
func (p Plugin) secretsToTry(cmd *cobra.Command, file string) (webhookSecrets, error) {
	var all webhookSecrets
	if file != "" {
		raw, err := os.ReadFile(file) //nolint:gosec // the operator names it
		if err != nil {
			return all, err
		}
		all.add(bytes.TrimSpace(raw), "that of --secret-file")
	}
	configured, verifier, err := p.WebhookSecrets(flag(cmd, "config"), flag(cmd, "adapter"))
	all.configured = verifier
	for i, secret := range configured {
		all.add(secret, fmt.Sprintf("webhook secret %d of the configuration", i+1))
	}
	all.add(bytes.TrimSpace([]byte(os.Getenv("AXRA_WEBHOOK_SECRET"))), "AXRA_WEBHOOK_SECRET of this environment")
	// A configuration that nobody named may be wrong. Whoever names a file may lack the service's environment.
	optional := !cmd.Flags().Changed("config") || file != "" && errors.Is(err, ErrEmptySecret)
	switch {
	case len(all.secrets) > 0 && optional:
		return all, nil
	case err == nil && len(all.secrets) == 0:
		err = errors.New("there is no secret to try: name the configuration (--config), or a file with the secret (--secret-file), or set AXRA_WEBHOOK_SECRET")
	}
	return all, err
}
