//go:build !linux

package main

import (
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

func cpuOf(pid int) (time.Duration, error) {
	found, err := process.NewProcess(int32(pid)) //nolint:gosec // process ids fit
	if err != nil {
		return 0, err
	}
	times, err := found.Times()
	if err != nil {
		return 0, err
	}
	return time.Duration((times.User + times.System) * float64(time.Second)), nil
}
