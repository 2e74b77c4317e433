package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

func TestTheReportCountsUpToNow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pay("cs_1")
	report := call[Report](r, "report", nil)
	if len(report.Lines) != 1 || !report.From.IsZero() {
		t.Fatalf("%+v", report)
	}
	if line := report.Lines[0]; line.Sales != 1 || line.SalesAmount != "5.00" || line.Net != "5.00" || line.RefundsAmount != "0.00" || line.Currency != "USD" {
		t.Errorf("%+v", line)
	}
	w := r.post("report", ReportRequest{From: "2026-01", To: "2026-02"})
	if !strings.Contains(w.Body.String(), `"lines":[]`) || !strings.Contains(w.Body.String(), `"from":"2026-01-01T00:00:00Z"`) {
		t.Errorf("of nothing: %s", w.Body)
	}
	r.refused("report", ReportRequest{From: "2026-02", To: "2026-01"}, http.StatusBadRequest, "the earlier one")
}

func TestASweepDeletesWhatEndedLongAgo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pay("cs_1")
	if swept := call[ledger.Swept](r, "sweep", nil); swept.Purchases != 0 {
		t.Errorf("at first %+v", swept)
	}
	r.at = r.at.Add(91 * day)
	r.pay("cs_2")
	if swept := call[ledger.Swept](r, "sweep", nil); swept.Purchases != 1 {
		t.Errorf("%+v", swept)
	}
	r.Keep = -1
	r.refused("sweep", nil, http.StatusConflict, "keep forever")
}

func TestOneSweepImportOrRestoreAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Maintenance.Lock()
	for _, path := range []string{"sweep", "import", "restore-backup"} {
		body := strings.NewReader("{}")
		r.refused(path, body, http.StatusConflict, "is under way")
		if body.Len() > 0 {
			t.Errorf("%s leaves %d bytes of its body: a client that still sends would not read the answer", path, body.Len())
		}
	}
	r.Maintenance.Unlock()
	call[ledger.Swept](r, "sweep", nil)
}

func TestTheLedgerIsExportedAndImported(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pay("cs_1")
	export := r.post("export", nil).Body.Bytes()
	r.refused("import", bytes.NewReader(export), http.StatusConflict, "has payments already")
	other := newRig(t)
	other.refused("import", strings.NewReader("words"), http.StatusBadRequest, "not a complete backup")
	done := call[ledger.Imported](other, "import", bytes.NewReader(export))
	if done.Installation != r.Keys.Installation() || done.Rows == 0 || other.reloads != 1 {
		t.Errorf("%+v, %d reloads", done, other.reloads)
	}
	if found := other.show("cs_1"); found.Status != ledger.Active {
		t.Errorf("%+v", found)
	}
}

func TestTheLedgerIsBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pay("cs_1")
	backup := r.post("backup", nil).Body.Bytes()
	r.pay("cs_2")
	restored := call[ledger.Imported](r, "restore-backup", bytes.NewReader(backup))
	if _, err := os.Stat(restored.Kept); err != nil || restored.Rows == 0 || r.reloads != 1 {
		t.Errorf("%+v, %v, %d reloads", restored, err, r.reloads)
	}
	r.refused("show", PurchaseRequest{ID: "cs_2"}, http.StatusNotFound, "no such purchase")
	r.refused("restore-backup", strings.NewReader("words"), http.StatusBadRequest, "not a complete backup")
}

// A client must not take a part of an answer for all of it.
func TestAnAnswerThatBreaksOffIsNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	failure := errors.New("disk on fire")
	for name, begin := range map[string]string{"at the beginning": "", "later": "some rows"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			err := downloads(func(_ *ledger.Ledger, _ context.Context, out io.Writer) error {
				if begin != "" {
					_, _ = io.WriteString(out, begin)
				}
				return failure
			}).serve(r.API, w, request)
			if !errors.Is(err, failure) {
				t.Errorf("%s: %v", name, err)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		response, err := http.Get(server.URL)
		r.must(err)
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		server.Close()
		if isWhole := err == nil && response.StatusCode == http.StatusOK; isWhole {
			t.Errorf("%s: it seems whole", name)
		}
		if begin != "" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: ends with %v", name, err)
		}
	}
}
