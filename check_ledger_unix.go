//go:build unix

package paywall

import (
	"os"
	"path/filepath"
	"syscall"
)

// Modes of access(2), which opens nothing.
const (
	accessWrite = 2
	accessRead  = 4
)

func isReadable(name string) bool { return syscall.Access(name, accessRead) == nil }
func isWritable(name string) bool { return syscall.Access(name, accessWrite) == nil }

// foreignOwner compares the owner of a file with that of its directory. Caddy as root writes to any.
func foreignOwner(name string) (owner, expected uint32, differ bool) {
	file, err := os.Stat(name)
	if err != nil {
		return 0, 0, false
	}
	directory, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return 0, 0, false
	}
	its, ok := file.Sys().(*syscall.Stat_t)
	theirs, alsoOK := directory.Sys().(*syscall.Stat_t)
	if !ok || !alsoOK {
		return 0, 0, false
	}
	return its.Uid, theirs.Uid, its.Uid != theirs.Uid && theirs.Uid != 0
}
