package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

// garble breaks a record as a bad disk does.
func (f folder) garble(t *testing.T, key string) {
	t.Helper()
	name := filepath.Join(f.path, filepath.FromSlash(key))
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnExportSaysWhatIsMissingInIt(t *testing.T) {
	from, into := newFolder(t), newFolder(t)
	mustRecord(t, from.Ledger, paidFact(t, theSession, payment1), sold(t, "cs_2", paidAt, terms.Forever))
	from.garble(t, key(Paid, "cs_2"))
	export := exported(t, from.Archive)
	done, err := into.Import(t.Context(), bytes.NewReader(export))
	if err != nil || done.Records == 0 || done.Garbled != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	older := bytes.Replace(export, []byte(`,"garbled":1`), nil, 1)
	if bytes.Equal(older, export) {
		t.Fatalf("the last line does not say it:\n%s", export)
	}
	if done, err := newFolder(t).Import(t.Context(), bytes.NewReader(older)); err != nil || done.Records == 0 {
		t.Errorf("an export without that number: %+v, %v", done, err)
	}
}

func TestTheReportCountsWhatCannotBeRead(t *testing.T) {
	archive := newFolder(t)
	mustRecord(t, archive.Ledger, sold(t, "cs_a", paidAt, terms.Forever),
		Fact{Kind: Mismatch, Session: "cs_mismatch", At: paidAt, Terms: soldTerms(t), Paid: price(t, "1.00")})
	archive.garble(t, key(Paid, "cs_a"))
	archive.garble(t, key(Mismatch, "cs_mismatch"))
	report, err := archive.Report(t.Context(), time.Time{}, paidAt.Add(day))
	if err != nil || report.Unreadable != 2 || report.Unfitting != 0 || report.Lines == nil {
		t.Errorf("%+v, %v", report, err)
	}
}
