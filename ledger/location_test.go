package ledger_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

func TestCheckLocation(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                              "",
		filepath.Join(root, "ledger.db"):  "",
		filepath.Join(root, "a/b/new.db"): "",
		"axra/ledger.db":                  "must be absolute",
		root:                              "is not a file",
		filepath.Join(file, "ledger.db"):  "not a directory",
	} {
		err := ledger.CheckLocation(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "a")); err == nil {
		t.Error("a directory was made")
	}
}
