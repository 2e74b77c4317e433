package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

var fileSuffixes = [...]string{"", "-wal", "-shm"}

// CheckLocation reports why a ledger cannot be at a path: a relative path, a directory that is none, or a network file
// system. Open makes directories that are missing; then the nearest one that exists is looked at. It opens and creates
// nothing.
func CheckLocation(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("the path must be absolute")
	}
	directory := existingDirectory(path)
	if info, err := os.Stat(directory); err != nil || !info.IsDir() {
		return cmp.Or(err, fmt.Errorf("%s is not a directory", directory))
	}
	if info, err := os.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	return checkFileSystem(directory)
}

// existingDirectory is the nearest existing directory above a path, or what is in its place.
func existingDirectory(path string) string {
	directory := filepath.Dir(path)
	if _, err := os.Stat(directory); errors.Is(err, fs.ErrNotExist) && directory != path {
		return existingDirectory(directory)
	}
	return directory
}

// CheckFile checks a place for the file of a ledger. It opens and creates nothing.
func CheckFile(path string) (exists bool, faults []*Fault) {
	if err := CheckLocation(path); err != nil {
		return false, []*Fault{{
			Problem: "no ledger can be there: " + err.Error(),
			Fix:     "write `database sqlite` with an absolute path on a local disk, such as /var/lib/axra/ledger.db, which Caddy's user can read",
		}}
	}
	_, err := os.Stat(path)
	return err == nil, checkRights(path)
}

// prepareFile creates the file with mode 0600, as SQLite would follow the umask. An existing file is not opened: closing
// it would drop the locks of another handle in this process.
func prepareFile(path string) error {
	if err := CheckLocation(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // the operator's own path
	if err == nil {
		return file.Close()
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// files knows the database file, its -wal and its -shm as they were opened. SQLite goes on writing to files that were
// deleted or replaced, so their paths are checked before a commit is acknowledged.
type files struct {
	path  string
	infos [len(fileSuffixes)]os.FileInfo

	mu   sync.Mutex
	size int64 // the largest size of the database file
}

func findFiles(path string) (*files, error) {
	f := &files{path: path}
	for i, suffix := range fileSuffixes {
		var err error
		if f.infos[i], err = os.Stat(path + suffix); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// check checks that the paths lead to the files that were opened, and that the database file, which only grows, was not
// truncated. It opens none of them: closing one would drop SQLite's locks.
func (f *files) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, suffix := range fileSuffixes {
		info, err := os.Stat(f.path + suffix)
		switch {
		case err != nil:
			return foreign(err.Error())
		case !os.SameFile(info, f.infos[i]):
			return foreign(f.path + suffix + " was replaced")
		case i == 0 && info.Size() < f.size:
			return foreign(f.path + " was truncated; after a VACUUM, restart Caddy")
		case i == 0:
			f.size = info.Size()
		}
	}
	return nil
}
