package paywall

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-axra/paywall/ledger"
)

const (
	maxStorage = 15 * time.Second
	// maxSkew is by how much clocks may differ: `nbf` of tokens and the ages of events
	// are looked at in seconds and minutes.
	maxSkew = 30 * time.Second
)

// checkStorage tries the storage, on records of its own, and compares the clocks.
func (e *examination) checkStorage() []finding {
	found := &remarks{check: "storage"}
	subject := fmt.Sprintf("%T", e.app.storage) // its fields could hold a password
	files, isFiles := e.app.storage.(*certmagic.FileStorage)
	if isFiles {
		subject = files.Path
	}
	if !e.sharedStorage {
		e.note("whether the service has the same storage: without `storage` it lies in the home folder of whoever runs Caddy, here %s", subject)
	}
	switch {
	case !isFiles:
	case !isFolder(files.Path):
		e.missingFolder(found, files.Path)
		return append(found.list, e.checkClock(time.Time{})...)
	case isRoot():
		e.note("whether the user of Caddy may write to %s: this command runs as root", subject)
	}
	ctx, cancel := context.WithTimeout(e.ctx, maxStorage)
	defer cancel()
	modified, err := probeStorage(ctx, e.app.storage)
	if err != nil {
		found.fail(subject, "give it room, and the user of Caddy the right to write there; without it no payment is recorded", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return append(found.list, e.checkClock(time.Time{})...)
	}
	found.ok(subject, "records were written, read back, listed and removed")
	return append(found.list, e.checkClock(modified)...)
}

// missingFolder is about the folder of the storage, which Caddy makes when it needs it.
func (e *examination) missingFolder(found *remarks, name string) {
	_, err := os.Stat(name)
	switch {
	case err == nil:
		found.fail(name, "take it away, or name a folder in `storage`", "it is no folder, and storage needs one")
	case e.sharedStorage:
		found.warn(name, "nothing, if Caddy has not run yet: it makes the folder, if its user may write to "+filepath.Dir(name)+"; otherwise correct the path in `storage`",
			"the folder does not exist yet, so whether Caddy may write there was not tried")
	default:
		e.note("whether the user of Caddy may write to %s: it does not exist yet, and Caddy makes it", name)
	}
}

func isFolder(name string) bool {
	info, err := os.Stat(name) //nolint:gosec // the owner's own folder
	return err == nil && info.IsDir()
}

// probeStorage tries what the ledger needs of a storage, and returns when storage says that
// a record was written.
func probeStorage(ctx context.Context, storage certmagic.Storage) (time.Time, error) {
	defer removeFolders(storage)()
	if err := ledger.Probe(ctx, storage); err != nil { // which ends even where storage hangs
		return time.Time{}, err
	}
	return probeTime(ctx, storage)
}

// probeTime writes a record and removes it. It ends with ctx, also where storage hangs.
func probeTime(ctx context.Context, storage certmagic.Storage) (time.Time, error) {
	type outcome struct {
		modified time.Time
		err      error
	}
	key := "axra/check-" + strings.ToLower(rand.Text())
	done := make(chan outcome, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- outcome{err: fmt.Errorf("storage panicked: %v", p)}
			}
		}()
		modified, err := writeAndRemove(ctx, storage, key)
		done <- outcome{modified, err}
	}()
	select {
	case o := <-done:
		return o.modified, o.err
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("%w; the record %s may be left there", ledger.ErrStorageTimeout, key)
	}
}

func writeAndRemove(ctx context.Context, storage certmagic.Storage, key string) (modified time.Time, err error) {
	if err := storage.Store(ctx, key, []byte("written by caddy axra check")); err != nil {
		return time.Time{}, fmt.Errorf("writing: %w", err)
	}
	if info, err := storage.Stat(ctx, key); err == nil { // otherwise there is no time to compare, which is no fault
		modified = info.Modified
	}
	if err := storage.Delete(context.WithoutCancel(ctx), key); err != nil {
		return modified, fmt.Errorf("removing %s: %w", key, err)
	}
	return modified, nil
}

// removeFolders removes the folders that writing has made: they would belong to whoever ran
// the command, and Caddy could not write to them.
func removeFolders(storage certmagic.Storage) func() {
	files, ok := storage.(*certmagic.FileStorage)
	if !ok {
		return func() {}
	}
	folder := files.Filename("axra")
	_, err := os.Stat(folder)
	return func() {
		probes := filepath.Join(folder, "probe")
		left, _ := os.ReadDir(probes) // there is none where nothing could be written
		for _, entry := range left {
			_ = os.Remove(filepath.Join(probes, entry.Name())) // which keeps what is not empty
		}
		_ = os.Remove(probes)
		if errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(folder)
		}
	}
}

// checkClock compares this machine's clock with that of storage.
func (e *examination) checkClock(stored time.Time) []finding {
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
