package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/webhook"
)

func (p Plugin) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Shows how a captured webhook is signed, and what to write into the Caddyfile",
		Long: `
Tries the ways in which payment providers sign on a captured request, and prints the
lines of the Caddyfile that fit. Then it shows the event.

FILE is a request as HTTP/1.1 sends it, such as ` + "`caddy axra webhook rejected`" + ` prints it;
- is the standard input. The secrets are those of the configuration, or the one in
--secret-file; none is printed. The exit code is 0 if something fits, and 1 otherwise.`,
		Example: "  caddy axra webhook rejected | caddy axra webhook inspect - --config /etc/caddy/Caddyfile",
		Args:    cobra.ExactArgs(1),
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
		if err == nil && len(report.Fits) == 0 {
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

// webhookReport says how a captured webhook is signed and what its event holds.
type webhookReport struct {
	webhook.Looked

	Configured bool          `json:"configured"` // the configured verifier checks it
	Fits       []webhook.Fit `json:"fits"`
	Type       webhook.Type  `json:"event,omitempty"`
	Documented bool          `json:"documented"`
	Session    string        `json:"session,omitempty"`
	Payment    string        `json:"payment,omitempty"`
	Fields     []string      `json:"fields"` // that count
	Others     []string      `json:"other_fields"`
	EventError string        `json:"event_error,omitzero"` // why the body is not an event
}

func inspect(request webhook.Captured, secrets [][]byte, configured *webhook.Verifier) webhookReport {
	var report webhookReport
	report.Fits, report.Looked = webhook.Inspect(request, secrets)
	for _, body := range request.Bodies() {
		report.Configured = report.Configured || configured != nil && configured.Verify(request.Header, body.Bytes) == nil
	}
	event, err := webhook.Decode(request.Body)
	if err != nil {
		report.EventError = err.Error()
		return report
	}
	report.Type, report.Documented = event.Type, event.Type.Known()
	report.Session, report.Payment = webhook.ShortID(event.Session), webhook.ShortID(event.Payment)
	report.Fields, report.Others = webhook.Describe(request.Body)
	return report
}

func printWebhookReport(p printer, r webhookReport) {
	for _, fit := range r.Fits {
		note := ""
		if fit.Body != "" {
			note = ", for the body " + fit.Body
		}
		p.line("It fits: %s%s, webhook secret %d.", strings.Join(fit.Options(), ", "), note, fit.Secret)
	}
	switch {
	case r.Configured:
		p.line("The configuration verifies it. If Caddy refuses it, reload Caddy, or restart it if its environment has changed.")
	case len(r.Fits) > 0:
		p.line("Write into the Caddyfile, in place of any other `signature`:")
		lines := strings.Join(r.Fits[0].Options(), "\n\t\t\t") // header names and schemes only
		fmt.Fprintf(p.out, "\n{\n\taxra {\n\t\tsignature {\n\t\t\t%s\n\t\t}\n\t}\n}\n", lines)
	default:
		printCauses(p, r.Looked)
	}
	p.line("")
	if r.EventError != "" {
		p.line("The body is not an event: %s", r.EventError)
		return
	}
	printEvent(p, r)
}

// printCauses lists what was tried, and what may be wrong.
func printCauses(p printer, looked webhook.Looked) {
	p.line("Nothing fits. These were tried, with the secrets as they are and decoded from hex and base64:")
	p.table([][]string{
		{"  schemes", listed(webhook.Schemes)},
		{"  headers that could carry a signature", listed(looked.Signatures)},
		{"  headers that could be a time", listed(looked.Timestamps)},
		{"  not tried, as they are masked", listed(looked.Masked)},
	})
	p.line("Likely causes:")
	p.line("- It is not from Axra: anyone can send requests to a webhook's address.")
	if len(looked.Signatures) == 0 {
		p.line("- A proxy in front of Caddy, or the tool that saved it, has removed the signature header.")
		return
	}
	p.line("- It was signed with another secret: compare it with the one in Axra, and mind test and live.")
	p.line("- The body was changed by a proxy that decodes or reformats it, or when it was saved.")
	p.line("- Axra signs in a way that this version cannot verify, such as HMAC-SHA512 or the secret itself in a header: please report the headers' names.")
}

func listed(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }

// printEvent helps to confirm the names of fields, which Axra's documentation leaves open.
func printEvent(p printer, r webhookReport) {
	line := "Unverified, it says that it is "
	if len(r.Fits) > 0 {
		line = "The event is "
	}
	line += string(r.Type)
	if !r.Documented {
		line += ", which Axra does not document"
	}
	p.line("%s. Its fields:", line)
	p.table([][]string{
		{"  session", listed([]string{r.Session})},
		{"  payment", listed([]string{r.Payment})},
		{"  fields that are read", listed(r.Fields)},
		{"  others, which are not read", listed(r.Others)},
	})
}
