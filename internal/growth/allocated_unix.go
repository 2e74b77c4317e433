//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// allocated is the space that a file or folder takes, in bytes.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
