package ledger

import (
	"fmt"
	"syscall"
)

// networkFileSystems are those on which SQLite's locks and its shared memory do not work.
var networkFileSystems = map[uint32]string{0x6969: "NFS", 0x517b: "SMB", 0xfe534d42: "SMB", 0xff534d42: "CIFS"}

func checkFileSystem(directory string) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(directory, &stat); err != nil {
		return fmt.Errorf("statfs %s: %w", directory, err)
	}
	if name, ok := networkFileSystems[uint32(stat.Type)]; ok { //nolint:gosec // the magic number has 32 bits
		return fmt.Errorf("%s is on %s, where SQLite loses data: use a local disk, or PostgreSQL", directory, name)
	}
	return nil
}
