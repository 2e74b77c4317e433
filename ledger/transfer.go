package ledger

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	exportFormat  = "axra-ledger"
	exportVersion = 1
	// maxExportLine bounds a line in bytes. The longest hold the metadata of a webhook of 64 KB.
	maxExportLine = 1 << 20
	// importBatch bounds the rows of one statement.
	importBatch = 500
	// transferTimeout is for millions of rows.
	transferTimeout = time.Hour
)

var (
	// ErrNotExport means that what was read is no export, not all of one, or one of another installation. Nothing was
	// imported.
	ErrNotExport = errors.New("not a complete backup of this ledger")
	// ErrNotEmpty means that the ledger has payments already. Nothing was imported.
	ErrNotEmpty = errors.New("the ledger has payments already: import into a new one, or put a backup back with restore-backup")
)

// exportLine is a line of an export that is no row: its first, that of each table before its rows, which are lists of its
// columns, and its last, which tells a complete export from one that was cut off or damaged.
type exportLine struct {
	Export       string   `json:"export,omitempty"`
	Version      int      `json:"version,omitempty"`
	Installation string   `json:"installation,omitempty"`
	Table        string   `json:"table,omitempty"`
	Columns      []string `json:"columns,omitempty"`
	End          bool     `json:"end,omitempty"`
	Rows         int      `json:"rows,omitempty"`
	SHA256       string   `json:"sha256,omitempty"` // of all lines before this one
}

// exportTables are in an order in which they can be filled. The change feed and the schema versions belong to a database,
// not to its content.
var exportTables = []string{
	"installation", "keys", "terms", "purchases", "payments", "payment_ids", "events", "event_ids", "decisions", "devices",
}

// Export writes the whole ledger as JSON lines, as it is at one moment. It holds the signing keys: who has it can sign
// access tokens. Two exports of the same content are the same.
func (l *Ledger) Export(ctx context.Context, w io.Writer) error {
	return l.withFile(func(spool *os.File) error { // a slow client must not keep a transaction open
		_, err := readWithin(ctx, l, transferTimeout, func(t *tx) (struct{}, error) { return struct{}{}, writeExport(t, spool) })
		if err == nil {
			_, err = spool.Seek(0, io.SeekStart)
		}
		if err == nil {
			_, err = io.Copy(w, spool)
		}
		return err
	})
}

// withFile calls f with a temporary file, which only its owner can read.
func (l *Ledger) withFile(f func(*os.File) error) error {
	directory := "" // where the system has its own
	if l.options.Path != "" {
		directory = filepath.Dir(l.options.Path)
	}
	file, err := os.CreateTemp(directory, "axra-ledger-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	return f(file)
}

func writeExport(t *tx, w io.Writer) error {
	buffered, sum, rows := bufio.NewWriter(w), sha256.New(), 0
	lines := json.NewEncoder(io.MultiWriter(buffered, sum))
	lines.SetEscapeHTML(false)
	head := exportLine{Export: exportFormat, Version: exportVersion}
	t.get(`SELECT id FROM installation`, nil, &head.Installation)
	t.fail(lines.Encode(head))
	for _, table := range exportTables {
		names, _ := t.columnsOf(table)
		values, targets := make([]any, len(names)), make(into, len(names))
		for i := range names {
			targets[i] = &values[i]
		}
		t.fail(lines.Encode(exportLine{Table: table, Columns: names}))
		t.each(`SELECT * FROM `+table+` ORDER BY 1, 2`, nil, targets, func() {
			t.fail(lines.Encode(values))
			rows++
		})
	}
	err := lines.Encode(exportLine{End: true, Rows: rows, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return cmp.Or(err, buffered.Flush())
}

// columnsOf lists the columns of a table in its own order, and their types.
func (t *tx) columnsOf(table string) (names []string, types map[string]string) {
	types = make(map[string]string)
	t.query(`SELECT * FROM `+table+` WHERE 1 = 0`, nil, func(rows *sql.Rows) error {
		columns, err := rows.ColumnTypes()
		for _, column := range columns {
			names, types[column.Name()] = append(names, column.Name()), column.DatabaseTypeName()
		}
		return err
	})
	return names, types
}

// Imported is what an import has done.
type Imported struct {
	Installation string `json:"installation"` // that the ledger has adopted, with its keys
	Rows         int    `json:"rows"`
	Kept         string `json:"kept,omitempty"` // the file with an export of what was replaced; empty: there is none
}

// Import reads an export into a ledger without payments, which adopts its installation and keys. Cookies and links of
// the exported ledger work in this one. Other nodes of this database must be restarted.
func (l *Ledger) Import(ctx context.Context, r io.Reader) (Imported, error) {
	return l.replace(ctx, r, false)
}

// Restore is Import for a ledger that may have payments, which are replaced: by an export of the same installation. Every
// node forgets what it remembers. An SQLite ledger is exported to a file beside it before.
func (l *Ledger) Restore(ctx context.Context, r io.Reader) (Imported, error) {
	return l.replace(ctx, r, true)
}

// replace imports in one transaction, so that readers see the one or the other. Payments received meanwhile wait, or are
// rejected and sent again. Events that were received before stay and have their effect.
func (l *Ledger) replace(ctx context.Context, r io.Reader, mayHavePayments bool) (imported Imported, err error) {
	err = l.withFile(func(spool *os.File) error {
		if _, err := io.Copy(spool, r); err != nil {
			return err
		}
		// A write that has begun is not abandoned: it reads the file.
		imported, err = write(context.WithoutCancel(ctx), l, func(t *tx) (imported Imported, err error) {
			t.waitUpTo(transferTimeout)
			known, kept := "", ""
			if hasPayments := len(t.texts(`SELECT session_id FROM payments LIMIT 1`)) > 0; hasPayments {
				if !mayHavePayments {
					return Imported{}, ErrNotEmpty
				}
				t.get(`SELECT id FROM installation`, nil, &known)
				kept = l.exportBeside(t)
				t.exec(`DELETE FROM changes`) // a node may have read any of them
			}
			events := readEvents(t, allEvents)
			for _, table := range slices.Backward(exportTables) {
				t.exec(`DELETE FROM ` + table)
			}
			imported = l.importRows(t, spool, known)
			imported.Kept = kept
			for _, event := range events {
				l.recordEvent(t, event)
			}
			t.adopted = imported.Installation
			return imported, nil
		})
		return err
	})
	return imported, err
}

// exportBeside exports the ledger to a file beside the SQLite file.
func (l *Ledger) exportBeside(t *tx) (name string) {
	if l.options.Path == "" {
		return ""
	}
	name = l.options.Path + ".before-restore-" + l.options.Now().UTC().Format("20060102T150405.000Z")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // beside the operator's own path
	if err == nil {
		err = cmp.Or(writeExport(t, file), file.Sync(), file.Close())
	}
	t.fail(err)
	return name
}

func eachLine(r io.Reader, f func(line []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxExportLine)
	for number := 1; lines.Scan(); number++ {
		if err := f(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return lines.Err()
}

// importRows inserts the rows of an export, if it is complete and of the installation, where that is not empty.
func (l *Ledger) importRows(t *tx, export io.ReadSeeker, installation string) Imported {
	var head, line exportLine
	var insert string           // a batch of the table whose rows are read
	var batch []json.RawMessage // of rows
	flush := func() {
		if len(batch) > 0 {
			rows, err := json.Marshal(batch)
			t.fail(err)
			t.exec(insert, string(rows))
		}
		batch = batch[:0]
	}
	sum, sumBefore := sha256.New(), ""
	_, err := export.Seek(0, io.SeekStart)
	t.fail(err)
	err = eachLine(export, func(text []byte) (err error) {
		sumBefore = hex.EncodeToString(sum.Sum(nil))
		fmt.Fprintf(sum, "%s\n", text)
		if bytes.HasPrefix(text, []byte("[")) {
			if batch = append(batch, bytes.Clone(text)); len(batch) == importBatch {
				flush()
			}
			return nil
		}
		flush()
		line = exportLine{}
		if err := json.Unmarshal(text, &line); err != nil {
			return err
		}
		if line.Export != "" {
			head = line
		}
		if line.Table != "" {
			insert, err = l.insertInto(t, line)
		}
		return err
	})
	switch {
	case err != nil:
	case head.Export != exportFormat || head.Installation == "":
		err = errors.New("its first line does not say so")
	case installation != "" && installation != head.Installation:
		err = fmt.Errorf("it is of installation %s, and the ledger of %s: import it into a new one", head.Installation, installation)
	case head.Version != exportVersion:
		err = fmt.Errorf("version %d is unknown to this version of the plugin", head.Version)
	case line.SHA256 != sumBefore:
		err = errors.New("it was cut off, changed or damaged")
	}
	if err != nil {
		t.err = fmt.Errorf("%w: %w", ErrNotExport, err) // rather than what came of it
	}
	l.advanceFeed(t, "")
	t.exec(t.dialect.analyze)
	return Imported{Installation: head.Installation, Rows: line.Rows}
}

// insertInto is the statement that inserts a list of rows into a table.
func (l *Ledger) insertInto(t *tx, table exportLine) (string, error) {
	if !slices.Contains(exportTables, table.Table) {
		return "", fmt.Errorf("table %q is unknown to this version of the plugin", table.Table)
	}
	_, types := t.columnsOf(table.Table)
	values := make([]string, len(table.Columns))
	for i, column := range table.Columns {
		if types[column] == "" {
			return "", fmt.Errorf("table %s has the column %q, which is unknown to this version of the plugin", table.Table, column)
		}
		values[i] = fmt.Sprintf("CAST(value ->> %d AS %s)", i, types[column])
	}
	// Some events may have been received before.
	return `INSERT INTO ` + table.Table + ` (` + strings.Join(table.Columns, ", ") + `) SELECT ` + strings.Join(values, ", ") +
		` FROM ` + t.dialect.list + ` WHERE true ON CONFLICT DO NOTHING`, t.err
}
