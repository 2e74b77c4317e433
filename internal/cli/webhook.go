package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

func (p Plugin) webhookCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "webhook",
		Short: "Finds out how webhooks are signed, and accepts those that failed",
	}, p.inspectCommand(), rejectedCommand(), replayCommand())
}

func rejectedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "refused",
		Short: "Prints the last webhook that was refused for its signature",
		Long: `
Prints the last webhook that the running Caddy refused for its signature, as HTTP/1.1
sends it, if axra_webhook has the option keep_refused. Credentials are masked. With
--json, the last one of each kind is printed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var kept []webhook.Captured
			err := get(cmd, admin.RejectedWebhooks, nil, &kept)
			if err == nil && len(kept) == 0 && !wantsJSON(cmd) {
				err = errors.New("no refused webhook is kept: write `axra_webhook /webhooks/axra { keep_refused }`, reload, and have Axra send one again")
			}
			if err != nil {
				return err
			}
			return printAnswer(cmd, kept, printRejected)
		},
	}
}

func printRejected(p printer, requests []webhook.Captured) {
	first := requests[0]
	p.note("refused at %s: %s", first.At.Format("2006-01-02 15:04:05 MST"), first.Reason)
	var raw bytes.Buffer
	_, _ = first.WriteTo(&raw)
	if !isTerminal(p.out) {
		_, _ = raw.WriteTo(p.out) // a file gets every byte
		return
	}
	for line := range strings.Lines(raw.String()) {
		p.line("%s", strings.TrimRight(line, "\r\n"))
	}
}

// readInput reads a file, or the standard input for "-".
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name) //nolint:gosec // the operator names it
}

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay <file> [--trust]",
		Short: "Accepts a webhook from a file, as if Axra had sent it",
		Long: `
The file holds a captured request (headers, an empty line, the body) or the body alone;
- is the standard input. The signature must verify. With --trust an event without one
is accepted too: you answer for it. An event that is known already changes nothing.

The exit code is 1 if the event should give or close access but changes nothing.`,
		Args: cobra.ExactArgs(1),
	}
	trust := cmd.Flags().Bool("trust", false, "Accept it without a valid signature")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := readInput(cmd, args[0])
		if err != nil {
			return err
		}
		request := admin.ReplayRequest{Body: raw, Trust: *trust}
		if captured, err := webhook.ReadCaptured(raw); err == nil {
			request.Header, request.Body = captured.Header, captured.Body
		}
		var replayed admin.Replayed
		if err := get(cmd, admin.ReplayWebhook, request, &replayed); err != nil {
			return err
		}
		err = printAnswer(cmd, replayed, printReplayed)
		if err == nil && outcomes[replayed.Outcome].idle {
			err = errors.New("it changed nothing: nobody gets or loses access")
		}
		return err
	}
	return cmd
}

func printReplayed(p printer, replayed admin.Replayed) {
	line := replayed.Event
	if replayed.Session != "" {
		line += " of " + replayed.Session
	}
	line += ": " + replayed.Outcome
	if words := outcomes[replayed.Outcome].words; words != "" {
		line += ": " + words
	}
	p.line("%s", line)
}

// outcomes explains what became of an event. An idle one should have changed something and did not.
var outcomes = map[string]struct {
	words string
	idle  bool
}{
	"paid":          {"the payment is recorded and opens what was bought", false},
	"double_charge": {"the payment is recorded; its session was paid before, so refund one of the two in Axra", false},
	"stale":         {"it is older than `keep`, so its purchase may have been swept; nothing was changed: give access with `caddy axra give`", true},
	"known":         {"it is in the ledger already, so nothing was changed", false},
	"refunded":      {"the refund is recorded and closes the purchase", false},
	"disputed":      {"the dispute is recorded and closes the purchase until it is decided", false},
	"dispute_won":   {"the end of the dispute is recorded and opens the purchase again", false},
	"dispute_lost":  {"the end of the dispute is recorded and closes the purchase", false},
	"noted":         {"such an event is not recorded; a waiting visitor is informed", false},
	"foreign": {"it lacks the metadata of this installation (" + terms.MetadataPrefix + "…), so nothing was changed: " +
		"use the event as Axra sent it, with data.metadata, or give access with `caddy axra give`", true},
	"unknown":   {"Axra documents no such event, so nothing was changed: compare its name with the one in Axra's dashboard", true},
	"malformed": {"its metadata cannot be read, or it names no session, so nothing was changed: use the event as Axra sent it, or give access with `caddy axra give`", true},
	"unmatched": {"it names neither a session nor a payment, so nothing was changed: use the event as Axra sent it", true},
	"mismatch":  {"the amount or currency is not what was asked, or is missing: it is recorded and opens nothing; see `caddy axra list --status mismatched`", true},
}
