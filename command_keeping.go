package paywall

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/ledger"
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
link. The file holds no secrets, but names all payments.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			response, err := callAdmin(cmd, http.MethodGet, adminBase+"export", nil)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if args[0] == "-" {
				_, err := copyExport(cmd.OutOrStdout(), response.Body)
				return err
			}
			records, err := writeExport(args[0], response.Body)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%d records written to %s\n", records, args[0])
			}
			return err
		},
	}
}

// writeExport puts the file in its place only when it is complete.
func writeExport(name string, export io.Reader) (records int, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), ".axra-export-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is gone where all went well
	if records, err = copyExport(file, export); err != nil {
		_ = file.Close()
		return 0, err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return 0, err
	}
	return records, os.Rename(file.Name(), name)
}

// copyExport copies an export, and tells one that was cut off.
func copyExport(to io.Writer, from io.Reader) (records int, err error) {
	var last []byte
	lines := bufio.NewReader(from)
	for number := 0; ; number++ {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			last = line
			if _, err := to.Write(line); err != nil {
				return 0, err
			}
		}
		if errors.Is(err, io.EOF) {
			if !bytes.Contains(last, []byte(`"end":true`)) {
				return 0, errCutOff
			}
			return number - 2, nil // without the first and the last line
		}
		if err != nil {
			return 0, err
		}
	}
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
			if wantsJSON(cmd) {
				return printJSON(cmd, done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d records added, %d were there already\n", done.Records, done.Known)
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
		Short: "Takes a webhook's body from a file, as if Axra had sent it",
		Long: `
Takes an event from a file, as if it had come to the webhook: the raw body, or a whole captured request, headers
first. Its signature must be good. With --trust a body without one is taken too, for instance one that was copied from Axra's
dashboard: you answer for it. An event that is known already changes nothing.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().Bool("trust", false, "Take it without a good signature")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		asked := replayRequest{Body: raw}
		if requests, err := webhook.ReadCaptured(raw); err == nil && len(requests) > 0 { // else it is a body alone
			asked.Header, asked.Body = requests[0].Header, requests[0].Body
		}
		asked.Trust, _ = cmd.Flags().GetBool("trust")
		var got replayed
		if err := postAdmin(cmd, "webhook/replay", asked, &got); err != nil {
			return err
		}
		if wantsJSON(cmd) {
			return printJSON(cmd, got)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s of %s: %s\n", clean(got.Event), clean(got.Session), got.Outcome)
		return nil
	}
	return cmd
}
