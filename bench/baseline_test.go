package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// counted are the benchmarks whose allocations are the same on every machine.
const counted = "^(BenchmarkDecision|BenchmarkMakePrivate)$"

// What every request pays for allocates no more than when the baseline was recorded.
func TestTheDecisionAllocatesNoMoreThanTheBaseline(t *testing.T) {
	recorded, err := os.ReadFile("baseline.txt")
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-run", "^$", "-bench", counted, "-benchmem", "-cpu", "1", "-benchtime", "200x", ".")
	run.Dir = ".."
	measured, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, measured)
	}
	before, after := allocations(t, recorded), allocations(t, measured)
	if len(after) == 0 {
		t.Fatalf("nothing was measured\n%s", measured)
	}
	for name, allocs := range after {
		switch most, known := before[name]; {
		case !known:
			t.Errorf("%s is not in baseline.txt: record it again", name)
		case allocs > most:
			t.Errorf("%s: %v allocations, %v in baseline.txt", name, allocs, most)
		}
	}
}

// allocations are the most that each of our benchmarks made in one operation.
func allocations(t *testing.T, output []byte) map[string]float64 {
	t.Helper()
	found := make(map[string]float64)
	lines := benchfmt.NewReader(bytes.NewReader(output), "output")
	for lines.Scan() {
		switch line := lines.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(line)
		case *benchfmt.Result:
			allocs, ok := line.Value("allocs/op")
			if name := line.Name.String(); ok && !strings.Contains(name, "golang-jwt") {
				found[name] = max(found[name], allocs)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return found
}
