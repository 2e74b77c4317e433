//go:build !linux

package main

import (
	"fmt"
	"os/exec"
)

// residentMemory is that of a process, in bytes.
func residentMemory(pid int) (int64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", fmt.Sprint(pid)).Output()
	if err != nil {
		return 0, err
	}
	var kib int64
	if _, err := fmt.Sscan(string(out), &kib); err != nil {
		return 0, err
	}
	return kib << 10, nil
}
