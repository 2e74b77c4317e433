package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

// Shelf is the part of certmagic.Storage that an Archive needs.
type Shelf interface {
	Storage
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, prefix string, recursive bool) ([]string, error)
	Stat(ctx context.Context, key string) (certmagic.KeyInfo, error)
}

// Archive is the ledger as its operator sees it: it lists, sweeps, exports and imports.
// All of that walks through storage, so none of it belongs on a request's path.
type Archive struct {
	*Ledger
	shelf   Shelf
	patient guarded
}

// listTimeout bounds a single operation of an Archive; a folder holds some thousand
// records.
const listTimeout = time.Minute

// NewArchive returns the archive of the ledger on a storage.
func NewArchive(shelf Shelf) *Archive {
	return &Archive{Ledger: New(shelf, 0), shelf: shelf, patient: newGuarded(shelf, listTimeout)}
}

// kinds lists all records that there are, in the order in which an import may be
// interrupted: what closes comes before what opens.
var kinds = []Kind{
	Refunded, DisputeLost, Disputed, DisputeWon, Decision, eventful,
	Device, Fetch, Claimed, Extension, Mismatch, link, Given, Paid,
}

// root is the prefix of all keys.
const root = "axra/ledger/"

var keyForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^` + root + `([a-z_]+)/([0-9a-f]{2}/[0-9a-f]{62})$`) })

// parseKey takes a record's key apart. Storage lists other things too, such as the
// temporary files of a process that was killed.
func parseKey(key string) (kind Kind, hash string, ok bool) {
	form := keyForm().FindStringSubmatch(key)
	if len(form) != 3 {
		return "", "", false
	}
	return Kind(form[1]), form[2], true
}

// stored is one record as it lies in storage.
type stored struct {
	key  string // in full
	hash string // the last part of the key, which all kinds of records about an id share
	raw  []byte
}

// walk calls yield for every record of a kind, folder by folder, so that memory does
// not grow with the ledger.
func (a *Archive) walk(ctx context.Context, kind Kind, yield func(stored) error) error {
	for shard := range 256 {
		keys, err := a.list(ctx, fmt.Sprintf("%s%s/%02x", root, kind, shard))
		if err != nil {
			return err
		}
		for _, key := range keys {
			of, hash, ok := parseKey(key)
			if !ok || of != kind {
				continue
			}
			raw, err := a.storage.load(ctx, key)
			if errors.Is(err, fs.ErrNotExist) {
				continue // swept meanwhile
			}
			if err != nil {
				return fmt.Errorf("reading a %s record: %w", kind, err)
			}
			if err := yield(stored{key, hash, raw}); err != nil {
				return err
			}
		}
	}
	return nil
}

// listTries: the file system's List fails when a temporary file vanishes while it walks.
const listTries = 5

// list returns the keys below a prefix, none where it does not exist.
func (a *Archive) list(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	var err error
	for range listTries {
		keys, err = a.listOnce(ctx, prefix)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if _, missing := a.shelf.Stat(ctx, prefix); errors.Is(missing, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	return keys, nil
}

func (a *Archive) listOnce(ctx context.Context, prefix string) ([]string, error) {
	var found atomic.Pointer[[]string] // written even after the list was given up
	_, err := a.patient.run(ctx, a.patient.reads, func(ctx context.Context) ([]byte, error) {
		keys, err := a.shelf.List(ctx, prefix, false) // some storages refuse true; nothing lies deeper
		found.Store(&keys)
		return nil, err
	})
	a.storage.tell("list", err)
	if err != nil {
		return nil, err
	}
	return *found.Load(), nil
}

// remove deletes one record. A storage deletes all that is below a key, so nothing but a
// record's own key is let through.
func (a *Archive) remove(ctx context.Context, key string) error {
	if _, _, ok := parseKey(key); !ok {
		return fmt.Errorf("%q is no record's key", key)
	}
	_, err := a.patient.run(ctx, a.patient.writes, func(ctx context.Context) ([]byte, error) {
		return nil, a.shelf.Delete(ctx, key)
	})
	a.storage.tell("delete", err)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting a record: %w", err)
	}
	return nil
}
