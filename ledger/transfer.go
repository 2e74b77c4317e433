package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// ErrTransfer: what is imported is no export, or not all of one.
var ErrTransfer = errors.New("not an export of the ledger")

const (
	exportFormat  = "axra-ledger"
	exportVersion = 1
	// maxLine bounds a line of an export in bytes; a webhook of 64 KB makes the longest.
	maxLine = 1 << 20
)

// exportHead is the first line of an export.
type exportHead struct {
	Export       string    `json:"export"`
	Version      int       `json:"v"`
	Installation string    `json:"installation"`
	At           time.Time `json:"at"`
}

// exportLine is a record: the key below axra/ledger/, and the record as it is stored.
type exportLine struct {
	Key    string          `json:"key"`
	Record json.RawMessage `json:"record"`
}

// exportEnd is the last line, so that an export that was cut off is noticed.
type exportEnd struct {
	End     bool `json:"end"`
	Records int  `json:"records"`
	Garbled int  `json:"garbled"` // that are missing
}

// Transferred is what an Export or Import has done.
type Transferred struct {
	Installation string `json:"installation"` // of the exported ledger
	Records      int    `json:"records"`      // written, or new here
	Known        int    `json:"known"`        // there already
	Conflicts    int    `json:"conflicts"`    // places and decisions that are others' here; see Import
	Garbled      int    `json:"garbled"`      // missing in the export, since they could not be read
}

// Export writes the ledger as JSON lines. What closes a purchase comes before what
// opens it, so that half an import opens nothing that was refunded.
func (a *Archive) Export(ctx context.Context, w io.Writer, installation string, at time.Time) (Transferred, error) {
	done := Transferred{Installation: installation}
	out := json.NewEncoder(w)
	head := exportHead{Export: exportFormat, Version: exportVersion, Installation: installation, At: at.UTC()}
	if err := out.Encode(head); err != nil {
		return done, fmt.Errorf("writing the export: %w", err)
	}
	for _, kind := range kinds {
		err := a.walk(ctx, kind, func(record stored) error {
			if _, err := decode(record.raw, kind); err != nil {
				done.Garbled++
				return nil //nolint:nilerr // it is counted
			}
			done.Records++
			return out.Encode(exportLine{Key: string(kind) + "/" + record.hash, Record: record.raw})
		})
		if err != nil {
			return done, fmt.Errorf("exporting: %w", err)
		}
	}
	if err := out.Encode(exportEnd{End: true, Records: done.Records, Garbled: done.Garbled}); err != nil {
		return done, fmt.Errorf("writing the export: %w", err)
	}
	return done, nil
}

// Import stores what an Export has written. A record that is there already is left as it
// is, so it can be repeated. Where this ledger has gone on by itself since, extensions and
// fetches of both sides count, the later decision stands, and who has a place of a device or a
// claim here keeps it. The error wraps ErrTransfer where the export is none, or is cut
// off; what came before that is stored.
func (a *Archive) Import(ctx context.Context, r io.Reader) (Transferred, error) {
	done, err := a.importLines(ctx, r)
	if err != nil {
		return done, err // each marker was announced; one that broke off is repeated
	}
	return done, a.announceAll(context.WithoutCancel(ctx)) // what broke off before is told now
}

func (a *Archive) importLines(ctx context.Context, r io.Reader) (Transferred, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	done, err := readHead(lines)
	if err != nil {
		return done, err
	}
	m := merger{Archive: a, done: done, decisions: make(map[string]map[string]Fact)}
	for number := 2; lines.Scan(); number++ {
		line := lines.Bytes()
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var end exportEnd
		if err := json.Unmarshal(line, &end); err == nil && end.End {
			if err := m.decide(ctx); err != nil {
				return m.done, err
			}
			if found := m.done.Records + m.done.Known + m.done.Conflicts; end.Records != found {
				return m.done, fmt.Errorf("%w: it should have %d records and has %d", ErrTransfer, end.Records, found)
			}
			m.done.Garbled = end.Garbled
			return m.done, nil
		}
		if err := m.importLine(ctx, line); err != nil {
			return m.done, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return m.done, fmt.Errorf("reading the export: %w", err)
	}
	return m.done, fmt.Errorf("%w: its last line is missing", ErrTransfer)
}

func readHead(lines *bufio.Scanner) (Transferred, error) {
	var head exportHead
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &head) != nil || head.Export != exportFormat {
		return Transferred{}, fmt.Errorf("%w: the first line does not say so", ErrTransfer)
	}
	if head.Version != exportVersion {
		return Transferred{}, fmt.Errorf("%w: version %d is not known to this version of the plugin", ErrTransfer, head.Version)
	}
	return Transferred{Installation: head.Installation}, nil
}

func (m *merger) importLine(ctx context.Context, line []byte) error {
	var entry exportLine
	if err := json.Unmarshal(line, &entry); err != nil {
		return fmt.Errorf("%w: %w", ErrTransfer, err)
	}
	kind, _, ok := parseKey(root + entry.Key)
	if !ok || !slices.Contains(kinds, kind) {
		return fmt.Errorf("%w: %.80q is no record's key", ErrTransfer, entry.Key)
	}
	fact, err := decode(entry.Record, kind)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTransfer, err)
	}
	if !isKeyOf(fact, root+entry.Key) {
		return fmt.Errorf("%w: %.80q is not the key of its record", ErrTransfer, entry.Key)
	}
	return m.take(ctx, root+entry.Key, fact)
}

// isKeyOf reports whether a record may stand under the key. An outcome may also stand
// under the session that its payment is linked to, and a marker names nothing.
func isKeyOf(f Fact, under string) bool {
	switch {
	case f.Kind.numbered():
		return standsAt(f, under)
	case f.Kind == link:
		return key(f.Kind, f.Payment) == under
	case f.Kind == Paid, f.Kind == Given, f.Kind == Mismatch:
		return key(f.Kind, f.Session) == under
	case f.Kind == eventful, f.Payment != "":
		return true
	default:
		return key(f.Kind, f.Session) == under
	}
}

// placeRecord stores a record under its key unless a good one is there.
func (a *Archive) placeRecord(ctx context.Context, key string, fact Fact) (fresh bool, err error) {
	raw, err := fact.encode()
	if err != nil {
		return false, err
	}
	there, err := a.storage.load(ctx, key)
	if err == nil {
		if _, garbled := decode(there, fact.Kind); garbled == nil {
			return false, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("reading a record: %w", err)
	}
	if err := a.storage.store(ctx, key, raw); err != nil {
		return false, fmt.Errorf("storing a record: %w", err)
	}
	stored, err := a.storage.load(ctx, key)
	if err != nil {
		return false, fmt.Errorf("reading a record back: %w", err)
	}
	if !bytes.Equal(stored, raw) {
		return false, fmt.Errorf("%w: it does not read back as written", ErrGarbled)
	}
	return true, nil
}
