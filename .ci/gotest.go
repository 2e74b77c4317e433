// Command gotest reads the output of "go test -json" and writes what "go test"
// would write. It fails when a test was skipped that the list of the file in its
// argument does not name.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
}

type test struct{ pkg, name string }

func main() {
	if err := run(os.Args[1], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

func run(list string, in io.Reader) error {
	allowed, err := readList(list)
	if err != nil {
		return err
	}
	r := &report{running: map[test]*strings.Builder{}, allowed: allowed}
	decoder := json.NewDecoder(bufio.NewReader(in))
	for {
		var e event
		switch err := decoder.Decode(&e); {
		case errors.Is(err, io.EOF):
			return r.close()
		case err != nil:
			return fmt.Errorf("reading the output of go test: %w", err)
		}
		r.hear(e)
	}
}

// report follows the tests that run.
type report struct {
	running                 map[test]*strings.Builder // what each has written so far
	allowed                 map[test]bool
	passed, failed, skipped int
	packages                int
	unexpected              []string
}

func (r *report) hear(e event) {
	if e.Action == "build-output" {
		fmt.Print(e.Output)
		return
	}
	if e.Test == "" {
		r.hearPackage(e)
		return
	}
	id := test{e.Package, e.Test}
	switch e.Action {
	case "run":
		r.running[id] = new(strings.Builder)
	case "output":
		if r.running[id] == nil {
			r.running[id] = new(strings.Builder)
		}
		r.running[id].WriteString(e.Output)
	case "pass", "fail", "skip":
		r.end(id, e.Action)
	}
}

func (r *report) end(id test, how string) {
	said := r.running[id]
	delete(r.running, id)
	switch how {
	case "pass":
		r.passed++
		return
	case "skip":
		r.skipped++
		if r.allowed[id] {
			return
		}
		r.unexpected = append(r.unexpected, id.pkg+" "+id.name)
	default:
		r.failed++
	}
	if said != nil {
		fmt.Print(said)
	}
}

// hearPackage passes on what a package says: its closing line, and what it wrote
// outside of tests.
func (r *report) hearPackage(e event) {
	switch e.Action {
	case "output":
		if e.Output != "PASS\n" {
			fmt.Print(e.Output)
		}
	case "pass":
		r.packages++
	case "fail": // a test that took the process with it has no end of its own
		r.failed++
		for id, said := range r.running {
			if id.pkg == e.Package {
				fmt.Print(said)
				delete(r.running, id)
			}
		}
	}
}

func (r *report) close() error {
	fmt.Printf("%d tests passed, %d skipped, %d tests and packages failed\n", r.passed, r.skipped, r.failed)
	switch {
	case r.failed > 0:
		return errors.New("tests failed")
	case len(r.unexpected) > 0:
		return fmt.Errorf("skipped, but CI needs them:\n\t%s", strings.Join(r.unexpected, "\n\t"))
	case r.packages == 0:
		return errors.New("nothing was tested")
	}
	return nil
}

// readList reads lines of an import path, a test's name and a reason.
func readList(path string) (map[test]bool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	allowed := map[test]bool{}
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s: %q: import path, name and reason", path, strings.TrimSpace(line))
		}
		allowed[test{fields[0], fields[1]}] = true
	}
	return allowed, nil
}
