package main

import "testing"

// The table keeps up with the code: what each mutant breaks is there, once.
func TestMutantsFitTheCode(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		if _, _, err := m.breakCode("../.."); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
