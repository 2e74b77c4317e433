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
	"strings"
	"time"
)

var (
	// ErrNotExport means that what was read is no export, or not all of one. Nothing was imported.
	ErrNotExport = errors.New("not a complete export of a ledger")
	// ErrNotEmpty means that the ledger has payments already. Nothing was imported.
	ErrNotEmpty = errors.New("the ledger has payments already: import into a new one")
)

const (
	// maxExportLine bounds a line of an export in bytes. The longest hold the metadata of a webhook of 64 KB.
	maxExportLine = 1 << 20
	// importBatch bounds the rows of one statement.
	importBatch = 500
	// importTimeout is for the last statements of an import, which may process millions of rows.
	importTimeout = time.Minute
)

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

func checkExport(r io.Reader) (Imported, error) {
	var head exportHead
	var end exportEnd
	sum, rows := sha256.New(), 0
	err := eachLine(r, func(line []byte) error {
		switch {
		case end.End:
			return errors.New("something follows its last line")
		case head.Export == "":
			if json.Unmarshal(line, &head) != nil || head.Export != exportFormat || head.Installation == "" {
				return errors.New("its first line does not say so")
			}
			if head.Version != exportVersion {
				return fmt.Errorf("version %d is unknown to this version of the plugin", head.Version)
			}
		case isEnd(line):
			return json.Unmarshal(line, &end)
		case bytes.HasPrefix(line, []byte("[")):
			rows++
		}
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
	in := importer{t: t, list: l.options.dialect().list}
	err := eachLine(r, in.add)
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

type importer struct {
	t      *tx
	list   string // of the dialect
	insert string // a batch of the table whose rows are read
	batch  []string
}

func (in *importer) add(line []byte) error {
	if !bytes.HasPrefix(line, []byte("[")) {
		var table exportTable
		if err := json.Unmarshal(line, &table); err != nil || table.Table == "" {
			return err // the head or the end
		}
		in.flush()
		return in.begin(table)
	}
	if in.insert == "" {
		return errors.New("it does not say of which table it is")
	}
	if in.batch = append(in.batch, string(line)); len(in.batch) == importBatch {
		in.flush()
	}
	return in.t.err
}

// begin prepares the statement for the rows of a table.
func (in *importer) begin(table exportTable) error {
	if !slices.ContainsFunc(exportTables, func(known struct{ name, key string }) bool { return known.name == table.Table }) {
		return fmt.Errorf("table %q is unknown to this version of the plugin", table.Table)
	}
	types := make(map[string]string)
	for _, column := range in.t.columnsOf(table.Table) {
		types[column.Name()] = column.DatabaseTypeName()
	}
	values := make([]string, len(table.Columns))
	for i, column := range table.Columns {
		if types[column] == "" {
			return fmt.Errorf("table %s has the column %q, which is unknown to this version of the plugin", table.Table, column)
		}
		values[i] = fmt.Sprintf("CAST(value ->> %d AS %s)", i, types[column])
	}
	in.insert = `INSERT INTO ` + table.Table + ` (` + strings.Join(table.Columns, ", ") + `)
		SELECT ` + strings.Join(values, ", ") + ` FROM ` + in.list
	if table.Table == "events" || table.Table == "event_ids" {
		in.insert += ` WHERE true ON CONFLICT DO NOTHING` // some may have been received before
	}
	return in.t.err
}

func (in *importer) flush() {
	if len(in.batch) > 0 {
		in.t.exec(in.insert, "["+strings.Join(in.batch, ",")+"]")
		in.batch = in.batch[:0]
	}
}
