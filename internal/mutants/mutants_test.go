package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The table keeps up with the code: what each mutant breaks is there, once.
func TestMutantsFitTheCode(t *testing.T) {
	for _, m := range slices.Concat(mutants, checkoutMutants()) {
		code, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if _, err := m.breakCode(string(code)); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
