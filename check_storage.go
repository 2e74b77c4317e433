package paywall

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	maxStorage = 15 * time.Second
	// maxSkew is by how much clocks may differ: `nbf` of tokens and the ages of events
	// are looked at in seconds and minutes.
	maxSkew = 30 * time.Second
)

// checkStorage writes a record, reads it back and removes it, and compares the clocks.
func (i *inspection) checkStorage() []finding {
	found := &remarks{check: "storage"}
	subject := fmt.Sprint(i.app.storage)
	files, isFiles := i.app.storage.(*certmagic.FileStorage)
	if isFiles {
		subject = files.Path
	}
	if !i.sharedStorage {
		i.note("whether the service has the same storage: without `storage` it lies in the home folder of whoever runs Caddy, here %s", subject)
	}
	switch {
	case !isFiles:
	case !isFolder(files.Path):
		found.warn(subject, "create it, and give it to the user of Caddy", "the folder does not exist yet, so whether Caddy may write there was not tried")
		return append(found.list, i.checkClock(time.Time{})...)
	case isRoot():
		i.note("whether the user of Caddy may write to %s: this command runs as root", subject)
	}
	ctx, cancel := context.WithTimeout(i.ctx, maxStorage)
	defer cancel()
	modified, err := probeStorage(ctx, i.app.storage)
	if err != nil {
		found.fail(subject, "give it room, and the user of Caddy the right to write there: no payment could be recorded", "%v", err)
		return append(found.list, i.checkClock(time.Time{})...)
	}
	found.ok(subject, "a record was written, read back and removed")
	return append(found.list, i.checkClock(modified)...)
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

var errReadBack = errors.New("it does not read back what was written")

// probeStorage returns when storage says that the record was written.
func probeStorage(ctx context.Context, storage certmagic.Storage) (time.Time, error) {
	defer removeEmpty(storage)()
	name := rand.Text()
	key, content := "axra/check-"+name, []byte("written by caddy axra check: "+name)
	if err := storage.Store(ctx, key, content); err != nil {
		return time.Time{}, fmt.Errorf("writing: %w", err)
	}
	read, err := storage.Load(ctx, key)
	if err == nil && !bytes.Equal(read, content) {
		err = errReadBack
	}
	info, statErr := storage.Stat(ctx, key)
	if deleteErr := storage.Delete(context.WithoutCancel(ctx), key); err == nil && deleteErr != nil {
		return time.Time{}, fmt.Errorf("removing %s: %w", key, deleteErr)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading: %w", err)
	}
	if statErr != nil {
		return time.Time{}, nil // nothing to compare, which is no fault
	}
	return info.Modified, nil
}

// removeEmpty removes the folder that writing has made: it would belong to whoever ran the
// command, and Caddy could not write to it.
func removeEmpty(storage certmagic.Storage) func() {
	files, ok := storage.(*certmagic.FileStorage)
	if !ok {
		return func() {}
	}
	folder := files.Filename("axra")
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return func() {}
	}
	return func() { _ = os.Remove(folder) } // fails if another has written there since
}

// checkClock compares this machine's clock with that of storage.
func (i *inspection) checkClock(stored time.Time) []finding {
	found := &remarks{check: "clock"}
	at := now()
	if year := at.Year(); year < 2025 || year > 2100 {
		found.fail("", fixClock, "it is %d by this machine's clock", year)
	}
	checkSkew(found, "storage", stored, at)
	return found.orOK("%s", at.UTC().Format("2006-01-02 15:04 UTC"))
}

const fixClock = "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)"

func checkSkew(found *remarks, whose string, theirs, ours time.Time) {
	if theirs.IsZero() {
		return
	}
	if skew := theirs.Sub(ours).Round(time.Second); skew.Abs() > maxSkew {
		found.warn(whose, fixClock, "its clock and this machine's are %s apart: access would begin and end at wrong times", skew.Abs())
	}
}
