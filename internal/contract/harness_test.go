// Package contract holds the example to what docs/openapi.yaml says to programs,
// and runs the script of docs/programs.md against it.
//
// The script needs bash, curl and jq. With CI=true nothing may be missing; without
// it the script is skipped where they are.
package contract

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// binary is the example, built once.
var binary string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "contract tests:", err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "paywall-contract-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if binary, err = exampletest.Build(folder); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
