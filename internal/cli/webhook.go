package cli

import (
	"bytes"
	"errors"
	"fmt"
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
		Short: "Finds out how webhooks are signed, and takes those that did not arrive",
	}, p.inspectCommand(), rejectedCommand(), replayCommand())
}

func rejectedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "refused",
		Short: "Prints the webhook that was refused last for its signature",
		Long: `
Prints the webhook that the running Caddy refused last for its signature, as HTTP/1.1
sends it: the last one that could be signed, or else the last one. With --json, both.
Headers with credentials are masked.

Caddy keeps it only if it is told to:

	axra_webhook /webhooks/axra {
		keep_refused
	}`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var kept []webhook.Captured
			err := get(cmd, admin.RejectedWebhooks, nil, &kept)
			if err == nil {
				err = printAnswer(cmd, kept, printRejected)
			}
			if err == nil && len(kept) == 0 && !wantsJSON(cmd) {
				err = errors.New("no refused webhook is kept: write `axra_webhook /webhooks/axra { keep_refused }`, reload, and have Axra send one again")
			}
			return err
		},
	}
}

func printRejected(p printer, requests []webhook.Captured) {
	if len(requests) == 0 {
		return
	}
	first := requests[0]
	p.note("refused at %s: %s", first.At.Format("2006-01-02 15:04:05 MST"), first.Reason)
	if len(requests) > 1 {
		p.note("--json also shows another one, which has no header like a signature")
	}
	var raw bytes.Buffer
	_, _ = first.WriteTo(&raw)
	if !isTerminal(p.out) {
		_, _ = raw.WriteTo(p.out) // a file gets it as it is
		return
	}
	for line := range strings.Lines(raw.String()) {
		p.line("%s", strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    "))
	}
}

// maxCapture bounds a file with requests: a body is at most 64 KB, in base64 a third more, and there may be two.
const maxCapture = 1 << 20

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

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay <file> [--trust]",
		Short: "Takes a webhook from a file, as if Axra had sent it",
		Long: `
Takes an event from a file, as if it had come to the webhook; - is the standard input. The file holds the raw body, a
whole captured request, headers first, or what webhook refused --json prints: then each of its requests is taken
or refused by itself. The signature must be good. With --trust a single one without is taken too, for instance a
body that was copied from Axra's dashboard: you answer for it. An event that is known already changes nothing.

What became of each is printed. The exit code is 1 if none was taken, or if none of those that were taken
changed what it should have.`,
		Args: cobra.ExactArgs(1),
	}
	trust := cmd.Flags().Bool("trust", false, "Take it without a good signature")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := readCapture(cmd, args[0])
		if err != nil {
			return err
		}
		return replay(cmd, args[0], requestsToReplay(raw, *trust), *trust)
	}
	return cmd
}

// requestsToReplay are the captured requests of a file; one that holds none is the body alone.
func requestsToReplay(raw []byte, trust bool) []admin.ReplayRequest {
	captured, err := webhook.ReadCaptured(raw)
	if err != nil {
		return []admin.ReplayRequest{{Body: raw, Trust: trust}}
	}
	requests := make([]admin.ReplayRequest, 0, len(captured))
	for _, request := range captured {
		requests = append(requests, admin.ReplayRequest{Header: request.Header, Body: request.Body, Trust: trust})
	}
	return requests
}

// replayResult is what became of one request of a file.
type replayResult struct {
	admin.Replayed

	Error string `json:"error,omitempty"`
}

func replay(cmd *cobra.Command, file string, requests []admin.ReplayRequest, trust bool) error {
	switch {
	case len(requests) == 0:
		return fmt.Errorf("%s: there is no request in it", file)
	case trust && len(requests) > 1:
		return fmt.Errorf("%s holds %d requests: anybody can send one, so put the one that you trust into a file of its own", file, len(requests))
	}
	results, taken, useful := make([]replayResult, 0, len(requests)), 0, 0
	for _, request := range requests {
		var result replayResult
		err := get(cmd, admin.ReplayWebhook, request, &result.Replayed)
		switch {
		case err != nil && len(requests) == 1:
			return err
		case err != nil:
			result.Error = err.Error()
		default:
			taken++
			if !outcomes[result.Outcome].idle {
				useful++
			}
		}
		results = append(results, result)
	}
	if err := printAnswer(cmd, results, printReplayed); err != nil {
		return err
	}
	switch {
	case taken == 0:
		return fmt.Errorf("%s: none of its requests was taken", file)
	case useful == 0:
		return errors.New("nobody gets or loses access by that")
	}
	return nil
}

func printReplayed(p printer, results []replayResult) {
	for _, result := range results {
		if result.Error != "" {
			p.note("not taken: %s", result.Error)
			continue
		}
		session := ""
		if result.Session != "" {
			session = " of " + result.Session
		}
		words := ""
		if outcome := outcomes[result.Outcome]; outcome.words != "" {
			words = ": " + outcome.words
		}
		p.line("%s%s: %s%s", result.Event, session, result.Outcome, words)
	}
}

// outcomes explains what became of an event. An idle one should have changed something and did not.
var outcomes = map[string]struct {
	words string
	idle  bool
}{
	"paid":          {"the payment is recorded, and opens what was bought", false},
	"double_charge": {"the payment is recorded; its session was paid before, so refund one of the two in Axra", false},
	"stale":         {"it is older than `keep`, so its purchase may have been swept, and nothing was changed: give access with `caddy axra give`", true},
	"known":         {"it is in the ledger already, so nothing was changed", false},
	"refunded":      {"the refund is recorded, and closes the purchase", false},
	"disputed":      {"the dispute is recorded, and closes the purchase until it is decided", false},
	"dispute_won":   {"the end of the dispute is recorded, and opens the purchase again", false},
	"dispute_lost":  {"the end of the dispute is recorded, and closes the purchase", false},
	"noted":         {"such an event is not recorded; a visitor who waits is told", false},
	"foreign": {"it lacks the metadata of this installation (" + terms.MetadataPrefix + "…), so nothing was changed: " +
		"use the event as Axra sent it, with data.metadata, or give access with `caddy axra give`", true},
	"unknown":   {"Axra documents no such event, so nothing was changed: compare its name with the one in Axra's dashboard", true},
	"malformed": {"its metadata cannot be read, or it names no session, so nothing was changed: use the event as Axra sent it, or give access with `caddy axra give`", true},
	"unmatched": {"it names neither a session nor a payment, so nothing was changed: use the event as Axra sent it", true},
	"mismatch":  {"another amount or currency than asked, or none: it is recorded, and opens nothing; see `caddy axra list --status mismatched`", true},
}
