package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors of Import.
var (
	// ErrNotExport means that what was read is no export, or not all of one. Nothing was imported.
	ErrNotExport = errors.New("not a complete export of a ledger")
	// ErrNotEmpty means that the ledger has payments already. Nothing was imported.
	ErrNotEmpty = errors.New("the ledger has payments already: import into a new one")
)

const (
	// maxExportLine bounds a line of an export in bytes. The longest hold the metadata of a webhook of 64 KB.
	maxExportLine = 1 << 20
	// importBatch bounds the rows of one statement. SQLite's driver takes quadratic time for its parameters.
	importBatch = 25
	// importTimeout is for the last statements of an import, which may have millions of rows to settle.
	importTimeout = time.Minute
)

// Imported is what an import has done.
type Imported struct {
	Installation string // that the ledger has adopted, with its keys
	Rows         int
}

// Import reads an export into a ledger without payments, which adopts its installation and keys. Cookies and links of
// the exported ledger work in this one. Other nodes of this database must be started anew.
//
// The export is stored in a temporary file and checked to its end before anything is written. One transaction then
// writes all of it, so that a reader sees nothing or everything, whatever happens. Payments that arrive meanwhile wait,
// or are refused and sent again.
func (l *Ledger) Import(ctx context.Context, r io.Reader) (Imported, error) {
	imported, err := l.importAll(ctx, r)
	if err != nil {
		return Imported{}, fmt.Errorf("importing a ledger: %w", err)
	}
	return imported, nil
}

func (l *Ledger) importAll(ctx context.Context, r io.Reader) (Imported, error) {
	_, err := read(ctx, l, func(t *tx) (struct{}, error) { return struct{}{}, checkEmpty(t) })
	if err != nil {
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
	defer func() { _ = os.Remove(spool.Name()) }()
	defer func() { _ = spool.Close() }()
	imported, err := checkExport(io.TeeReader(r, spool))
	if err != nil {
		return Imported{}, fmt.Errorf("%w: %w", ErrNotExport, err)
	}
	// A write that has begun is not abandoned: it reads the file.
	return write(context.WithoutCancel(ctx), l, func(t *tx) (Imported, error) {
		if err := checkEmpty(t); err != nil {
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

func checkEmpty(t *tx) error {
	if len(t.texts(`SELECT session_id FROM payments LIMIT 1`)) > 0 {
		return ErrNotEmpty
	}
	return nil
}

// checkExport reads an export to its end and checks that it is complete.
func checkExport(r io.Reader) (Imported, error) {
	var head exportHead
	var end exportEnd
	sum, rows := sha256.New(), -1
	err := eachLine(r, func(line []byte) error {
		switch {
		case end.End:
			return errors.New("something follows its last line")
		case rows < 0:
			if json.Unmarshal(line, &head) != nil || head.Export != exportFormat || head.Installation == "" {
				return errors.New("its first line does not say so")
			}
			if head.Version != exportVersion {
				return fmt.Errorf("version %d is unknown to this version of the plugin", head.Version)
			}
		case isEnd(line):
			return json.Unmarshal(line, &end)
		}
		rows++
		sum.Write(line)
		sum.Write([]byte("\n"))
		return nil
	})
	switch {
	case err != nil:
		return Imported{}, err
	case !end.End:
		return Imported{}, errors.New("its last line is missing")
	case end.Rows != rows || end.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return Imported{}, fmt.Errorf("it was changed or damaged: it should have %d rows and has %d", end.Rows, rows)
	}
	return Imported{Installation: head.Installation, Rows: rows}, nil
}

func isEnd(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"end":true,`)) }

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
	in := importer{t: t, known: make(map[string][]string)}
	for _, table := range exportTables {
		in.known[table.name] = t.columnsOf(table.name)
	}
	isHead := true
	err := eachLine(r, func(line []byte) error {
		if isHead || isEnd(line) {
			isHead = false
			return nil
		}
		return in.add(line)
	})
	in.flush()
	if err == nil && len(t.texts(`SELECT id FROM installation`)) != 1 {
		err = errors.New("it has not one installation")
	}
	if err != nil {
		t.fail(fmt.Errorf("%w: %w", ErrNotExport, err))
	}
	l.advanceFeed(t, "")
	t.exec(l.options.dialect().analyze)
	for _, event := range early {
		l.recordEvent(t, event)
	}
}

// importer inserts rows in batches of one table. The rows of a table have the same columns.
type importer struct {
	t       *tx
	known   map[string][]string // columns of the tables
	table   string              // of the rows that wait
	columns []string
	args    args
	rows    int
}

func (in *importer) add(line []byte) error {
	var record exportRow
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&record); err != nil {
		return err
	}
	if record.Table != in.table || in.rows == importBatch {
		in.flush()
	}
	if record.Table != in.table {
		in.table = record.Table
		in.columns = slices.DeleteFunc(slices.Clone(in.known[in.table]), func(column string) bool {
			_, isUsed := record.Row[column]
			return !isUsed
		})
	}
	if len(record.Row) != len(in.columns) || len(record.Row) == 0 {
		return fmt.Errorf("table %q has columns that are unknown to this version of the plugin", in.table)
	}
	for _, column := range in.columns {
		value, err := storedValue(record.Row, column)
		if err != nil {
			return err
		}
		in.args = append(in.args, value)
	}
	in.rows++
	return in.t.err
}

func storedValue(row map[string]any, column string) (any, error) {
	switch value := row[column].(type) {
	case json.Number:
		return value.Int64()
	case string:
		return value, nil
	case nil:
		if _, isNull := row[column]; isNull {
			return nil, nil //nolint:nilnil // NULL
		}
	}
	return nil, fmt.Errorf("the column %s is missing, or neither text nor a number", column)
}

// flush inserts the rows that wait. Only events may be there already.
func (in *importer) flush() {
	if in.rows == 0 {
		return
	}
	row := "(" + strings.Repeat("?, ", len(in.columns)-1) + "?)"
	query := `INSERT INTO ` + in.table + ` (` + strings.Join(in.columns, ", ") + `) VALUES ` +
		numbered(strings.Repeat(row+", ", in.rows-1)+row)
	if in.table == "events" || in.table == "event_ids" {
		query += " ON CONFLICT DO NOTHING"
	}
	in.t.exec(query, in.args...)
	in.rows, in.args = 0, nil
}

// numbered turns each question mark into $1, $2 and so on.
func numbered(query string) string {
	parts := strings.Split(query, "?")
	var b strings.Builder
	for i, part := range parts[:len(parts)-1] {
		b.WriteString(part + "$" + strconv.Itoa(i+1))
	}
	return b.String() + parts[len(parts)-1]
}
