package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(nodeFile) != "" {
		main() // the test's Caddy
		return
	}
	os.Exit(m.Run())
}

// It measures all that it promises, and leaves nothing behind.
func TestGrowthIsMeasured(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	if err := grow(t.Context(), &out, io.Discard, dir, []int{10, 50}, 200); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !strings.Contains(out.String(), row.name) {
			t.Errorf("no row %q", row.name)
		}
	}
	if !strings.Contains(out.String(), " 200  ") {
		t.Errorf("nothing about 200 tokens:\n%s", out.String())
	}
	for _, bad := range []string{"NaN", "Inf", " 0 "} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("a figure is %s:\n%s", bad, out.String())
		}
	}
	mustBeEmpty(t, dir)
}

// Who interrupts it finds nothing left of it.
func TestGrowthThatIsInterruptedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	// The word about the first size comes amid the work.
	err := grow(ctx, io.Discard, writer(cancel), dir, []int{10, 1_000_000}, 1)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mustBeEmpty(t, dir)
}

func TestGrowthIsBounded(t *testing.T) {
	for _, size := range []int{0, -1, maxPayments + 1} {
		if err := grow(t.Context(), io.Discard, io.Discard, t.TempDir(), sizes(size), 1); err == nil {
			t.Errorf("it grows to %d", size)
		}
	}
}

type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
