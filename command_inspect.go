package paywall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"unicode"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/webhook"
)

// webhookCommand is `caddy axra webhook`.
func webhookCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "webhook",
		Short: "Finds out how webhooks are signed, and takes those that did not arrive",
	}
	group(command, inspectCommand(), refusedCommand(), replayCommand())
	return command
}

func inspectCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Says how a captured webhook is signed, and what to write into the Caddyfile",
		Long: `
Tries the ways of signing that are in use among payment providers on a captured
request, and prints the lines of the Caddyfile that fit; then says what the event
is, and which of its fields are understood.

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
		RunE: runInspect,
	}
	atDesk(command, "Configuration file that says the secrets")
	command.Flags().String("secret-file", "", "File that holds the webhook secret")
	return command
}

func refusedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "refused",
		Short: "Prints the webhook that was refused last for its signature",
		Long: `
Prints the webhook that the running Caddy refused last for its signature, as HTTP/1.1
sends it: the last one that could be signed, else the last one. With --json, both.
Headers with credentials are masked.

Caddy keeps it only where it is told to:

	axra_webhook /webhooks/axra {
		keep_refused
	}`,
		Args: cobra.NoArgs,
		RunE: runRefused,
	}
}

func runRefused(cmd *cobra.Command, _ []string) error {
	var requests []webhook.Captured
	if err := callAdminJSON(cmd, http.MethodGet, "/axra/webhook/refused", nil, &requests); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, requests)
	}
	if len(requests) == 0 {
		return errors.New("no refused webhook is kept: write `axra_webhook /webhooks/axra { keep_refused }`, reload, and have Axra send one again")
	}
	first := requests[0]
	fmt.Fprintf(cmd.ErrOrStderr(), "refused at %s: %s\n", first.At.Format("2006-01-02 15:04:05 MST"), clean(first.Reason))
	if len(requests) > 1 {
		fmt.Fprintln(cmd.ErrOrStderr(), "another one, that carries nothing like a signature, is shown by --json")
	}
	_, err := first.WriteTo(forTerminal(cmd.OutOrStdout()))
	return err
}

// forTerminal keeps what strangers have sent from steering a terminal. Files get it as
// it is.
func forTerminal(out io.Writer) io.Writer {
	if !isTerminal(out) {
		return out
	}
	return harmless{out}
}

// harmless shows control characters as question marks.
type harmless struct{ io.Writer }

func (h harmless) Write(text []byte) (int, error) {
	_, err := h.Writer.Write(bytes.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		if r == '\r' {
			return -1
		}
		return '?'
	}, text))
	return len(text), err
}

// maxCapture bounds the file to inspect: a body is at most 64 KB, in base64 by a third
// more, and there may be two.
const maxCapture = 1 << 20

// errNothingFits: no way of signing that the plugin can check produces what the
// request carries.
var errNothingFits = errors.New("nothing that this version can verify fits")

func runInspect(cmd *cobra.Command, args []string) error {
	raw, err := readCapture(cmd, args[0])
	if err != nil {
		return err
	}
	requests, err := webhook.ReadCaptured(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if len(requests) == 0 {
		return fmt.Errorf("%s: there is no request in it", args[0])
	}
	keys, err := secretsToTry(cmd)
	if err != nil {
		return err
	}
	inspections, fits := make([]inspection, 0, len(requests)), false
	for _, request := range requests {
		inspected := keys.inspect(request)
		inspections = append(inspections, inspected)
		fits = fits || inspected.Verifiable
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd, inspections)
	} else {
		for _, inspected := range inspections {
			inspected.print(cmd.OutOrStdout())
		}
	}
	if err == nil && !fits {
		cmd.SilenceErrors = true // it has been said
		err = errNothingFits
	}
	return err
}

func readCapture(cmd *cobra.Command, name string) ([]byte, error) {
	input := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the operator names it
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // only read
		input = file
	}
	raw, err := io.ReadAll(io.LimitReader(input, maxCapture+1))
	if err == nil && len(raw) > maxCapture {
		err = fmt.Errorf("%s is larger than %d bytes: no webhook is", name, maxCapture)
	}
	return raw, err
}

// keysToTry are secrets, and where each of them comes from.
type keysToTry struct {
	secrets [][]byte
	names   []string
	// configured checks as the configuration says; nil where none is given.
	configured *webhook.Verifier
}

func (k *keysToTry) add(secret []byte, name string) {
	known := slices.ContainsFunc(k.secrets, func(known []byte) bool { return bytes.Equal(known, secret) })
	if len(secret) > 0 && !known {
		k.secrets, k.names = append(k.secrets, secret), append(k.names, name)
	}
}

// secretsToTry collects those of the file, of the configuration and of the
// environment.
func secretsToTry(cmd *cobra.Command) (keysToTry, error) {
	var keys keysToTry
	if name, _ := cmd.Flags().GetString("secret-file"); name != "" {
		raw, err := os.ReadFile(name) //nolint:gosec // the operator names it
		if err != nil {
			return keys, err
		}
		keys.add(bytes.TrimSpace(raw), "that of --secret-file")
	}
	err := keys.addConfigured(cmd)
	keys.add(bytes.TrimSpace([]byte(os.Getenv("AXRA_WEBHOOK_SECRET"))), "AXRA_WEBHOOK_SECRET of this environment")
	// Nobody has asked for the configuration of this folder; and who names a file may have
	// none of the service's environment.
	byFile := cmd.Flags().Changed("secret-file") && errors.Is(err, errEmptyHere)
	if len(keys.secrets) > 0 && (byFile || !cmd.Flags().Changed("config")) {
		err = nil
	}
	if err == nil && len(keys.secrets) == 0 {
		err = errors.New("there is no secret to try: name the configuration (--config), or a file with the secret (--secret-file), or set AXRA_WEBHOOK_SECRET")
	}
	return keys, err
}

// errEmptyHere: a secret of the configuration is not in the environment of the command,
// which says nothing about that of the service.
var errEmptyHere = errors.New("is empty or cannot be read by this command, which may have another environment than the service")

func (a *App) checkEmptyHere() error {
	for _, secret := range a.placeholders() {
		if _, err := resolveSecret(secret.name, secret.value); err != nil && secretIsPlaceholder(secret.name, secret.value) == nil {
			return fmt.Errorf("%s %s %w: add --envfile FILE, or run it as the user of the service; or use --secret-file", secret.name, secret.value, errEmptyHere)
		}
	}
	return nil
}

func (k *keysToTry) addConfigured(cmd *cobra.Command) error {
	config, _ := cmd.Flags().GetString("config")
	adapter, _ := cmd.Flags().GetString("adapter")
	raw, _, _, err := caddycmd.LoadConfig(config, adapter)
	if err != nil || len(raw) == 0 {
		return err
	}
	var loaded struct {
		Apps struct {
			Axra *App `json:"axra"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &loaded); err != nil {
		return err
	}
	app := loaded.Apps.Axra
	if app == nil {
		return errors.New("the configuration has no global option axra: use --secret-file")
	}
	// What signs no webhook need not be there, for this may run outside of Caddy's
	// environment.
	signing := &App{WebhookSecrets: app.WebhookSecrets}
	if len(app.WebhookSecrets) == 0 {
		signing.APIKey, signing.APISecret = app.APIKey, app.APISecret
	}
	if err := signing.checkEmptyHere(); err != nil {
		return err
	}
	secrets, err := signing.resolveSecrets()
	if err != nil {
		return fmt.Errorf("%w; or use --secret-file", err)
	}
	for i, secret := range secrets.webhook {
		k.add(secret, fmt.Sprintf("webhook secret %d of the configuration", i+1))
	}
	signature := SignatureConfig{}
	if app.Signature != nil {
		signature = *app.Signature
	}
	if verifier, err := signature.verifier(secrets.webhook); err == nil {
		k.configured = &verifier
	}
	return nil
}
