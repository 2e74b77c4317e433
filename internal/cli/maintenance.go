package cli

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/ledger"
)

func sweepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Deletes purchases whose access ended longer ago than `keep`",
		Long: "Deletes what the ledger knows about purchases whose access ended longer ago than the option keep says.\n" +
			"Caddy does so by itself once a day.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLong(cmd, "sweeping", admin.Sweep, admin.None{}, func(p printer, swept admin.Swept) {
				p.line("%s and %s without a payment swept", plural(swept.Purchases, "purchase"), plural(swept.Events, "event"))
			})
		},
	}
}

// holdsKeys is said wherever a file with keys is written.
const holdsKeys = "It holds the signing keys: whoever has it can make access tokens. Keep it as safe as the ledger."

func exportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "export <file>",
		Short: "Writes the ledger to a file, as JSON lines",
		Long: `
Writes the whole ledger to a file, as JSON lines, to read it or to move it to another database; - is the standard
output. The file gets mode 0600. ` + holdsKeys + `

The file is put in place only when it is complete. For backups, caddy axra backup is faster.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDownload(cmd, admin.Export, "exporting", args[0])
		},
	}
}

func backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup <file>",
		Short: "Writes a backup of the ledger to a file, while Caddy runs",
		Long: `
Writes a copy of the ledger's SQLite file, as it is at one moment, while Caddy runs; - is the standard output.
The file gets mode 0600. ` + holdsKeys + `

The file is put in place only when it is complete. To put it back: caddy axra restore-backup.

A ledger in PostgreSQL is backed up by pg_dump and put back by pg_restore.`,
		Example: "  caddy axra backup /var/backups/axra-$(date +%F).db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDownload(cmd, admin.Backup, "backing up", args[0])
		},
	}
}

// downloaded is a file that was written.
type downloaded struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	Rows  int    `json:"rows,omitempty"` // of an export
}

// runDownload calls an operation whose answer goes to a file, or to the standard output.
func runDownload(cmd *cobra.Command, o admin.Operation[admin.None, io.Reader], what, file string) error {
	done := downloaded{File: file}
	err := withProgress(cmd, what, func(p *progress) error {
		response, err := call(cmd, o, admin.None{}, p)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if o == admin.Backup { // an export is of another size than the ledger's file
			size, _ := strconv.ParseInt(response.Header.Get(admin.HeaderLedgerSize), 10, 64)
			p.total.Store(size)
		}
		response.Body = io.NopCloser(p.reader(response.Body))
		if file == "-" {
			return done.copy(cmd.OutOrStdout(), response)
		}
		return writeWhole(file, func(to io.Writer) error { return done.copy(to, response) })
	})
	if err != nil || file == "-" {
		return err
	}
	return printAnswer(cmd, done, func(p printer, done downloaded) {
		size := FormatBytes(done.Bytes)
		if o == admin.Export {
			size = plural(done.Rows, "row") + ", " + size
		}
		p.line("%s written to %s", size, done.File)
		p.note(holdsKeys)
	})
}

// copy copies the body of an answer and compares it with the checksum that follows it.
func (d *downloaded) copy(to io.Writer, response *http.Response) (err error) {
	sum := sha256.New()
	d.Bytes, err = io.Copy(io.MultiWriter(to, sum), response.Body)
	if err != nil {
		return err
	}
	if response.Trailer.Get(admin.HeaderChecksum) != hex.EncodeToString(sum.Sum(nil)) {
		return errCutOff
	}
	d.Rows, _ = strconv.Atoi(response.Trailer.Get(admin.HeaderRows)) // a backup has none
	return nil
}

// writeWhole writes a file with mode 0600, and puts it in place only when it is complete and on disk.
func writeWhole(name string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it was renamed if all went well
	buffered := bufio.NewWriterSize(file, 1<<16)
	err = write(buffered)
	if err == nil {
		err = errors.Join(buffered.Flush(), file.Sync())
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

func importCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import <file>",
		Short: "Reads an export into a ledger without payments",
		Long: `
Reads an export into the ledger of the running Caddy, which must not have payments yet; - is the standard
input. The ledger adopts the signing keys of the export, so nobody is logged out. All of it is imported, or
nothing. Restart other nodes that use the same database.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runUpload(cmd, "importing", admin.Import, args[0], func(p printer, done admin.Imported) {
				p.line("%s imported, and the keys of installation %s", plural(done.Rows, "row"), done.Installation)
			})
		},
	}
}

// runUpload calls an operation whose request is a file, or the standard input.
func runUpload[Answer any](cmd *cobra.Command, what string, o admin.Operation[io.Reader, Answer], name string, show func(printer, Answer)) error {
	if name == "-" {
		return runLong(cmd, what, o, cmd.InOrStdin(), show)
	}
	file, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	return runLong[io.Reader](cmd, what, o, file, show)
}

func restoreBackupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore-backup <file> [--database <path>]",
		Short: "Puts a backup in place of the ledger",
		Long: `
Puts a backup in place of the ledger of the running Caddy; nothing is sold at that moment. The ledger that is
replaced is kept beside it. What was paid since the backup is missing afterwards: have Axra send those events again.

This is for a ledger in SQLite. If Caddy does not run, --database names the ledger's file: by default axra/ledger.db
in Caddy's data directory, such as /var/lib/caddy/.local/share/caddy/axra/ledger.db.`,
		Args: cobra.ExactArgs(1),
	}
	database := cmd.Flags().String("database", "", "The ledger's file, if Caddy does not run")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *database != "" {
			return restoreOffline(cmd, args[0], *database)
		}
		// A copy of a ledger in use lacks what is in its write-ahead log.
		if info, err := os.Stat(args[0] + "-wal"); err == nil && info.Size() > 0 {
			return fmt.Errorf("%s-wal belongs to it, so it is no backup: make one with caddy axra backup", args[0])
		}
		err := runUpload(cmd, "restoring", admin.RestoreBackup, args[0], printRestored)
		if errors.Is(err, errNoAdmin) {
			err = fmt.Errorf("%w; if it does not run, add --database with the path of the ledger", err)
		}
		return err
	}
	return cmd
}

// restoreOffline restores without a running Caddy.
func restoreOffline(cmd *cobra.Command, file, database string) error {
	if cmd.Flags().Changed("address") {
		return errors.New("--database does not talk to a running Caddy: leave out --address, or --database")
	}
	database, err := filepath.Abs(database)
	if err != nil {
		return err
	}
	if err := ledger.CheckLocation(database); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(database)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist: make it first, with the user of Caddy as its owner", filepath.Dir(database))
	}
	var restored ledger.Restored
	err = withProgress(cmd, "restoring", func(*progress) error {
		restored, err = ledger.RestoreBackup(cmd.Context(), file, database, time.Now())
		return err
	})
	if errors.Is(err, ledger.ErrInUse) {
		err = fmt.Errorf("%w, or leave out --database", err)
	}
	if err != nil {
		return err
	}
	return printAnswer(cmd, admin.RestoredFrom(restored), printRestored)
}

func printRestored(p printer, restored admin.Restored) {
	last := ""
	if restored.LastPayment != nil {
		last = ", the last at " + inUTC(restored.LastPayment) + " UTC"
	}
	p.line("restored a ledger of installation %s with %s%s", restored.Installation, plural(restored.Payments, "payment"), last)
	if restored.Kept == "" {
		p.line("there was no ledger before, so none was kept")
		return
	}
	p.line("the ledger before is kept as %s: delete it when all is well, it holds the signing keys", restored.Kept)
}
