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
	"hash"
	"io"
)

// An export is JSON lines: an exportHead, then for each table an exportTable and a line for each of its rows, a list of
// their columns; and an exportEnd.
const (
	exportFormat  = "axra-ledger"
	exportVersion = 1
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
}

// Export writes the whole ledger as JSON lines, as it is at one moment, and returns the number of rows. It holds the
// signing keys: who has it can sign access tokens. Two exports of the same content are the same.
func (l *Ledger) Export(ctx context.Context, w io.Writer) (rows int, err error) {
	db, err := l.database()
	if err != nil {
		return 0, err
	}
	buffered := bufio.NewWriter(w)
	out := &exporter{w: buffered, sum: sha256.New()}
	err = db.snapshot(ctx, out.writeAll)
	return out.rows, cmp.Or(err, buffered.Flush())
}

type exporter struct {
	w    io.Writer
	sum  hash.Hash // of the lines that were written
	rows int
}

func (e *exporter) writeAll(t *tx) {
	head := exportHead{Export: exportFormat, Version: exportVersion}
	t.get(`SELECT id FROM installation`, nil, &head.Installation)
	t.fail(e.writeLine(head))
	for _, table := range exportTables {
		e.writeTable(t, table.name, table.key)
	}
	t.fail(e.writeLine(exportEnd{End: true, Rows: e.rows, SHA256: hex.EncodeToString(e.sum.Sum(nil))}))
}

func (e *exporter) writeLine(value any) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	e.sum.Write(line.Bytes())
	_, err := e.w.Write(line.Bytes())
	return err
}

func (e *exporter) writeTable(t *tx, name, key string) {
	columns := t.columnsOf(name)
	names, values, targets := make([]string, len(columns)), make([]any, len(columns)), make(into, len(columns))
	for i, column := range columns {
		names[i], targets[i] = column.Name(), &values[i]
	}
	t.fail(e.writeLine(exportTable{name, names}))
	t.each(`SELECT * FROM `+name+` ORDER BY `+key, nil, targets, func() {
		t.fail(e.writeLine(values))
		e.rows++
	})
}

// columnsOf lists the columns of a table in its own order.
func (t *tx) columnsOf(table string) []*sql.ColumnType {
	if t.err != nil {
		return nil
	}
	rows, err := t.db.QueryContext(t.ctx, `SELECT * FROM `+table+` WHERE 1 = 0`)
	if err != nil {
		t.fail(err)
		return nil
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	t.fail(err)
	return columns
}
