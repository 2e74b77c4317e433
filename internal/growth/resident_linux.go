package main

import (
	"fmt"
	"os"
)

// residentMemory is that of a process, in bytes.
func residentMemory(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var all, resident int64
	if _, err := fmt.Sscan(string(statm), &all, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}
