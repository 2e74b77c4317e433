// Command mutants breaks the code in ways that matter, one at a time, and shows
// that the tests catch each:
//
//	go run ./internal/mutants              # all of them
//	go run ./internal/mutants -short       # without those of the root package, each of which links all of Caddy
//	go run ./internal/mutants -run T1,W9   # those whose names hold one of the words
//
// The tree is not touched: each broken file is given to the compiler as an
// overlay. The command fails if a mutant survives, or if the code that it breaks
// is no longer there.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	only := flag.String("run", "", "comma-separated words; runs the mutants whose names hold one of them")
	short := flag.Bool("short", false, "leaves out the mutants of the root package")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *only, *short)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run hunts two mutants at a time: linking a test uses one processor.
func run(ctx context.Context, only string, short bool) error {
	var hunts errgroup.Group
	hunts.SetLimit(2)
	for _, m := range mutants {
		if !m.isNamed(only) || short && m.folder == "." {
			continue
		}
		hunts.Go(func() error {
			if err := m.hunt(ctx); err != nil {
				fmt.Printf("SURVIVED  %s: %v\n", m.name, err)
				return errors.New("some mutants survived")
			}
			fmt.Printf("caught    %s\n", m.name)
			return nil
		})
	}
	return hunts.Wait()
}

// isNamed reports whether the name holds one of the words.
func (m mutant) isNamed(words string) bool {
	for word := range strings.SplitSeq(words, ",") {
		if strings.Contains(m.name, word) {
			return true
		}
	}
	return false
}

// hunt returns nil if a test fails on the mutant.
func (m mutant) hunt(ctx context.Context) error {
	file, broken, err := m.breakCode(".")
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary) //nolint:errcheck // a temporary folder
	overlay, err := writeOverlay(temporary, file, broken)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	test := exec.CommandContext(ctx, "go", "test", "-count=1", "-failfast", "-vet=off", "-ldflags=-s -w", //nolint:gosec // our own table
		"-overlay", overlay, "-run", m.tests, "./"+m.folder)
	out, err := test.CombinedOutput()
	switch {
	case err == nil:
		return fmt.Errorf("%s passed", m.tests)
	case !strings.Contains(string(out), "--- FAIL"):
		return fmt.Errorf("no test failed, but: %.2000s", out)
	}
	return nil
}

// breakCode returns the file that holds the code to break, below root, and its broken text.
func (m mutant) breakCode(root string) (file, broken string, err error) {
	code, err := regexp.Compile(m.code)
	if err != nil {
		return "", "", err
	}
	files, err := filepath.Glob(filepath.Join(root, m.folder, "*.go"))
	if err != nil {
		return "", "", err
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name) //nolint:gosec // our own code
		if err != nil {
			return "", "", err
		}
		if n := len(code.FindAllIndex(text, -1)); n > 0 {
			found += n
			file, broken = name, code.ReplaceAllString(string(text), m.broken)
		}
	}
	if found != 1 {
		return "", "", fmt.Errorf("%s holds the code to break %d times: %s", m.folder, found, m.code)
	}
	return file, broken, nil
}

// writeOverlay writes a broken file, and what tells the compiler to use it.
func writeOverlay(folder, file, broken string) (overlay string, err error) {
	source, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(folder, filepath.Base(file))
	encoded, err := json.Marshal(map[string]any{"Replace": map[string]string{source: mutated}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(folder, "overlay.json")
	return overlay, errors.Join(os.WriteFile(mutated, []byte(broken), 0o600), os.WriteFile(overlay, encoded, 0o600))
}
