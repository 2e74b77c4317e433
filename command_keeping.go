package paywall

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

func sweepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Deletes records of purchases whose access ended longer ago than `keep`",
		Long:  "Deletes what the ledger knows about purchases whose access ended longer ago than the option keep says.\nCaddy does so by itself once a week.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var swept ledger.Swept
			if err := callAdminJSON(cmd, http.MethodPost, adminBase+"sweep", nil, &swept); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, swept)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d purchases and %d other facts swept, %d records in all; %d purchases kept\n",
				swept.Purchases, swept.Others, swept.Deleted, swept.Kept)
			if swept.Garbled > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%d records cannot be read and were left alone\n", swept.Garbled)
			}
			return nil
		},
	}
}

func exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export <file>",
		Short: "Writes the ledger to a file, as JSON lines",
		Long: `
Writes all records of the ledger to a file, as JSON lines; - is the standard output. The signing keys are not
among them: copy axra/keyring.json of Caddy's storage as well, or visitors who have paid must ask for a new
link. The file holds no secrets, but names all payments.

The exit code is 1 where records could not be read and so are missing in the file.`,
		Args: cobra.ExactArgs(1),
		RunE: runExport,
	}
}

// errIncomplete: what is exported is not all that the ledger holds.
var errIncomplete = errors.New("the export is NOT complete")

// exported is what an export did.
type exported struct {
	File    string `json:"file"`
	Records int    `json:"records"`
	Garbled int    `json:"garbled"` // that could not be read, and are missing
}

func runExport(cmd *cobra.Command, args []string) error {
	response, err := callAdmin(cmd, http.MethodGet, adminBase+"export", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	done := exported{File: args[0]}
	if done.File == "-" {
		err = done.copy(cmd.OutOrStdout(), response.Body)
	} else if err = done.write(response.Body); err == nil {
		err = done.print(cmd)
	}
	if err == nil && done.Garbled > 0 {
		err = fmt.Errorf("%w: %d records could not be read and are missing in it. The ledger of this Caddy is damaged: keep your older backups, and have Axra send the events again",
			errIncomplete, done.Garbled)
	}
	return err
}

func (e *exported) print(cmd *cobra.Command) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, e)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d records written to %s\n", e.Records, e.File)
	return err
}

// write puts the file in its place only when all of it has come.
func (e *exported) write(export io.Reader) error {
	file, err := os.CreateTemp(filepath.Dir(e.File), ".axra-export-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is gone where all went well
	if err := e.copy(file, export); err != nil {
		_ = file.Close()
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), e.File)
}

// copy copies an export, and tells one that was cut off by its last line.
func (e *exported) copy(to io.Writer, from io.Reader) error {
	var last []byte
	for lines := bufio.NewReader(from); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			last = line
			if _, err := to.Write(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	var end struct {
		End     bool `json:"end"`
		Records int  `json:"records"`
		Garbled int  `json:"garbled"`
	}
	if json.Unmarshal(last, &end) != nil || !end.End {
		return errCutOff
	}
	e.Records, e.Garbled = end.Records, end.Garbled
	return nil
}

func importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import <file>",
		Short: "Adds the records of an export to the ledger",
		Long: `
Adds the records of an export to the ledger; - is the standard input. What is there already is left as it is, so
it can be repeated.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := cmd.InOrStdin()
			if args[0] != "-" {
				opened, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer opened.Close() //nolint:errcheck // it was only read
				file = opened
			}
			var done imported
			if err := callAdminJSON(cmd, http.MethodPost, adminBase+"import", file, &done); err != nil {
				return err
			}
			if done.Garbled > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d records are missing in this export: they could not be read when it was made\n", done.Garbled)
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d records added, %d were there already\n", done.Records, done.Known)
			if done.Conflicts > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%d devices, claims and decisions stand otherwise here: the later decision counts, and who has a place here keeps it\n", done.Conflicts)
			}
			if done.Elsewhere {
				fmt.Fprintln(cmd.OutOrStdout(), "They come from another installation: its visitors' cookies are good here only with its axra/keyring.json.")
			}
			return nil
		},
	}
}

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
	"paid":         {"the payment is recorded, and opens what was bought", false},
	"known":        {"it is in the ledger already, so nothing was changed", false},
	"refunded":     {"the refund is recorded, and closes the purchase", false},
	"disputed":     {"the dispute is recorded, and closes the purchase until it is decided", false},
	"dispute_won":  {"the end of the dispute is recorded, and opens the purchase again", false},
	"dispute_lost": {"the end of the dispute is recorded, and closes the purchase", false},
	"noted":        {"nothing is recorded of such an event; the visitor who waits is told", false},
	"foreign": {"it lacks the metadata of this installation (" + terms.MetadataPrefix + "…), so nothing was changed: " +
		"use the event as Axra sent it, with data.metadata, or give access with `caddy axra give`", true},
	"unknown":   {"Axra documents no such event, so nothing was changed: compare its name with the one in Axra's dashboard", true},
	"malformed": {"its metadata cannot be read, or it names no session, so nothing was changed: use the event as Axra sent it, or give access with `caddy axra give`", true},
	"unmatched": {"it names neither a session nor a payment, so nothing was changed: use the event as Axra sent it", true},
	"mismatch":  {"another amount or currency than asked, or none: it is recorded, and opens nothing; see `caddy axra list --unfitting`", true},
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
