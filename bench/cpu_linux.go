package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf reads the clock of the process (clock_getcpuclockid(3)), which is finer than the
// hundredths of a second in /proc.
func cpuOf(pid int) (time.Duration, error) {
	const sched = 2 // of the whole process: user and system
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &used); err != nil { //nolint:gosec // process ids fit
		return 0, err
	}
	return time.Duration(used.Nano()), nil
}
