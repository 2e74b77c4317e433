package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/terms"
)

// Every file in testdata/records is an export by a released version, as it wrote
// records, and goes with a golden file: all that its records say, and what follows from
// them. What has once been written is read for ever, so neither ever changes. For a new
// version add an export; a golden file that is missing is written, to be read and kept.
func TestRecordsOfEveryVersionAreRead(t *testing.T) {
	files, err := filepath.Glob("testdata/records/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			export, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer export.Close()
			archive := newFolder(t)
			if done, err := archive.Import(t.Context(), export); err != nil || done.Records == 0 {
				t.Fatalf("%+v, %v", done, err)
			}
			wantGolden(t, strings.TrimSuffix(file, ".jsonl")+".golden", recordsOf(t, archive.Archive)+conclusionsOf(t, archive.Archive))
		})
	}
}

func wantGolden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(file, []byte(got), 0o600)
		t.Errorf("%s is written: read it (%v)", file, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// recordsOf says what each record says, in the order of an export.
func recordsOf(t *testing.T, archive *Archive) string {
	t.Helper()
	var out strings.Builder
	for _, kind := range kinds {
		found := 0
		err := archive.walk(t.Context(), kind, func(record stored) error {
			found++
			fact, err := decode(record.raw, kind)
			fmt.Fprintf(&out, "%s:%s\n", strings.TrimPrefix(record.key, root), strings.Join(said("", reflect.ValueOf(fact)), ""))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if found == 0 {
			fmt.Fprintf(&out, "%s: none\n", kind)
		}
	}
	return out.String()
}

// said lists what is not zero, so that a field of a later version changes nothing.
func said(within string, of reflect.Value) (all []string) {
	for i := range of.NumField() {
		name, field := within+of.Type().Field(i).Name, of.Field(i)
		switch {
		case field.Type() == reflect.TypeFor[terms.Terms]():
			all = append(all, said(name+".", field)...)
		case !field.IsZero():
			all = append(all, fmt.Sprintf(" %s=%v", name, field.Interface()))
		}
	}
	return all
}

// conclusionsOf says what follows about each purchase.
func conclusionsOf(t *testing.T, archive *Archive) string {
	t.Helper()
	var out strings.Builder
	sessions, troubles := sessionsOf(t, archive, Filter{})
	fmt.Fprintf(&out, "%d purchases, %d troubles\n", len(sessions), troubles)
	for _, session := range sessions {
		file, err := archive.Dossier(t.Context(), session)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s: of %s, until %v, closed for %q; %d parts, %d events, decisions", session, file.Session, file.Until, file.ClosedFor, len(file.Parts), len(file.Events))
		for _, decision := range file.Decisions {
			fmt.Fprintf(&out, " %s", decision.Holder)
		}
		fmt.Fprintf(&out, "; %d devices, %d fetches, claimed %t\n", len(file.Devices), file.Fetches, file.Claimed != nil)
	}
	return out.String()
}
