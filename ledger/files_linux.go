package ledger

import (
	"fmt"
	"os"
	"path/filepath"
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

// checkRights checks the owners and access rights of a ledger's files and of their directory. access(2) opens nothing.
func checkRights(path string) (faults []*Fault) {
	const write, readAndWrite = 2, 6
	add := func(isWarning bool, fix, format string, args ...any) {
		faults = append(faults, &Fault{Problem: fmt.Sprintf(format, args...), Fix: fix, IsWarning: isWarning})
	}
	directory := existingDirectory(path)
	var owner uint32 // of the directory
	for _, name := range []string{directory, path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		mode, own := info.Mode(), info.Sys().(*syscall.Stat_t).Uid
		isDirectory := name == directory
		switch {
		case isDirectory && syscall.Access(name, write) != nil:
			add(false, "create "+filepath.Dir(path)+", and let Caddy's user own it",
				"this user may not write to %s, where SQLite keeps files beside the ledger", name)
		case isDirectory && mode&0o022 != 0 && mode&os.ModeSticky == 0:
			add(true, "chmod go-w "+name, "other users of this machine may replace files in %s", name)
		case isDirectory:
		case syscall.Access(name, readAndWrite) != nil:
			add(false, "run this as Caddy's user; if it is, chown "+name+" to that user", "this user may not read and write %s", name)
		case mode&0o077 != 0:
			add(true, "chmod 600 "+name, "other users of this machine may read %s, which holds the signing keys", name)
		}
		if isDirectory {
			owner = own
		} else if own != owner && owner != 0 { // root may write to any
			add(false, "chown it to the owner of its directory",
				"%s belongs to user %d and its directory to user %d, so Caddy may not write it: was it created by a root shell?", name, own, owner)
		}
	}
	return faults
}
