//go:build unix

package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ownAs gives a file the owner of another, or of its directory where that does not exist: root restores a ledger for
// another user.
func ownAs(path, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(like)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(filepath.Dir(like))
	}
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

// syncDirectory makes a rename durable.
func syncDirectory(path string) error {
	directory, err := os.Open(path) //nolint:gosec // the ledger's own directory
	if err != nil {
		return err
	}
	defer func() { _ = directory.Close() }()
	return directory.Sync()
}

// Modes of access(2), which opens nothing.
const (
	accessWrite     = 2
	accessReadWrite = 6
)

// checkRights checks the owners and access rights of a ledger's files and of their directory.
func checkRights(path string) (faults []*Fault) {
	add := func(isWarning bool, fix, format string, args ...any) {
		faults = append(faults, &Fault{Problem: fmt.Sprintf(format, args...), Fix: fix, IsWarning: isWarning})
	}
	directory := filepath.Dir(path)
	if existing, err := existingDirectory(path); err == nil && syscall.Access(existing, accessWrite) != nil {
		add(false, "create "+directory+", and let Caddy's user own it", "this user may not write to %s, where SQLite keeps files beside the ledger", existing)
	}
	mode, owner, err := rightsOf(directory)
	if err != nil {
		return faults
	}
	if mode&0o022 != 0 && mode&os.ModeSticky == 0 {
		add(true, "chmod go-w "+directory, "other users of this machine may replace files in %s", directory)
	}
	for _, suffix := range fileSuffixes {
		name := path + suffix
		mode, own, err := rightsOf(name)
		if err != nil {
			continue
		}
		switch {
		case syscall.Access(name, accessReadWrite) != nil:
			add(false, "run this as Caddy's user; if it is, chown "+name+" to that user", "this user may not read and write %s", name)
		case mode&0o077 != 0:
			add(true, "chmod 600 "+name, "other users of this machine may read %s, which holds the signing keys", name)
		}
		if own != owner && owner != 0 { // root may write to any
			add(false, "chown it to the owner of its directory",
				"%s belongs to user %d and its directory to user %d, so Caddy may not write it: was it created by a root shell?", name, own, owner)
		}
	}
	return faults
}

func rightsOf(name string) (mode fs.FileMode, owner uint32, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, 0, err
	}
	return info.Mode(), info.Sys().(*syscall.Stat_t).Uid, nil
}
