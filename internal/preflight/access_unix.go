//go:build unix

package preflight

import (
	"os"
	"syscall"
)

// Modes of access(2), which opens nothing.
const (
	accessWrite = 2
	accessRead  = 4
)

func isReadable(name string) bool { return syscall.Access(name, accessRead) == nil }
func isWritable(name string) bool { return syscall.Access(name, accessWrite) == nil }

// ownerOf is the id of the user that owns a file.
func ownerOf(name string) (uid uint32, ok bool) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return stat.Uid, ok
}
