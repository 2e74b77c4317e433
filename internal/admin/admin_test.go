package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

const day = 24 * time.Hour

func TestTheAPISaysWhatItDoesNotKnow(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, "nothing", "", http.StatusNotFound},
		{http.MethodGet, "revoke", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "purchases", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "report", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "purchases", `{"unknown":1}`, http.StatusBadRequest},
		{http.MethodPost, "revoke", `{"unknown":1}`, http.StatusBadRequest},
		{http.MethodPost, "purchase", `{"id":"x"}{}`, http.StatusBadRequest},
		{http.MethodPost, "purchase", `{"id":"` + strings.Repeat("x", maxBody) + `"}`, http.StatusBadRequest},
		{http.MethodGet, "purchase?id=x", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "report?from=2026-01&other=1", "", http.StatusOK},
	} {
		w := r.send(test.method, test.path, strings.NewReader(test.body))
		if w.Code != test.status {
			t.Errorf("%s %s: %d, want %d: %s", test.method, test.path, w.Code, test.status, w.Body)
		}
		if want := w.Code == http.StatusMethodNotAllowed; want != (w.Header().Get("Allow") != "") {
			t.Errorf("%s %s allows %q", test.method, test.path, w.Header().Get("Allow"))
		}
	}
}

func TestErrorsHaveAStatus(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
	}{
		{ledger.ErrNotFound, http.StatusNotFound},
		{ledger.ErrNotEmpty, http.StatusConflict},
		{ledger.ErrNoFile, http.StatusConflict},
		{ErrMaintenance, http.StatusConflict},
		{ledger.ErrNotExport, http.StatusBadRequest},
		{ledger.ErrNotBackup, http.StatusBadRequest},
		{ledger.ErrUnavailable, http.StatusServiceUnavailable},
		{errors.New("another"), http.StatusInternalServerError},
		{refuse(http.StatusTeapot, "of a handler"), http.StatusTeapot},
	} {
		var got caddy.APIError
		if err := apiError(fmt.Errorf("doing: %w", test.err)); !errors.As(err, &got) || got.HTTPStatus != test.status {
			t.Errorf("%v becomes %v, want status %d", test.err, err, test.status)
		}
	}
	if err := apiError(nil); err != nil {
		t.Errorf("nil becomes %v", err)
	}
}

func TestAPurchaseIsFoundAndShown(t *testing.T) {
	r := newRig(t)
	id := r.pay("cs_1")
	for _, name := range []string{id, Reference(id), strings.ToUpper(id), "cs_1", "pay_cs_1"} {
		found := call(r, ShowPurchase, PurchaseRequest{ID: name})
		if found.ID != id || found.Reference != Reference(id) || found.Status != ledger.Active || !found.EndsAt.Equal(r.at.Add(30*day)) {
			t.Errorf("%s is %+v", name, found)
		}
		if payment := found.Payments[0]; payment.Session != "cs_1" || payment.Amount != "5.00" || payment.Currency != "USD" && payment.Currency != "usd" {
			t.Errorf("%s was paid by %+v", name, payment)
		}
	}
	for _, name := range []string{"", "cs_2", "zz"} {
		refused(r, ShowPurchase, PurchaseRequest{ID: name}, http.StatusNotFound, "no such purchase")
	}
	r.at = r.at.Add(31 * day)
	if found := call(r, ShowPurchase, PurchaseRequest{ID: id}); found.Status != ledger.Expired {
		t.Errorf("after its time it is %s", found.Status)
	}
}

func TestAnAmbiguousNameListsThePurchases(t *testing.T) {
	r := newRig(t)
	byDigit := make(map[string][]string)
	for i := range 100 {
		id := r.pay(fmt.Sprint("cs_", i))
		byDigit[id[:1]] = append(byDigit[id[:1]], id)
	}
	for digit, ids := range byDigit {
		if len(ids) == 1 {
			continue
		}
		w := r.post(Revoke.Endpoint, DecideRequest{ID: digit})
		if named := strings.Count(w.Body.String(), digit); w.Code != http.StatusConflict || named < min(len(ids), 10) {
			t.Errorf("%s: %d %s", digit, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "and others") != (len(ids) > 10) {
			t.Errorf("%d purchases: %s", len(ids), w.Body)
		}
	}
}

// list returns the ids of a list, and its end.
func (r *rig) list(request ListRequest) (ids []string, end ListEnd) {
	r.t.Helper()
	w := r.post(ListPurchases.Endpoint, request)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"session"`) {
		r.t.Fatalf("%+v: %d %s", request, w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		var listed Listed
		r.must(json.Unmarshal([]byte(line), &listed))
		r.must(json.Unmarshal([]byte(line), &end))
		if listed.ID != "" {
			ids = append(ids, listed.ID)
		}
	}
	if !end.End {
		r.t.Errorf("%+v has no end: %s", request, w.Body)
	}
	return ids, end
}

func TestPurchasesAreListed(t *testing.T) {
	r := newRig(t)
	first := r.pay("a")
	r.at = r.at.Add(day)
	second := r.pay("b")
	call(r, Revoke, DecideRequest{ID: first})
	for name, test := range map[string]struct {
		request ListRequest
		want    []string
	}{
		"all, the newest first": {ListRequest{}, []string{second, first}},
		"by status":             {ListRequest{Status: ledger.Revoked}, []string{first}},
		"by site":               {ListRequest{Site: site}, []string{second, first}},
		"another site":          {ListRequest{Site: "https://example.org"}, nil},
		"another pass":          {ListRequest{Pass: "year"}, nil},
		"from a day":            {ListRequest{From: "2026-12-01"}, []string{second}},
		"to a month":            {ListRequest{To: "2026-12"}, []string{first}},
		"search":                {ListRequest{Search: " " + Reference(first)}, []string{first}},
		"as many as there are":  {ListRequest{Limit: 2}, []string{second, first}},
	} {
		if ids, end := r.list(test.request); strings.Join(ids, " ") != strings.Join(test.want, " ") || end.More || end.Error != "" {
			t.Errorf("%s: %v, want %v, end %+v", name, ids, test.want, end)
		}
	}
	if ids, end := r.list(ListRequest{Limit: 1}); len(ids) != 1 || !end.More {
		t.Errorf("a limit of 1 lists %v, %+v", ids, end)
	}
	for phrase, request := range map[string]ListRequest{
		"write one of active, expired":    {Status: "open"},
		"is no site":                      {Site: "example.com"},
		"is no site: write its address":   {Site: site + "/"},
		"the limit is a number":           {Limit: -1},
		"is no time":                      {From: "yesterday"},
		"the first must be the earlier":   {From: "2026-12", To: "2026-11"},
		"the first must be the earlier o": {From: "2026-12", To: "2026-12"},
	} {
		refused(r, ListPurchases, request, http.StatusBadRequest, phrase)
	}
}

func TestAPurchaseIsRevokedAndRestored(t *testing.T) {
	r := newRig(t)
	id := r.pay("cs_1")
	refused(r, Restore, DecideRequest{ID: id}, http.StatusConflict, "it is active already")
	if revoked := call(r, Revoke, DecideRequest{ID: id, Note: "shared"}); revoked.Status != ledger.Revoked {
		t.Errorf("it is %s", revoked.Status)
	}
	refused(r, Revoke, DecideRequest{ID: id}, http.StatusConflict, "it is revoked already")
	if found := call(r, ShowPurchase, PurchaseRequest{ID: id}); len(found.Decisions) != 1 || found.Decisions[0].Note != "shared" {
		t.Errorf("decisions are %+v", found.Decisions)
	}
	if restored := call(r, Restore, DecideRequest{ID: id}); restored.Status != ledger.Active {
		t.Errorf("it is %s", restored.Status)
	}
	_, err := r.ledger.RecordEvent(t.Context(), ledger.Event{Kind: ledger.EventRefunded, SessionID: "cs_1", OccurredAt: r.at})
	r.must(err)
	refused(r, Restore, DecideRequest{ID: id}, http.StatusConflict, "it is refunded, which cannot be restored")
	refused(r, Revoke, DecideRequest{ID: id, Note: strings.Repeat("n", maxNote+1)}, http.StatusBadRequest, "a note has at most")
	refused(r, Revoke, DecideRequest{ID: "cs_2"}, http.StatusNotFound, "no such purchase")
}

func TestADeviceIsRemoved(t *testing.T) {
	r := newRig(t)
	id := r.pay("cs_1")
	r.must(r.ledger.AddDevice(t.Context(), id, ledger.Device{ID: "d"}))
	refused(r, RemoveDevice, RemoveDeviceRequest{ID: id, Device: "other"}, http.StatusNotFound, "no such device")
	if left := call(r, RemoveDevice, RemoveDeviceRequest{ID: id, Device: "d"}); len(left.Devices) != 1 || left.Devices[0].RemovedAt == nil {
		t.Errorf("devices are %+v", left.Devices)
	}
}

// shop fills the site with pages.
func (r *rig) shop() {
	month := Product{Access: terms.Access(30 * day), Downloads: 3}
	r.pages = map[string]Page{
		site + "/month": {Site: site, Target: "/month", Products: map[string]Product{"month": month}},
		site + "/both":  {Site: site, Target: "/both", Products: map[string]Product{"month": month, "year": {Access: terms.Forever}}},
		site + "/path":  {Site: site, Target: "/path", Resource: "/path", Products: map[string]Product{"page": {PerPath: true, Access: terms.Forever}}},
		site + "/key": {Site: site, Target: "/key", Resource: "/key", Products: map[string]Product{
			"item": {PerPath: true, Key: "{query.sku}", HasLinks: true, Access: terms.Forever},
		}},
		site + "/a%20b%3F":          {Site: site, Target: "/a%20b%3F", Products: map[string]Product{"page": {PerPath: true, Access: terms.Forever}}},
		"https://example.org/month": {Site: "https://example.org", Target: "/month", Products: map[string]Product{"month": month}},
	}
}

func TestAccessIsGiven(t *testing.T) {
	r := newRig(t)
	r.shop()
	two := 2
	paid := r.pay("cs_1")
	r.at = r.at.Add(10 * day)
	for name, test := range map[string]struct {
		request  GiveRequest
		pass     string
		resource string
		lasts    time.Duration // 0: forever
		devices  int
	}{
		"the only pass":   {GiveRequest{URL: site + "/month"}, "month", "*", 30 * day, 1},
		"one of two":      {GiveRequest{URL: site + "/both", Pass: "year"}, "year", "*", 0, 1},
		"for a time":      {GiveRequest{URL: site + "/month", For: "2d", Devices: &two}, "month", "*", 2 * day, 2},
		"forever":         {GiveRequest{URL: site + "/month", For: "forever"}, "month", "*", 0, 1},
		"a path":          {GiveRequest{URL: site + "/path"}, "page", "/path", 0, 1},
		"a key":           {GiveRequest{URL: site + "/key", Key: "7"}, "item", "key:7", 0, 1},
		"what is left of": {GiveRequest{URL: site + "/month", Like: "cs_1"}, "month", "*", 20 * day, 1},
	} {
		link := call(r, Give, test.request)
		given := call(r, ShowPurchase, PurchaseRequest{ID: link.Purchase})
		if given.Pass != test.pass || given.Resource != test.resource || given.DeviceLimit != test.devices {
			t.Errorf("%s: %+v", name, given)
		}
		if (given.EndsAt == nil) != (test.lasts == 0) || given.EndsAt != nil && !given.EndsAt.Equal(r.at.Add(test.lasts)) {
			t.Errorf("%s: ends %v, want after %s", name, given.EndsAt, test.lasts)
		}
		if link.Link != test.request.URL+"?device="+link.Purchase || !link.Expires.Equal(r.at.Add(7*day)) {
			t.Errorf("%s: %+v", name, link)
		}
		if payment := given.Payments[0]; payment.Source != ledger.FromOperator || payment.Amount != "" {
			t.Errorf("%s: it was paid: %+v", name, payment)
		}
	}
	if like := call(r, ShowPurchase, PurchaseRequest{ID: paid}); like.Status != ledger.Active {
		t.Errorf("the purchase that was the model is %s", like.Status)
	}
}

func TestWhatCannotBeGiven(t *testing.T) {
	r := newRig(t)
	r.shop()
	none, many := 0, MaxDevices+1
	r.pay("cs_1")
	r.pay("cs_revoked")
	call(r, Revoke, DecideRequest{ID: "cs_revoked"})
	for _, test := range []struct {
		request GiveRequest
		status  int
		phrase  string
	}{
		{GiveRequest{URL: site + "/free"}, http.StatusBadRequest, "no gate covers"},
		{GiveRequest{URL: site + "/both"}, http.StatusBadRequest, "that open that address: month, year"},
		{GiveRequest{URL: site + "/month", Pass: "year"}, http.StatusBadRequest, "name one of the passes"},
		{GiveRequest{URL: site + "/month", Key: "7"}, http.StatusBadRequest, "not sold by a key"},
		{GiveRequest{URL: site + "/key"}, http.StatusBadRequest, "is sold by {query.sku}"},
		{GiveRequest{URL: site + "/month", For: "soon"}, http.StatusBadRequest, "is not a length"},
		{GiveRequest{URL: site + "/month", Devices: &none}, http.StatusBadRequest, "on 1 to 1000 devices"},
		{GiveRequest{URL: site + "/month", Devices: &many}, http.StatusBadRequest, "on 1 to 1000 devices"},
		{GiveRequest{URL: site + "/month", Note: strings.Repeat("n", maxNote+1)}, http.StatusBadRequest, "a note has at most"},
		{GiveRequest{URL: site + "/month", Like: "cs_2"}, http.StatusNotFound, "no such purchase"},
		{GiveRequest{URL: site + "/path", Like: "cs_1"}, http.StatusBadRequest, `"month" does not open`},
		{GiveRequest{URL: "https://example.org/month", Like: "cs_1"}, http.StatusBadRequest, "is of " + site},
		{GiveRequest{URL: site + "/month", Like: "cs_revoked"}, http.StatusConflict, "it is revoked"},
	} {
		refused(r, Give, test.request, test.status, test.phrase)
	}
	if ids, _ := r.list(ListRequest{}); len(ids) != 2 {
		t.Errorf("something was given all the same: %v", ids)
	}
	r.keys.loading = true
	refused(r, Give, GiveRequest{URL: site + "/month"}, http.StatusServiceUnavailable, "keys are not loaded")
	refused(r, MakeLink, LinkRequest{ID: "cs_1"}, http.StatusServiceUnavailable, "keys are not loaded")
}

func TestLinksAreMade(t *testing.T) {
	r := newRig(t)
	r.shop()
	r.pay("cs_1")
	item := call(r, Give, GiveRequest{URL: site + "/key", Key: "7"}).Purchase
	page := call(r, Give, GiveRequest{URL: site + "/path"}).Purchase
	if link := call(r, MakeLink, LinkRequest{ID: "cs_1", URL: site + "/month", For: "1h"}); !strings.Contains(link.Link, "/month?device=") || !link.Expires.Equal(r.at.Add(time.Hour)) {
		t.Errorf("%+v", link)
	}
	if link := call(r, MakeLink, LinkRequest{ID: page}); link.Link != site+"/path?device="+page {
		t.Errorf("to the path that was bought: %+v", link)
	}
	if link := call(r, MakeLink, LinkRequest{ID: item, URL: site + "/key", Direct: true}); link.Link != site+"/key?private="+item {
		t.Errorf("private: %+v", link)
	}
	for _, test := range []struct {
		request LinkRequest
		status  int
		phrase  string
	}{
		{LinkRequest{ID: "cs_2"}, http.StatusNotFound, "no such purchase"},
		{LinkRequest{ID: "cs_1"}, http.StatusBadRequest, "say at which page"},
		{LinkRequest{ID: "cs_1", URL: site + "/free"}, http.StatusBadRequest, "no gate covers"},
		{LinkRequest{ID: "cs_1", URL: site + "/path"}, http.StatusBadRequest, `"month" does not open`},
		{LinkRequest{ID: "cs_1", URL: "https://example.org/month"}, http.StatusBadRequest, "is of " + site},
		{LinkRequest{ID: "cs_1", URL: site + "/month", For: "1s"}, http.StatusBadRequest, "from a minute to ten years"},
		{LinkRequest{ID: "cs_1", URL: site + "/month", Direct: true}, http.StatusConflict, "has `links`"},
	} {
		refused(r, MakeLink, test.request, test.status, test.phrase)
	}
	r.must(r.ledger.AddDevice(t.Context(), ledger.PurchaseID("cs_1"), ledger.Device{ID: "d"}))
	refused(r, MakeLink, LinkRequest{ID: "cs_1", URL: site + "/month"}, http.StatusConflict, "all 1 devices of that purchase are in use")
	call(r, Revoke, DecideRequest{ID: "cs_1"})
	refused(r, MakeLink, LinkRequest{ID: "cs_1", URL: site + "/month"}, http.StatusConflict, "it is revoked")
}

// A path with signs that mean something in an address is written so that it is found again.
func TestALinkToAnOddPath(t *testing.T) {
	r := newRig(t)
	r.shop()
	page, err := r.pageOf("", ledger.Purchase{Site: site, Resource: "/a b?", Product: "page"})
	if err == nil {
		t.Errorf("a resource with a space, which may be two paths, is %+v", page)
	}
	r.pages[site+"/a%3Fb"] = Page{Site: site, Products: map[string]Product{"page": {}}}
	if _, err := r.pageOf("", ledger.Purchase{Site: site, Resource: "/a?b", Product: "page"}); err != nil {
		t.Error(err)
	}
}

func TestTheReportCountsUpToNow(t *testing.T) {
	r := newRig(t)
	r.pay("cs_1")
	w := r.send(GetReport.Method, GetReport.Path, nil)
	var report Report
	r.must(json.Unmarshal(w.Body.Bytes(), &report))
	if len(report.Lines) != 1 || report.Lines[0].Sales != (Sum{1, "5.00"}) || report.Lines[0].Net != "5.00" || report.From != nil {
		t.Errorf("%+v", report)
	}
	w = r.send(GetReport.Method, GetReport.Path+"?from=2026-01&to=2026-02", nil)
	if !strings.Contains(w.Body.String(), `"lines":[]`) || !strings.Contains(w.Body.String(), `"from":"2026-01-01T00:00:00Z"`) {
		t.Errorf("of nothing: %s", w.Body)
	}
	if w := r.send(GetReport.Method, GetReport.Path+"?from=2026-02&to=2026-01", nil); w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestASweepDeletesWhatEndedLongAgo(t *testing.T) {
	r := newRig(t)
	r.pay("cs_1")
	if swept := call(r, Sweep, None{}); swept != (Swept{}) {
		t.Errorf("at first %+v", swept)
	}
	r.at = r.at.Add(91 * day)
	r.pay("cs_2")
	if swept := call(r, Sweep, None{}); swept.Purchases != 1 {
		t.Errorf("%+v", swept)
	}
	r.Keep = -1
	refused(r, Sweep, None{}, http.StatusConflict, "keep forever")
}

func TestOneSweepImportOrRestoreAtATime(t *testing.T) {
	r := newRig(t)
	r.Maintenance.Lock()
	for _, o := range []Endpoint{Sweep.Endpoint, Import.Endpoint, RestoreBackup.Endpoint} {
		body := strings.NewReader("body")
		if w := r.send(o.Method, o.Path, body); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "is under way") {
			t.Errorf("%s: %d %s", o.Path, w.Code, w.Body)
		}
		if body.Len() > 0 && o != Sweep.Endpoint {
			t.Errorf("%s leaves %d bytes of its body", o.Path, body.Len())
		}
	}
	r.Maintenance.Unlock()
	call(r, Sweep, None{})
}

func TestTheLedgerIsExportedAndImported(t *testing.T) {
	r := newRig(t)
	r.pay("cs_1")
	w := r.send(Export.Method, Export.Path, nil)
	export := w.Body.Bytes()
	if w.Code != http.StatusOK || w.Result().Trailer.Get(HeaderChecksum) == "" || w.Header().Get(HeaderLedgerSize) == "" {
		t.Fatalf("%d %v", w.Code, w.Result().Trailer)
	}
	if w := r.send(Import.Method, Import.Path, bytes.NewReader(export)); w.Code != http.StatusConflict {
		t.Errorf("over payments: %d %s", w.Code, w.Body)
	}
	other := newRig(t)
	if w := other.send(Import.Method, Import.Path, strings.NewReader("words")); w.Code != http.StatusBadRequest {
		t.Errorf("words: %d %s", w.Code, w.Body)
	}
	w = other.send(Import.Method, Import.Path, bytes.NewReader(export))
	var done Imported
	other.must(json.Unmarshal(w.Body.Bytes(), &done))
	if done.Installation != r.keys.installation || done.Rows == 0 || other.reloads != 1 {
		t.Errorf("%+v, %d reloads", done, other.reloads)
	}
	if found := call(other, ShowPurchase, PurchaseRequest{ID: "cs_1"}); found.Status != ledger.Active {
		t.Errorf("%+v", found)
	}
}

func TestTheLedgerIsBackedUpAndRestored(t *testing.T) {
	r := newRig(t)
	r.pay("cs_1")
	w := r.send(Backup.Method, Backup.Path, nil)
	backup := w.Body.Bytes()
	if w.Code != http.StatusOK || !bytes.HasPrefix(backup, []byte("SQLite format 3")) || w.Result().Trailer.Get(HeaderChecksum) == "" {
		t.Fatalf("%d %v", w.Code, w.Result().Trailer)
	}
	r.pay("cs_2")
	w = r.send(RestoreBackup.Method, RestoreBackup.Path, bytes.NewReader(backup))
	var restored Restored
	r.must(json.Unmarshal(w.Body.Bytes(), &restored))
	if _, err := os.Stat(restored.Kept); err != nil || restored.Payments != 1 || !restored.LastPayment.Equal(r.at) || r.reloads != 1 {
		t.Errorf("%+v, %v, %d reloads", restored, err, r.reloads)
	}
	refused(r, ShowPurchase, PurchaseRequest{ID: "cs_2"}, http.StatusNotFound, "no such purchase")
	w = r.send(RestoreBackup.Method, RestoreBackup.Path, strings.NewReader("words"))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "restoring the backup") {
		t.Errorf("words: %d %s", w.Code, w.Body)
	}
	if left, _ := filepath.Glob(r.ledger.Path() + ".upload-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// fileless is a ledger in PostgreSQL.
type fileless struct{ Database }

func (fileless) Path() string { return "" }

func TestALedgerWithoutAFileHasNoBackups(t *testing.T) {
	r := newRig(t)
	r.Database = fileless{r.ledger}
	for _, o := range []Endpoint{Backup.Endpoint, RestoreBackup.Endpoint} {
		if w := r.send(o.Method, o.Path, strings.NewReader("body")); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "pg_dump") {
			t.Errorf("%s: %d %s", o.Path, w.Code, w.Body)
		}
	}
}

func TestKeysAreRotatedAndRemoved(t *testing.T) {
	r := newRig(t)
	if keys := call(r, ListKeys, None{}); len(keys) != 0 {
		t.Errorf("at first %v", keys)
	}
	call(r, RotateKeys, None{})
	if keys := call(r, RotateKeys, None{}); len(keys) != 2 {
		t.Errorf("%v", keys)
	}
	if keys := call(r, RemoveKey, RemoveKeyRequest{ID: "k0"}); len(keys) != 1 || keys[0].ID != "k1" {
		t.Errorf("%v", keys)
	}
	refused(r, RemoveKey, RemoveKeyRequest{ID: "k0"}, http.StatusNotFound, "no signing key has this id")
}

func TestAReplayNeedsASignatureOrTrust(t *testing.T) {
	r := newRig(t)
	body := `{"event":"payment.completed","data":{}}`
	signed := http.Header{"X-Sig": {body}}
	refused(r, ReplayWebhook, ReplayRequest{Body: []byte(body)}, http.StatusForbidden, "add --trust")
	refused(r, ReplayWebhook, ReplayRequest{Body: []byte("words"), Trust: true}, http.StatusBadRequest, "")
	if len(r.hooks.taken) != 0 {
		t.Fatalf("taken: %v", r.hooks.taken)
	}
	for name, test := range map[string]struct {
		request ReplayRequest
		signed  bool
	}{
		"signed":                     {ReplayRequest{Body: []byte(body), Header: signed}, true},
		"with a line break after it": {ReplayRequest{Body: []byte(body + "\n"), Header: signed}, true},
		"trusted":                    {ReplayRequest{Body: []byte(body), Trust: true}, false},
	} {
		if done := call(r, ReplayWebhook, test.request); done.Outcome != "paid" || done.Event != "payment.completed" || done.Signed != test.signed {
			t.Errorf("%s: %+v", name, done)
		}
	}
	r.hooks.err = errors.New("not stored")
	refused(r, ReplayWebhook, ReplayRequest{Body: []byte(body), Header: signed}, http.StatusServiceUnavailable, "not stored")
}

func TestRejectedWebhooksAreListed(t *testing.T) {
	r := newRig(t)
	r.hooks.rejected = []webhook.Captured{{Reason: "bad"}}
	if kept := call(r, RejectedWebhooks, None{}); len(kept) != 1 || kept[0].Reason != "bad" {
		t.Errorf("%+v", kept)
	}
}
