package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

var errNotAbsolute = errors.New("the path must be absolute")

// CheckLocation reports why a ledger cannot be at a path: a relative path, a directory that is none, or a
// network file system. Directories that are missing are made by Open; then the nearest one that exists is
// looked at. It opens and creates nothing.
func CheckLocation(path string) error {
	if !filepath.IsAbs(path) {
		return errNotAbsolute
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	directory, err := ExistingDirectory(path)
	if err != nil {
		return err
	}
	return checkFileSystem(directory)
}

// ExistingDirectory is the nearest directory above a path that exists.
func ExistingDirectory(path string) (string, error) {
	for directory := filepath.Dir(path); ; directory = filepath.Dir(directory) {
		info, err := os.Stat(directory)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is not a directory", directory)
		case err == nil:
			return directory, nil
		case !errors.Is(err, os.ErrNotExist), directory == filepath.Dir(directory):
			return "", err
		}
	}
}
