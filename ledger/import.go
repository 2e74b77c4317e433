package ledger

import (
	"context"
	"crypto/sha256"
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

// maxExportLine bounds a line of an export in bytes. The longest hold the metadata of a webhook of 64 KB.
const maxExportLine = 1 << 20

// Imported is what an import has done.
type Imported struct {
	Installation string `json:"installation"` // that the ledger has adopted, with its keys
	Rows         int    `json:"rows"`
}

// Import reads an export into a ledger without payments, which adopts its installation and keys. Cookies
// and links of the exported ledger work in this one. Other nodes of this database must be started anew.
//
// The export is stored in a temporary file and checked to its end before anything is written. One
// transaction then writes all of it, so that a reader sees nothing or everything, whatever happens.
// Payments that arrive meanwhile wait, or are refused and sent again.
func (l *Ledger) Import(ctx context.Context, r io.Reader) (Imported, error) {
	imported, err := l.importAll(ctx, r)
	if err != nil {
		return Imported{}, fmt.Errorf("importing a ledger: %w", err)
	}
	return imported, nil
}

func (l *Ledger) importAll(ctx context.Context, r io.Reader) (Imported, error) {
	columns := make(tableColumns)
	isEmpty := false
	err := l.read(ctx, func(ctx context.Context, tx *tx) (err error) {
		if isEmpty, err = hasNoPayments(ctx, tx); err != nil {
			return err
		}
		return columns.read(ctx, tx)
	})
	if err == nil && !isEmpty {
		err = ErrNotEmpty
	}
	if err != nil {
		return Imported{}, err
	}
	spool, err := os.CreateTemp(l.directory(), "import-*.jsonl") // mode 0600
	if err != nil {
		return Imported{}, err
	}
	defer func() { _ = os.Remove(spool.Name()) }()
	defer func() { _ = spool.Close() }()
	check := exportCheck{columns: columns, sum: sha256.New()}
	imported, err := check.run(io.TeeReader(r, spool))
	if err != nil {
		return Imported{}, err
	}
	// A write that has begun is not abandoned: it reads the file.
	err = l.write(context.WithoutCancel(ctx), func(ctx context.Context, tx *tx) (err error) {
		if isEmpty, err = hasNoPayments(ctx, tx); err != nil || !isEmpty {
			return err
		}
		if _, err := spool.Seek(0, io.SeekStart); err != nil {
			return err
		}
		tx.adopted = imported.Installation
		tx.waitUpTo(importTimeout)
		return l.importRows(ctx, tx, spool, check.used)
	})
	if err == nil && !isEmpty {
		err = ErrNotEmpty
	}
	if err != nil {
		return Imported{}, err
	}
	return imported, nil
}

// directory is where large temporary files may lie; empty: where the system has its own.
func (l *Ledger) directory() string {
	if l.options.URL != "" {
		return ""
	}
	return filepath.Dir(l.options.Path)
}

func hasNoPayments(ctx context.Context, tx *tx) (bool, error) {
	sessions, err := tx.texts(ctx, `SELECT session_id FROM payments LIMIT 1`)
	return len(sessions) == 0, err
}

// tableColumns are the columns of each table, in its own order.
type tableColumns map[string][]string

func (c tableColumns) read(ctx context.Context, tx *tx) error {
	for _, table := range exportTables {
		rows, err := tx.QueryContext(ctx, `SELECT * FROM `+table.name+` WHERE 1 = 0`)
		if err != nil {
			return err
		}
		c[table.name], err = rows.Columns()
		rows.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// importRows replaces the installation and the keys, and adds everything else. Events that arrived before
// stay and have their effect.
func (l *Ledger) importRows(ctx context.Context, tx *tx, r io.Reader, columns tableColumns) error {
	early, err := tx.texts(ctx, `SELECT id FROM events`)
	if err != nil {
		return err
	}
	for _, query := range []string{`DELETE FROM installation`, `DELETE FROM keys`} {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	in := importer{tx: tx, columns: columns}
	err = eachLine(r, func(number int, line []byte) error {
		if number == 1 || isEnd(line) {
			return nil
		}
		record, err := parseRecord(line)
		if err != nil {
			return err
		}
		return in.add(ctx, record)
	})
	if err != nil {
		return err
	}
	if err := in.flush(ctx); err != nil {
		return err
	}
	if err := l.advanceKeys(ctx, tx); err != nil {
		return err
	}
	if err := tx.runScript(ctx, l.options.dialect().analyze); err != nil {
		return err
	}
	return l.recomputeMatched(ctx, tx, early)
}

// recomputeMatched computes the purchases anew that events are about.
func (l *Ledger) recomputeMatched(ctx context.Context, tx *tx, events []string) error {
	for batch := range slices.Chunk(events, sqlBatch) {
		list, args := inList(batch, sqlBatch)
		purchases, err := tx.texts(ctx, `
			SELECT p.purchase_id
			FROM events e CROSS JOIN payments p
			WHERE e.id IN (`+list+`) AND p.session_id = e.session_id
			UNION
			SELECT p.purchase_id
			FROM event_ids x CROSS JOIN payment_ids i CROSS JOIN payments p
			WHERE x.event_id IN (`+list+`) AND i.payment_id = x.external_id AND p.session_id = i.session_id`, args...)
		if err != nil {
			return err
		}
		for _, id := range purchases {
			if _, _, err := l.recompute(ctx, tx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// importTimeout is for the last statements of an import, which may have millions of rows to settle.
const importTimeout = time.Minute

// importBatch bounds the rows of one statement. SQLite's driver takes quadratic time for its parameters.
const importBatch = 25

// importer inserts rows in batches of one table.
type importer struct {
	tx      *tx
	columns tableColumns
	table   string // of the rows that wait
	args    []any
	rows    int
}

func (in *importer) add(ctx context.Context, record exportRecord) error {
	if record.table != in.table || in.rows == importBatch {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	in.table = record.table
	for _, column := range in.columns[record.table] {
		in.args = append(in.args, record.values[column])
	}
	in.rows++
	return nil
}

// flush inserts the rows that wait. Only events may be there already.
func (in *importer) flush(ctx context.Context) error {
	if in.rows == 0 {
		return nil
	}
	columns := in.columns[in.table]
	var query strings.Builder
	query.WriteString(`INSERT INTO ` + in.table + ` (` + strings.Join(columns, ", ") + `) VALUES `)
	for i := range in.args {
		switch {
		case i%len(columns) != 0:
			query.WriteString(", ")
		case i > 0:
			query.WriteString("), (")
		default:
			query.WriteString("(")
		}
		query.WriteString("$" + strconv.Itoa(i+1))
	}
	query.WriteString(")")
	if in.table == "events" || in.table == "event_ids" {
		query.WriteString(" ON CONFLICT DO NOTHING")
	}
	_, err := in.tx.ExecContext(ctx, query.String(), in.args...)
	in.rows, in.args = 0, in.args[:0]
	return err
}
