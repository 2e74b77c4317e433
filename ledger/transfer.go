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

// An export is JSON lines: an exportHead, then for each table an exportTable and a line for each of its rows, a list of
// their columns; and an exportEnd.
const (
	exportFormat  = "axra-ledger"
	exportVersion = 1
	// maxExportLine bounds a line in bytes. The longest hold the metadata of a webhook of 64 KB.
	maxExportLine = 1 << 20
	// importBatch bounds the rows of one statement.
	importBatch = 500
	// importTimeout is for the last statements of an import, which may process millions of rows.
	importTimeout = time.Minute
)

var (
	// ErrNotExport means that what was read is no export, or not all of one. Nothing was imported.
	ErrNotExport = errors.New("not a complete export of a ledger")
	// ErrNotEmpty means that the ledger has payments already. Nothing was imported.
	ErrNotEmpty = errors.New("the ledger has payments already: import into a new one")
)

type exportHead struct {
	Export       string `json:"export"`
	Version      int    `json:"version"`
	Installation string `json:"installation"`
}

type exportTable struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// exportEnd tells a complete export from one that was cut off or damaged.
type exportEnd struct {
	End    bool   `json:"end"`
	Rows   int    `json:"rows"`
	SHA256 string `json:"sha256"` // of all lines before this one
}

// exportTables are the tables with the columns that order their rows. terms come before the payments that refer to
// them. The change feed and the schema versions belong to a database, not to its content.
var exportTables = []struct{ name, key string }{
	{"installation", "id"},
	{"keys", "kid"},
	{"terms", "hash"},
	{"purchases", "id"},
	{"payments", "session_id"},
	{"payment_ids", "session_id, payment_id"},
	{"events", "id"},
	{"event_ids", "event_id, external_id"},
	{"decisions", "purchase_id, n"},
	{"devices", "purchase_id, device_id"},
	{"claims", "purchase_id, kind"},
}

// Export writes the whole ledger as JSON lines, as it is at one moment, and returns the number of rows. It holds the
// signing keys: who has it can sign access tokens. Two exports of the same content are the same.
func (l *Ledger) Export(ctx context.Context, w io.Writer) (rows int, err error) {
	db, err := l.database()
	if err != nil {
		return 0, err
	}
	buffered, sum := bufio.NewWriter(w), sha256.New()
	lines := json.NewEncoder(io.MultiWriter(buffered, sum))
	lines.SetEscapeHTML(false)
	err = db.snapshot(ctx, func(t *tx) error {
		head := exportHead{Export: exportFormat, Version: exportVersion}
		t.get(`SELECT id FROM installation`, nil, &head.Installation)
		t.fail(lines.Encode(head))
		for _, table := range exportTables {
			columns := t.columnsOf(table.name)
			names, values, targets := make([]string, len(columns)), make([]any, len(columns)), make(into, len(columns))
			for i, column := range columns {
				names[i], targets[i] = column.Name(), &values[i]
			}
			t.fail(lines.Encode(exportTable{table.name, names}))
			t.each(`SELECT * FROM `+table.name+` ORDER BY `+table.key, nil, targets, func() {
				t.fail(lines.Encode(values))
				rows++
			})
		}
		return lines.Encode(exportEnd{End: true, Rows: rows, SHA256: hex.EncodeToString(sum.Sum(nil))})
	})
	return rows, cmp.Or(err, buffered.Flush())
}

// columnsOf lists the columns of a table in its own order.
func (t *tx) columnsOf(table string) []*sql.ColumnType {
	if t.err != nil {
		return nil
	}
	query, _ := t.prepare(`SELECT * FROM `+table+` WHERE 1 = 0`, nil)
	rows, err := t.db.QueryContext(t.ctx, query)
	if err != nil {
		t.failBy(err)
		return nil
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	t.failBy(err)
	return columns
}

// Imported is what an import has done.
type Imported struct {
	Installation string `json:"installation"` // that the ledger has adopted, with its keys
	Rows         int    `json:"rows"`
}

// Import reads an export into a ledger without payments, which adopts its installation and keys. Cookies and links of
// the exported ledger work in this one. Other nodes of this database must be restarted.
//
// The export is stored in a temporary file and checked to its end before anything is written. One transaction then
// writes all of it, so that readers see nothing or everything. Payments received meanwhile wait, or are rejected and
// sent again.
func (l *Ledger) Import(ctx context.Context, r io.Reader) (Imported, error) {
	checkEmpty := func(t *tx) (none struct{}, err error) {
		if len(t.texts(`SELECT session_id FROM payments LIMIT 1`)) > 0 {
			err = ErrNotEmpty
		}
		return none, err
	}
	if _, err := read(ctx, l, checkEmpty); err != nil {
		return Imported{}, err
	}
	directory := "" // where the system has its own
	if l.options.Path != "" {
		directory = filepath.Dir(l.options.Path)
	}
	spool, err := os.CreateTemp(directory, "import-*.jsonl") // mode 0600
	if err != nil {
		return Imported{}, err
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	imported, err := checkExport(io.TeeReader(r, spool))
	if err != nil {
		return Imported{}, fmt.Errorf("%w: %w", ErrNotExport, err)
	}
	// A write that has begun is not abandoned: it reads the file.
	return write(context.WithoutCancel(ctx), l, func(t *tx) (Imported, error) {
		if _, err := checkEmpty(t); err != nil {
			return Imported{}, err
		}
		_, err := spool.Seek(0, io.SeekStart)
		t.fail(err)
		t.adopted = imported.Installation
		t.waitUpTo(importTimeout)
		l.importRows(t, spool)
		return imported, nil
	})
}

// checkExport checks that an export is complete.
func checkExport(r io.Reader) (Imported, error) {
	var head exportHead
	var end exportEnd
	var last []byte
	sum := sha256.New()
	err := eachLine(r, func(line []byte) error {
		if last == nil {
			_ = json.Unmarshal(line, &head) // an error leaves it incomplete
		}
		sum.Write(last)
		last = append(append(last[:0], line...), '\n')
		return nil
	})
	_ = json.Unmarshal(last, &end) // likewise
	switch {
	case err != nil:
		return Imported{}, err
	case head.Export != exportFormat || head.Installation == "":
		return Imported{}, errors.New("its first line does not say so")
	case head.Version != exportVersion:
		return Imported{}, fmt.Errorf("version %d is unknown to this version of the plugin", head.Version)
	case !end.End:
		return Imported{}, errors.New("its last line is missing")
	case end.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return Imported{}, errors.New("it was changed or damaged")
	}
	return Imported{Installation: head.Installation, Rows: end.Rows}, nil
}

func eachLine(r io.Reader, f func(line []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 1<<16), maxExportLine)
	for number := 1; lines.Scan(); number++ {
		if err := f(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return lines.Err()
}

// importRows replaces the installation and the keys, and adds everything else. Events that arrived before stay and have
// their effect.
func (l *Ledger) importRows(t *tx, r io.Reader) {
	early := readEvents(t, allEvents)
	t.exec(`DELETE FROM installation`)
	t.exec(`DELETE FROM keys`)
	var insert string // a batch of the table whose rows are read
	var batch []string
	flush := func() {
		if len(batch) > 0 {
			t.exec(insert, "["+strings.Join(batch, ",")+"]")
		}
		batch = batch[:0]
	}
	err := eachLine(r, func(line []byte) (err error) {
		if bytes.HasPrefix(line, []byte("[")) {
			if batch = append(batch, string(line)); len(batch) == importBatch {
				flush()
			}
			return t.err
		}
		flush()
		var table exportTable
		if err := json.Unmarshal(line, &table); err != nil || table.Table == "" {
			return err // the head or the end
		}
		insert, err = l.insertInto(t, table)
		return err
	})
	if err != nil {
		t.fail(fmt.Errorf("%w: %w", ErrNotExport, err))
	}
	l.advanceFeed(t, "")
	t.exec(l.dialect().analyze)
	for _, event := range early {
		l.recordEvent(t, event)
	}
}

// insertInto is the statement that inserts a list of rows into a table.
func (l *Ledger) insertInto(t *tx, table exportTable) (string, error) {
	if !slices.ContainsFunc(exportTables, func(known struct{ name, key string }) bool { return known.name == table.Table }) {
		return "", fmt.Errorf("table %q is unknown to this version of the plugin", table.Table)
	}
	types := make(map[string]string)
	for _, column := range t.columnsOf(table.Table) {
		types[column.Name()] = column.DatabaseTypeName()
	}
	values := make([]string, len(table.Columns))
	for i, column := range table.Columns {
		if types[column] == "" {
			return "", fmt.Errorf("table %s has the column %q, which is unknown to this version of the plugin", table.Table, column)
		}
		values[i] = fmt.Sprintf("CAST(value ->> %d AS %s)", i, types[column])
	}
	insert := `INSERT INTO ` + table.Table + ` (` + strings.Join(table.Columns, ", ") + `)
		SELECT ` + strings.Join(values, ", ") + ` FROM ` + l.dialect().list
	if table.Table == "events" || table.Table == "event_ids" {
		insert += ` WHERE true ON CONFLICT DO NOTHING` // some may have been received before
	}
	return insert, t.err
}
