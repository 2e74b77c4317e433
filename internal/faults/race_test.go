//go:build race

package faults_test

// raced says that the race detector is on: memory then says nothing.
const raced = true
