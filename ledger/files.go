package ledger

import (
	"context"
	"os"
	"sync"
)

// files knows the database file, its -wal and its -shm as they were opened. SQLite goes on writing to files
// that were deleted or replaced, so their paths are checked before a commit is acknowledged.
type files struct {
	path  string
	infos [3]os.FileInfo

	mu   sync.Mutex
	size int64 // the largest size of the database file; it shrinks only by VACUUM
}

var fileSuffixes = [...]string{"", "-wal", "-shm"}

func findFiles(path string) (*files, error) {
	f := &files{path: path}
	for i, suffix := range fileSuffixes {
		var err error
		if f.infos[i], err = os.Stat(path + suffix); err != nil {
			return nil, err
		}
	}
	f.size = f.infos[0].Size()
	return f, nil
}

// checkIdentity reports whether the paths lead to the files that were opened. It opens none of them: closing
// one would drop SQLite's locks.
func (f *files) checkIdentity() error {
	_, err := f.stat()
	return err
}

func (f *files) stat() (size int64, err error) {
	for i, suffix := range fileSuffixes {
		info, err := os.Stat(f.path + suffix)
		if err != nil {
			return 0, foreign(err.Error())
		}
		if !os.SameFile(info, f.infos[i]) {
			return 0, foreign(f.path + suffix + " was replaced")
		}
		if i == 0 {
			size = info.Size()
		}
	}
	return size, nil
}

// check is checkIdentity, and notices that the database file was truncated.
func (f *files) check(ctx context.Context, tx *tx) error {
	size, err := f.stat()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if size >= f.size {
		f.size = size
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var pages, pageSize int64
	if err := tx.QueryRowContext(ctx, `SELECT page_count, page_size FROM pragma_page_count, pragma_page_size`).Scan(&pages, &pageSize); err != nil {
		return unavailable(err)
	}
	if size == 0 || size < pages*pageSize {
		return foreign(f.path + " was truncated")
	}
	f.size = size // by VACUUM
	return nil
}
