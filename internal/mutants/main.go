// Command mutants breaks the code in ways that matter, one at a time, and shows
// that the tests catch each:
//
//	go run ./internal/mutants              # all of them, some minutes
//	go run ./internal/mutants -short       # those that need no Caddy, half a minute
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
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("run", "", "comma-separated words; runs the mutants whose names hold one of them")
	short := flag.Bool("short", false, "runs only those that need no Caddy")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *only, *short)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, short bool) error {
	caught, failed := 0, 0
	for _, m := range slices.Concat(mutants, checkoutMutants()) {
		if !m.chosen(only) || short && m.needsCaddy() {
			continue
		}
		if err := m.hunt(ctx); err != nil {
			failed++
			fmt.Printf("SURVIVED  %s: %v\n", m.name, err)
			continue
		}
		caught++
		fmt.Printf("caught    %s\n", m.name)
	}
	fmt.Printf("%d passed, %d failed\n", caught, failed)
	if failed > 0 {
		return errors.New("some mutants survived")
	}
	return nil
}

func (m mutant) chosen(only string) bool {
	if only == "" {
		return true
	}
	for word := range strings.SplitSeq(only, ",") {
		if strings.Contains(m.name, word) {
			return true
		}
	}
	return false
}

// needsCaddy reports whether the tests start Caddy.
func (m mutant) needsCaddy() bool { return m.pkg == "." || m.pkg == "./internal/faults" }

// hunt returns nil if the tests fail on the mutant.
func (m mutant) hunt(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	overlay, err := m.overlay(folder)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "vet", "-overlay", overlay, "-printf=false", m.pkg) //nolint:gosec // our own table
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("the mutant does not compile: %.2000s", out)
	}
	test := exec.CommandContext(ctx, "go", "test", "-count=1", "-overlay", overlay, "-run", m.tests, m.pkg) //nolint:gosec // our own table
	out, err := test.CombinedOutput()
	switch {
	case err == nil:
		return fmt.Errorf("%s passed", m.tests)
	case !strings.Contains(string(out), "--- FAIL"):
		return fmt.Errorf("no test failed, but: %.2000s", out)
	}
	return nil
}

// overlay writes the broken file and what tells the compiler to use it.
func (m mutant) overlay(folder string) (string, error) {
	source, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	code, err := os.ReadFile(source) //nolint:gosec // our own table
	if err != nil {
		return "", err
	}
	broken, err := m.breakCode(string(code))
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(folder, filepath.Base(m.file))
	if err := os.WriteFile(mutated, []byte(broken), 0o600); err != nil { //nolint:gosec // our own table
		return "", err
	}
	encoded, err := json.Marshal(map[string]any{"Replace": map[string]string{source: mutated}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, encoded, 0o600)
}

func (m mutant) breakCode(code string) (string, error) {
	if n := strings.Count(code, m.old); n != 1 {
		return "", fmt.Errorf("%s holds the code to break %d times: %q", m.file, n, m.old)
	}
	return strings.Replace(code, m.old, m.new, 1), nil
}
