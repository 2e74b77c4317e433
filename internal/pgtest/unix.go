//go:build unix

package pgtest

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const (
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// other is the user under whom PostgreSQL runs where the tests run as root.
func other() (uid, gid int, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		return 65534, 65534, true // nobody
	}
	uid, _ = strconv.Atoi(found.Uid)
	gid, _ = strconv.Atoi(found.Gid)
	return uid, gid, true
}

func asOther() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the tests
	if uid, gid, ok := other(); ok {
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // ids of users
	}
	return attributes
}

func giveAway(name string) error {
	uid, gid, ok := other()
	if !ok {
		return nil
	}
	return os.Chown(name, uid, gid)
}
