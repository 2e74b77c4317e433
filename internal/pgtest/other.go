//go:build !unix

package pgtest

import "syscall"

// There are no such signals here; findPrograms has skipped the test.
const (
	pauseSignal  = syscall.SIGINT
	resumeSignal = syscall.SIGINT
)

func asOther() *syscall.SysProcAttr { return nil }

func giveAway(string) error { return nil }
