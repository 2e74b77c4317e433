package ledger

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

var errNoRow = errors.New("no row")

// odd is a file storage with one fault.
type odd struct {
	*certmagic.FileStorage
	fault error
}

func (o odd) Load(ctx context.Context, key string) ([]byte, error) {
	raw, err := o.FileStorage.Load(ctx, key)
	switch {
	case errors.Is(o.fault, ErrNoAbsence) && errors.Is(err, fs.ErrNotExist):
		return nil, errNoRow
	case errors.Is(o.fault, ErrNotKept) && len(raw) > 0:
		return raw[:len(raw)-1], nil
	}
	return raw, err
}

func (o odd) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	keys, err := o.FileStorage.List(ctx, prefix, recursive)
	for i := range keys {
		if errors.Is(o.fault, ErrNotListed) {
			keys[i] = path.Base(keys[i]) // not in full
		}
	}
	return keys, err
}

func (o odd) Delete(ctx context.Context, key string) error {
	switch {
	case errors.Is(o.fault, ErrNotDeleted):
		return nil
	case errors.Is(o.fault, ErrDeletes):
		return o.FileStorage.Delete(ctx, path.Dir(key))
	}
	return o.FileStorage.Delete(ctx, key)
}

func TestTheProbeFindsWhatIsWrongWithAStorage(t *testing.T) {
	for _, fault := range []error{nil, ErrNoAbsence, ErrNotKept, ErrNotListed, ErrNotDeleted, ErrDeletes} {
		dir := t.TempDir()
		err := Probe(t.Context(), odd{&certmagic.FileStorage{Path: dir}, fault})
		if !errors.Is(err, fault) || errors.Is(fault, ErrNoAbsence) && !errors.Is(err, errNoRow) {
			t.Errorf("with the fault %v: %v", fault, err)
		}
		left := 0
		_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				left++
			}
			return err
		})
		if left > 0 && !errors.Is(fault, ErrNotDeleted) {
			t.Errorf("with the fault %v, %d records are left behind", fault, left)
		}
	}
}

func TestTheProbeReportsAStorageThatRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Probe(t.Context(), &certmagic.FileStorage{Path: file})
	if err == nil || !strings.Contains(err.Error(), "storing: ") {
		t.Error(err)
	}
}

// stuck never answers, whatever the context says.
type stuck struct {
	Shelf
	until chan struct{}
}

func (s stuck) Load(context.Context, string) ([]byte, error) { <-s.until; return nil, errNoRow }

func (s stuck) Store(context.Context, string, []byte) error { <-s.until; return errNoRow }

func (s stuck) Delete(context.Context, string) error { <-s.until; return errNoRow }

func (s stuck) List(context.Context, string, bool) ([]string, error) { <-s.until; return nil, errNoRow }

func TestTheProbeEndsThoughStorageHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shelf := stuck{until: make(chan struct{})}
		defer close(shelf.until)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // as `caddy axra check` does
		defer cancel()
		if err := Probe(ctx, shelf); !errors.Is(err, ErrStorageTimeout) {
			t.Error(err)
		}
	})
}

// flat keeps its keys in one table, as some database modules do: it refuses to walk, and
// lists all that begins with a prefix.
type flat struct{ *disk }

func (f flat) List(_ context.Context, prefix string, recursive bool) (keys []string, err error) {
	if recursive {
		return nil, errors.New("recursive not supported")
	}
	for _, key := range f.keys() {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (f flat) Stat(context.Context, string) (certmagic.KeyInfo, error) {
	return certmagic.KeyInfo{}, errNoRow
}

func (f flat) Delete(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.records, key)
	return nil
}

func TestAStorageThatDoesNotWalkIsGoodEnough(t *testing.T) {
	shelf := flat{newDisk()}
	if err := Probe(t.Context(), shelf); err != nil {
		t.Error(err)
	}
	if left := shelf.keys(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	archive := NewArchive(shelf)
	now, kept := filled(t, archive)
	if got, troubles := sessionsOf(t, archive, Filter{}); len(got) < len(kept) || troubles != 0 {
		t.Errorf("%d purchases and %d troubles", len(got), troubles)
	}
	if done, err := archive.Sweep(t.Context(), now, DefaultKeep); err != nil || done.Purchases == 0 {
		t.Errorf("%+v %v", done, err)
	}
}
