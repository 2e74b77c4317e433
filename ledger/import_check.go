package ledger

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
)

// exportRecord is a row of an export.
type exportRecord struct {
	table  string
	values map[string]any // by column
}

// exportCheck reads an export to its end and checks that it is complete and fits the tables.
type exportCheck struct {
	columns tableColumns // of the database
	used    tableColumns // of those, the ones that the export has

	head          exportHead
	installations []string
	rows          int
	sum           hash.Hash
	ended         bool
}

func (c *exportCheck) run(r io.Reader) (Imported, error) {
	c.used = make(tableColumns)
	err := eachLine(r, func(number int, line []byte) error {
		if err := c.line(number, line); err != nil {
			return err
		}
		c.sum.Write(line)
		c.sum.Write([]byte("\n"))
		return nil
	})
	if err == nil && !c.ended {
		err = errors.New("its last line is missing")
	}
	if err == nil && !slices.Equal(c.installations, []string{c.head.Installation}) {
		err = errors.New("its installation is not that of its first line")
	}
	if err != nil {
		return Imported{}, fmt.Errorf("%w: %w", ErrNotExport, err)
	}
	return Imported{Installation: c.head.Installation, Rows: c.rows}, nil
}

func (c *exportCheck) line(number int, line []byte) error {
	var end exportEnd
	switch {
	case c.ended:
		return errors.New("something follows its last line")
	case number == 1:
		if json.Unmarshal(line, &c.head) != nil || c.head.Export != exportFormat || c.head.Installation == "" {
			return errors.New("its first line does not say so")
		}
		if c.head.Version != exportVersion {
			return fmt.Errorf("version %d is unknown to this version of the plugin", c.head.Version)
		}
		return nil
	case isEnd(line) && json.Unmarshal(line, &end) == nil:
		c.ended = true
		if end.Rows != c.rows || end.SHA256 != hex.EncodeToString(c.sum.Sum(nil)) {
			return fmt.Errorf("it was changed or damaged: it should have %d rows and has %d", end.Rows, c.rows)
		}
		return nil
	}
	record, err := parseRecord(line)
	if err != nil {
		return err
	}
	c.rows++
	if id, ok := record.values["id"].(string); ok && record.table == "installation" {
		c.installations = append(c.installations, id)
	}
	return c.fits(record)
}

// fits checks that a row has columns that the database knows, and the same as the first row of its table.
func (c *exportCheck) fits(record exportRecord) error {
	known, ok := c.columns[record.table]
	if !ok {
		return fmt.Errorf("table %q is unknown to this version of the plugin", record.table)
	}
	used, isUsed := c.used[record.table]
	if !isUsed {
		used = slices.DeleteFunc(slices.Clone(known), func(column string) bool {
			_, ok := record.values[column]
			return !ok
		})
		c.used[record.table] = used
	}
	for _, column := range used {
		if _, ok := record.values[column]; !ok {
			return fmt.Errorf("table %s: the column %s is missing", record.table, column)
		}
	}
	if len(record.values) != len(used) {
		return fmt.Errorf("table %s has a column that is unknown to this version of the plugin", record.table)
	}
	return nil
}

func isEnd(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"end":true,`)) }

func eachLine(r io.Reader, f func(number int, line []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 1<<16), maxExportLine)
	for number := 1; lines.Scan(); number++ {
		if err := f(number, lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return lines.Err()
}

func parseRecord(line []byte) (exportRecord, error) {
	values := make(map[string]any)
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return exportRecord{}, err
	}
	table, _ := values["table"].(string)
	delete(values, "table")
	for column, value := range values {
		switch v := value.(type) {
		case string, nil:
		case json.Number:
			number, err := strconv.ParseInt(string(v), 10, 64)
			if err != nil {
				return exportRecord{}, err
			}
			values[column] = number
		default:
			return exportRecord{}, fmt.Errorf("column %q is neither text nor a number", column)
		}
	}
	return exportRecord{table, values}, nil
}
