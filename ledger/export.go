package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// An export is JSON lines. The first is its exportHead, the last its exportEnd. Each line between them is a
// row: its columns, and "table".
const (
	exportFormat  = "axra-ledger"
	exportVersion = 1
)

type exportHead struct {
	Export       string `json:"export"`
	Version      int    `json:"version"`
	Installation string `json:"installation"`
}

// exportEnd tells a complete export from one that was cut off or damaged.
type exportEnd struct {
	End    bool   `json:"end"`
	Rows   int    `json:"rows"`
	SHA256 string `json:"sha256"` // of all lines before this one
}

// exportTables are the tables with the columns that order their rows. terms come before the payments that
// refer to them. The change feed and the schema versions belong to a database, not to its content.
var exportTables = []struct{ name, key string }{
	{"installation", "id"},
	{"keys", "kid"},
	{"terms", "hash"},
	{"purchases", "id"},
	{"payments", "session_id"},
	{"payment_ids", "session_id, payment_id, same_as"},
	{"events", "id"},
	{"event_ids", "event_id, external_id"},
	{"decisions", "purchase_id, n"},
	{"devices", "purchase_id, device_id"},
	{"claims", "purchase_id, kind"},
}

// Export writes the whole ledger as JSON lines, as it is at one moment, and returns the number of rows. It
// holds the signing keys: who has it can sign access tokens. Two exports of the same content are the same.
func (l *Ledger) Export(ctx context.Context, w io.Writer) (rows int, err error) {
	database, err := l.database()
	if err != nil {
		return 0, err
	}
	err = database.snapshot(ctx, func(db queries) error {
		rows, err = export(ctx, db, w)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("exporting the ledger: %w", err)
	}
	return rows, nil
}

func export(ctx context.Context, db queries, w io.Writer) (int, error) {
	buffered := bufio.NewWriterSize(w, 1<<16)
	out := &exporter{w: buffered, sum: sha256.New()}
	head := exportHead{Export: exportFormat, Version: exportVersion}
	err := ignoreNoRows(db.QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&head.Installation))
	if err != nil {
		return 0, err
	}
	if err := out.line(head); err != nil {
		return 0, err
	}
	for _, table := range exportTables {
		if err := out.table(ctx, db, table.name, table.key); err != nil {
			return 0, fmt.Errorf("table %s: %w", table.name, err)
		}
	}
	if err := out.line(exportEnd{End: true, Rows: out.rows, SHA256: hex.EncodeToString(out.sum.Sum(nil))}); err != nil {
		return 0, err
	}
	return out.rows, buffered.Flush()
}

type exporter struct {
	w    io.Writer
	sum  hash.Hash // of the lines that were written
	rows int
}

func (e *exporter) line(value any) error {
	raw, err := marshal(value)
	if err != nil {
		return err
	}
	return e.write(raw)
}

func (e *exporter) write(line []byte) error {
	line = append(line, '\n')
	e.sum.Write(line)
	_, err := e.w.Write(line)
	return err
}

func (e *exporter) table(ctx context.Context, db queries, name, key string) error {
	rows, err := db.QueryContext(ctx, `SELECT * FROM `+name+` ORDER BY `+key)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, targets := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	var line []byte
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		if line, err = appendRow(line[:0], name, columns, values); err != nil {
			return err
		}
		if err := e.write(line); err != nil {
			return err
		}
		e.rows++
	}
	return rows.Err()
}

// appendRow writes the columns in their order, which a map would lose.
func appendRow(line []byte, table string, columns []string, values []any) ([]byte, error) {
	line = append(append(append(line, `{"table":"`...), table...), '"')
	for i, column := range columns {
		line = append(append(append(line, `,"`...), column...), `":`...)
		var err error
		if line, err = appendValue(line, values[i]); err != nil {
			return nil, fmt.Errorf("column %s: %w", column, err)
		}
	}
	return append(line, '}'), nil
}

// appendValue needs encoding/json only for unusual text: most of an export is ids.
func appendValue(line []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(line, "null"...), nil
	case int64:
		return strconv.AppendInt(line, v, 10), nil
	case []byte:
		return appendValue(line, string(v))
	case string:
		isPlain := !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
		if isPlain {
			return append(append(append(line, '"'), v...), '"'), nil
		}
	}
	raw, err := marshal(value)
	return append(line, raw...), err
}

// marshal leaves <, > and & as they are, unlike json.Marshal.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
