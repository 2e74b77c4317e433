package paywall

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

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
			var swept sweptInfo
			waiting := startProgress(cmd, "sweeping")
			err := callAdminJSON(cmd, http.MethodPost, adminBase+"sweep", nil, &swept)
			waiting.end()
			switch {
			case err != nil:
				return err
			case wantsJSON(cmd):
				return printJSON(cmd, swept)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s and %s without a payment swept\n", plural(swept.Purchases, "purchase"), plural(swept.Events, "event"))
			return nil
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
Writes the whole ledger to a file, as JSON lines, to read or to move it to another database; - is the standard
output. The file gets mode 0600. ` + holdsKeys + `

The file is put in place only when all of it has come. For backups, caddy axra backup is faster.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDownload(cmd, "export", "exporting", args[0], checkExport)
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

The file is put in place only when all of it has come. To put it back: caddy axra restore-backup.

A ledger in PostgreSQL is backed up by pg_dump and put back by pg_restore.`,
		Example: "  caddy axra backup /var/backups/axra-$(date +%F).db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDownload(cmd, "backup", "backing up", args[0], nil)
		},
	}
}

// downloaded is a file that was written.
type downloaded struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	Rows  int    `json:"rows,omitempty"` // of an export
}

// runDownload makes a call whose answer goes to a file, or to the standard output. check looks at its last line.
func runDownload(cmd *cobra.Command, call, what, file string, check func(last []byte) (rows int, err error)) error {
	waiting := startProgress(cmd, what)
	done, err := fetchDownload(cmd, call, file, check, waiting)
	waiting.end()
	if err != nil || file == "-" {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, done)
	}
	size := inBytes(done.Bytes)
	if check != nil {
		size = plural(done.Rows, "row") + ", " + size
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s written to %s\n", size, done.File)
	fmt.Fprintln(cmd.ErrOrStderr(), holdsKeys)
	return nil
}

func fetchDownload(cmd *cobra.Command, call, file string, check func([]byte) (int, error), shown *progressLine) (downloaded, error) {
	response, err := callAdmin(cmd, http.MethodGet, adminBase+call, nil)
	if err != nil {
		return downloaded{}, err
	}
	defer response.Body.Close()
	if size, err := strconv.ParseInt(response.Header.Get(headerLedgerSize), 10, 64); err == nil && check == nil {
		shown.total.Store(size) // an export is of another size
	}
	response.Body = io.NopCloser(shown.reader(response.Body))
	done := downloaded{File: file}
	write := func(to io.Writer) (err error) {
		done.Bytes, done.Rows, err = copyDownload(to, response, check)
		return err
	}
	if file == "-" {
		return done, write(cmd.OutOrStdout())
	}
	return done, writeWhole(file, write)
}

// copyDownload copies the body of an answer, and compares it with the checksum that follows it.
func copyDownload(to io.Writer, response *http.Response, check func([]byte) (int, error)) (size int64, rows int, err error) {
	sum := sha256.New()
	var last lastLine
	size, err = io.Copy(io.MultiWriter(to, sum, &last), response.Body)
	if err != nil {
		return size, 0, err
	}
	if response.Trailer.Get(headerChecksum) != hex.EncodeToString(sum.Sum(nil)) {
		return size, 0, errCutOff
	}
	if check != nil {
		rows, err = check(last.text)
	}
	return size, rows, err
}

// checkExport reads the last line of an export, which counts its rows.
func checkExport(last []byte) (rows int, err error) {
	var end struct {
		End  bool `json:"end"`
		Rows int  `json:"rows"`
	}
	if json.Unmarshal(last, &end) != nil || !end.End {
		return 0, errCutOff
	}
	return end.Rows, nil
}

// lastLine keeps the end of what is written, from the last line break but one.
type lastLine struct{ text []byte }

// maxLastLine bounds what lastLine keeps.
const maxLastLine = 1 << 10

func (l *lastLine) Write(p []byte) (int, error) {
	l.text = append(l.text, p[max(0, len(p)-maxLastLine):]...)
	l.text = l.text[max(0, len(l.text)-maxLastLine):]
	if i := bytes.LastIndexByte(bytes.TrimSuffix(l.text, []byte("\n")), '\n'); i >= 0 {
		l.text = l.text[i+1:]
	}
	return len(p), nil
}

// writeWhole writes a file with mode 0600, and puts it in its place only when it is complete and on disk.
func writeWhole(name string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is gone where all went well
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
Reads an export into the ledger of the Caddy that runs, which must not have payments yet; - is the standard
input. The ledger adopts the signing keys of the export, so nobody is logged out. All of it is imported, or
nothing. Restart other nodes that use the same database.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var done importedInfo
			if err := upload(cmd, "import", "importing", args[0], &done); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s imported, and the keys of installation %s\n", plural(done.Rows, "row"), clean(done.Installation))
			return nil
		},
	}
}

// upload makes a call whose body is a file, or the standard input.
func upload(cmd *cobra.Command, call, what, name string, into any) error {
	input := cmd.InOrStdin()
	waiting := startProgress(cmd, what)
	defer waiting.end()
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the operator names it
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only read
		if info, err := file.Stat(); err == nil {
			waiting.total.Store(info.Size())
		}
		input = file
	}
	return callAdminJSON(cmd, http.MethodPost, adminBase+call, waiting.reader(input), into)
}

func restoreBackupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore-backup <file> [--database <path>]",
		Short: "Puts a backup in place of the ledger",
		Long: `
Puts a backup in place of the ledger of the Caddy that runs; nothing is sold for that moment. The ledger that is
replaced is kept beside it. What was paid since the backup is missing then: have Axra send those events again.

This is about a ledger in SQLite. Without a running Caddy, --database names the ledger's file: by default axra/ledger.db in Caddy's data directory,
such as /var/lib/caddy/.local/share/caddy/axra/ledger.db.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().String("database", "", "The ledger's file, where no Caddy runs")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		database, _ := cmd.Flags().GetString("database")
		restored, err := restoreBackup(cmd, args[0], database)
		if err != nil {
			return err
		}
		if wantsJSON(cmd) {
			return printJSON(cmd, restored)
		}
		printRestored(cmd, restored)
		return nil
	}
	return cmd
}

// restoreBackup restores by the Caddy that runs, or without one where a database is named.
func restoreBackup(cmd *cobra.Command, file, database string) (restoredInfo, error) {
	if database != "" {
		waiting := startProgress(cmd, "restoring")
		defer waiting.end()
		return restoreOffline(cmd, file, database)
	}
	var restored restoredInfo
	// The other half of a copy that was made of a ledger in use would be left behind.
	if info, err := os.Stat(file + "-wal"); err == nil && info.Size() > 0 {
		return restored, fmt.Errorf("%s-wal belongs to it, so it is no backup: make one with caddy axra backup", file)
	}
	err := upload(cmd, "backup/restore", "restoring", file, &restored)
	if errors.Is(err, errNoAdmin) {
		err = fmt.Errorf("%w; if it does not run, add --database with the path of the ledger", err)
	}
	return restored, err
}

func restoreOffline(cmd *cobra.Command, file, database string) (restoredInfo, error) {
	if cmd.Flags().Changed("address") {
		return restoredInfo{}, errors.New("--database talks to no Caddy that runs: leave out --address, or --database")
	}
	database, err := filepath.Abs(database)
	if err != nil {
		return restoredInfo{}, err
	}
	if err := ledger.CheckLocation(database); err != nil {
		return restoredInfo{}, err
	}
	if _, err := os.Stat(filepath.Dir(database)); errors.Is(err, fs.ErrNotExist) {
		return restoredInfo{}, fmt.Errorf("%s does not exist: make it first, with the user of Caddy as its owner", filepath.Dir(database))
	}
	restored, err := ledger.RestoreBackup(cmd.Context(), file, database, now())
	if errors.Is(err, ledger.ErrInUse) {
		err = fmt.Errorf("%w, or leave out --database", err)
	}
	return restoredInfoOf(restored), err
}

func printRestored(cmd *cobra.Command, restored restoredInfo) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "restored a ledger of installation %s with %s", clean(restored.Installation), plural(restored.Payments, "payment"))
	if restored.LastPayment != nil {
		fmt.Fprintf(out, ", the last at %s UTC", inUTC(restored.LastPayment))
	}
	fmt.Fprintln(out)
	if restored.Kept == "" {
		fmt.Fprintln(out, "there was no ledger before, so none was kept")
		return
	}
	fmt.Fprintf(out, "the ledger before is kept as %s: delete it when all is well, it holds the signing keys\n", clean(restored.Kept))
}
