// Package unpack writes embedded files to a folder that Caddy can serve.
package unpack

import (
	"io/fs"
	"os"
	"path/filepath"
)

// To writes all files to a folder, over those that an earlier run has left there;
// os.CopyFS would refuse these.
func To(folder string, files fs.FS) error {
	return fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(folder, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}
