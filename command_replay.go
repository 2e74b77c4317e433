package paywall

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay <file> [--trust]",
		Short: "Takes a webhook from a file, as if Axra had sent it",
		Long: `
Takes an event from a file, as if it had come to the webhook; - is the standard input. It holds the raw body, a
whole captured request, headers first, or what webhook refused --json prints: then each of its requests is taken
or refused by itself. The signature must be good. With --trust a single one without is taken too, for instance a
body that was copied from Axra's dashboard: you answer for it. An event that is known already changes nothing.

What became of each is said in words. The exit code is 1 where none was taken, or none of those that were taken
has changed what it should have.`,
		Args: cobra.ExactArgs(1),
		RunE: runReplay,
	}
	cmd.Flags().Bool("trust", false, "Take it without a good signature")
	return cmd
}

// replayResult is what became of one request of a file.
type replayResult struct {
	replayed

	Error string `json:"error,omitempty"`
}

func runReplay(cmd *cobra.Command, args []string) error {
	raw, err := readCapture(cmd, args[0])
	if err != nil {
		return err
	}
	all := requestsToReplay(raw)
	trust, _ := cmd.Flags().GetBool("trust")
	switch {
	case len(all) == 0:
		return fmt.Errorf("%s: there is no request in it", args[0])
	case trust && len(all) > 1:
		return fmt.Errorf("%s holds %d requests: anybody can send one, so put the one that you trust into a file of its own", args[0], len(all))
	}
	results, taken, useful := make([]replayResult, 0, len(all)), 0, 0
	for _, asked := range all {
		asked.Trust = trust
		var result replayResult
		if err = postAdmin(cmd, "webhook/replay", asked, &result.replayed); err == nil {
			taken++
			if !outcomes[result.Outcome].idle {
				useful++
			}
		} else {
			result.Error = err.Error()
		}
		results = append(results, result)
	}
	if taken == 0 && len(all) == 1 {
		return err
	}
	if err := printReplayed(cmd, results); err != nil {
		return err
	}
	switch {
	case taken == 0:
		return fmt.Errorf("%s: none of its requests was taken", args[0])
	case useful == 0:
		return errNothingChanged
	}
	return nil
}

// errNothingChanged: events were taken that should have changed something.
var errNothingChanged = errors.New("nobody gets access, or loses it, by that")

// outcomes are what may become of an event that was taken. Those that are idle should have
// changed something, and have not.
var outcomes = map[string]struct {
	words string
	idle  bool
}{
	"paid":          {"the payment is recorded, and opens what was bought", false},
	"double_charge": {"the payment is recorded; its session was paid before, so refund one of the two in Axra", false},
	"stale":         {"it is older than `keep`, so what it is about may have been swept, and nothing was changed: give access with `caddy axra give`", true},
	"known":         {"it is in the ledger already, so nothing was changed", false},
	"refunded":      {"the refund is recorded, and closes the purchase", false},
	"disputed":      {"the dispute is recorded, and closes the purchase until it is decided", false},
	"dispute_won":   {"the end of the dispute is recorded, and opens the purchase again", false},
	"dispute_lost":  {"the end of the dispute is recorded, and closes the purchase", false},
	"noted":         {"nothing is recorded of such an event; the visitor who waits is told", false},
	"foreign": {"it lacks the metadata of this installation (" + terms.MetadataPrefix + "…), so nothing was changed: " +
		"use the event as Axra sent it, with data.metadata, or give access with `caddy axra give`", true},
	"unknown":   {"Axra documents no such event, so nothing was changed: compare its name with the one in Axra's dashboard", true},
	"malformed": {"its metadata cannot be read, or it names no session, so nothing was changed: use the event as Axra sent it, or give access with `caddy axra give`", true},
	"unmatched": {"it names neither a session nor a payment, so nothing was changed: use the event as Axra sent it", true},
	"mismatch":  {"another amount or currency than asked, or none: it is recorded, and opens nothing; see `caddy axra list --status mismatched`", true},
}

func printReplayed(cmd *cobra.Command, results []replayResult) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, results)
	}
	for _, result := range results {
		if result.Error != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "not taken: %s\n", result.Error)
			continue
		}
		fmt.Fprintln(cmd.OutOrStdout(), result.said())
	}
	return nil
}

// said is what became of a request, for people.
func (r replayResult) said() string {
	said := clean(r.Event)
	if r.Session != "" {
		said += " of " + clean(r.Session)
	}
	said += ": " + clean(r.Outcome)
	if words := outcomes[r.Outcome].words; words != "" {
		said += ": " + words
	}
	return said
}

// requestsToReplay are the captured requests of a file; one that holds none is the body
// alone.
func requestsToReplay(raw []byte) []replayRequest {
	requests, err := webhook.ReadCaptured(raw)
	if err != nil {
		return []replayRequest{{Body: raw}}
	}
	all := make([]replayRequest, 0, len(requests))
	for _, request := range requests {
		all = append(all, replayRequest{Header: request.Header, Body: request.Body})
	}
	return all
}
