package paywall_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// A golden file holds a Caddyfile, the separator, and what comes of it: JSON, or
// the exact text of an error.
const separator = "----------\n"

// plantedSecret is the value of an environment variable that Caddyfiles in the
// golden files expand; nothing that the plugin says may repeat it.
const plantedSecret = "bs_live_planted-secret-value"

// TestAdapt adapts every Caddyfile of testdata/adapt.
func TestAdapt(t *testing.T) {
	golden(t, "adapt", func(t *testing.T, name, input string) string {
		adapted, err := adapt(t, input)
		if err != nil {
			t.Fatalf("%s is refused: %v", name, err)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, adapted, "", "\t"); err != nil {
			t.Fatal(err)
		}
		return indented.String() + "\n"
	})
}

// TestAdaptErrors adapts every Caddyfile of testdata/invalid. The error names
// file and line; what it says in full is in the golden file.
func TestAdaptErrors(t *testing.T) {
	t.Setenv("PAYWALL_TEST_SECRET", plantedSecret)
	golden(t, "invalid", func(t *testing.T, name, input string) string {
		adapted, err := adapt(t, input)
		if err == nil {
			t.Fatalf("%s is accepted:\n%s", name, adapted)
		}
		if strings.Contains(err.Error(), plantedSecret) {
			t.Errorf("the error repeats a secret: %v", err)
		}
		if !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("the error names no file and line: %v", err)
		}
		return err.Error() + "\n"
	})
}

// golden runs produce on each file of a folder of testdata.
func golden(t *testing.T, folder string, produce func(t *testing.T, name, input string) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.caddyfiletest"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in %s: %v", folder, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
			input, want, found := strings.Cut(string(content), separator)
			if !found {
				t.Fatalf("%s holds no line %q", file, separator)
			}
			got := produce(t, name, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s:\n--- got\n%s\n--- want\n%s", file, got, want)
			}
		})
	}
}

// adapt turns a Caddyfile into JSON. Golden Caddyfiles are written as
// `caddy fmt` writes them, for they are what people copy.
func adapt(t *testing.T, input string) ([]byte, error) {
	t.Helper()
	if formatted := caddyfile.Format([]byte(input)); string(formatted) != input {
		t.Errorf("the Caddyfile is not formatted; it should be:\n%s", formatted)
	}
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	for _, warning := range warnings {
		t.Errorf("warning: %s", warning)
	}
	return adapted, err
}
