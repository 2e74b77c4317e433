package cli

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

var paidAt = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func TestCommandsAskForWhatTheirFlagsSay(t *testing.T) {
	c := newCaddy(t)
	for _, test := range []struct {
		args []string
		call string
	}{
		{[]string{"list"}, `POST /axra/purchases {"limit":50}`},
		{[]string{"list", "--search", "cs_1", "--pass", "p", "--site", "https://example.com", "--status", "active", "--from", "2026", "--to", "2027", "--limit", "0"},
			`POST /axra/purchases {"site":"https://example.com","pass":"p","status":"active","from":"2026","to":"2027","search":"cs_1"}`},
		{[]string{"show", "cs_1"}, `POST /axra/purchase {"id":"cs_1"}`},
		{[]string{"revoke", "cs_1", "--note", "why"}, `POST /axra/revoke {"id":"cs_1","note":"why"}`},
		{[]string{"restore", "cs_1"}, `POST /axra/restore {"id":"cs_1","note":""}`},
		{[]string{"remove-device", "cs_1", "d"}, `POST /axra/device/remove {"id":"cs_1","device":"d"}`},
		{[]string{"give", "https://example.com/a"}, `POST /axra/give {"url":"https://example.com/a","devices":1}`},
		{[]string{"give", "https://example.com/a", "--pass", "p", "--for", "1d", "--devices", "2", "--key", "k", "--like", "cs_1", "--note", "why"},
			`POST /axra/give {"url":"https://example.com/a","pass":"p","key":"k","like":"cs_1","for":"1d","devices":2,"note":"why"}`},
		{[]string{"link", "cs_1", "https://example.com/a", "--direct", "--for", "1h"},
			`POST /axra/link {"id":"cs_1","url":"https://example.com/a","direct":true,"for":"1h"}`},
		{[]string{"report"}, `GET /axra/report?from=&to=`},
		{[]string{"report", "--from", "2026-01", "--to", "2026-02"}, `GET /axra/report?from=2026-01&to=2026-02`},
		{[]string{"sweep"}, `POST /axra/sweep`},
		{[]string{"export", "-"}, `GET /axra/export`},
		{[]string{"backup", "-"}, `GET /axra/backup`},
		{[]string{"keys", "list"}, `GET /axra/keys`},
		{[]string{"keys", "rotate"}, `POST /axra/keys/rotate`},
		{[]string{"keys", "remove", "k", "--yes"}, `POST /axra/keys/remove {"kid":"k"}`},
		{[]string{"webhook", "refused"}, `GET /axra/webhook/refused`},
	} {
		c.calls = nil
		_, _, err := c.run(t, test.args...)
		if err == nil || err.Error() != "nothing there" {
			t.Errorf("%v ends with %v, want the words of the admin API", test.args, err)
		}
		if !slices.Equal(c.calls, []string{test.call}) {
			t.Errorf("%v calls %v, want %s", test.args, c.calls, test.call)
		}
	}
}

func TestAListAppearsInPagesAndEndsWithItsLastLine(t *testing.T) {
	c := newCaddy(t)
	purchase := func(id string) string {
		raw, err := json.Marshal(admin.Listed{
			Purchase: admin.Purchase{ID: id, Status: ledger.Active, Pass: "evil\x1b[2J\tpass"}, Payments: 2,
			LastPayment: admin.Payment{Source: ledger.FromAxra, PaidAt: paidAt, Amount: "5.00", Currency: "usd", PaymentIDs: []string{"bpay_1"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	first := purchase("0123456789abcdef")
	lines(c, admin.ListPurchases, first, `{"end":true,"more":true}`)
	out, aside, err := c.run(t, "list")
	if err != nil || strings.ContainsRune(out, 0x1b) {
		t.Errorf("%v %q", err, out)
	}
	wantParts(t, out, "PAID AT (UTC)", "2026-11-30 12:00", "active", "no expiry", "5.00 USD (2 payments)", "evil?[2J?pass", " 0123456789 ", "bpay_1")
	wantParts(t, aside, "there are more")
	if out, _, err := c.run(t, "list", "--json"); err != nil || out != first+"\n" {
		t.Errorf("for programs: %v %q", err, out)
	}

	lines(c, admin.ListPurchases, append(slices.Repeat([]string{first}, 2*tablePage+1), `{"end":true}`)...)
	out, aside, err = c.run(t, "list")
	if err != nil || strings.Count(out, "bpay_1") != 2*tablePage+1 || strings.Count(out, "PAID AT") != 1 || aside != "" {
		t.Errorf("%v: %d rows, %q", err, strings.Count(out, "bpay_1"), aside)
	}
	lines(c, admin.ListPurchases, `{"end":true}`)
	if out, _, err := c.run(t, "list"); err != nil || out != "nothing found\n" {
		t.Errorf("of nothing: %v %q", err, out)
	}
	lines(c, admin.ListPurchases, first)
	_, _, err = c.run(t, "list")
	wantError(t, err, "the answer was cut off")
	lines(c, admin.ListPurchases, first, `{"end":true,"error":"disk on fire"}`)
	_, _, err = c.run(t, "list")
	wantError(t, err, "disk on fire")
	lines(c, admin.ListPurchases, "words")
	_, _, err = c.run(t, "list")
	wantError(t, err, "reading the answer")
}

func TestPrices(t *testing.T) {
	for want, payment := range map[string]admin.Payment{
		"5.00 USD":                 {Source: ledger.FromAxra, Amount: "5.00", Currency: "usd"},
		"3.00 USD, asked 5.00 EUR": {Source: ledger.FromAxra, Amount: "3.00", Currency: "usd", Mismatch: true, Asked: &admin.Price{Amount: "5.00", Currency: "eur"}},
		"3.00 USD, not as asked":   {Source: ledger.FromAxra, Amount: "3.00", Currency: "usd", Mismatch: true},
		"no readable amount":       {Source: ledger.FromAxra, Paid: "many"},
		"given":                    {Source: ledger.FromOperator},
		"by coupon":                {Source: ledger.FromCoupon},
	} {
		if got := priceOf(payment); got != want {
			t.Errorf("%+v is %q, want %q", payment, got, want)
		}
	}
}

func TestAPurchaseIsShownInTheOrderOfTime(t *testing.T) {
	c := newCaddy(t)
	later := paidAt.Add(time.Hour)
	answer(c, admin.ShowPurchase, admin.Details{
		Purchase: admin.Purchase{ID: "0123456789abcdef", Status: ledger.Refunded}, Reference: "0123456789",
		Payments:      []admin.Payment{{Session: "cs_1", Source: ledger.FromAxra, PaidAt: paidAt, Amount: "5.00", Currency: "usd"}},
		DoubleCharges: []string{"bpay_2"},
		Events:        []admin.Event{{Kind: "refunded", At: later.Add(time.Hour), PaymentIDs: []string{"bpay_1"}}},
		Decisions:     []admin.Event{{Kind: "revoked", At: later, Note: "shared"}},
		Devices:       []admin.Device{{ID: "d1", AddedAt: paidAt, RemovedAt: &later}, {ID: "d2", AddedAt: paidAt, Label: "Firefox"}},
		DeviceLimit:   3, Claims: map[string]string{"gift": "d2"}, Downloads: 1, DownloadsUntil: &later,
	})
	out, _, err := c.run(t, "show", "0123456789")
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, out, "session cs_1", "charged twice  bpay_2", "2026-11-30 13:00 UTC  shared", "devices        1 of 3", "removed 2026-11-30 13:00 UTC",
		"Firefox", "gift taken by  d2", "1, not limited", "the last window ends 2026-11-30 13:00 UTC")
	if strings.Index(out, "\nrevoked ") > strings.Index(out, "\nrefunded ") || strings.Contains(out, "ends (UTC)") {
		t.Errorf("not in order, or with an end:\n%s", out)
	}
}

func TestTheReportForPeopleAndSpreadsheets(t *testing.T) {
	c := newCaddy(t)
	report := admin.Report{Mismatched: 2, DoubleCharges: 1, Lines: []admin.ReportLine{{
		Site: "https://example.com", Pass: "=cmd()", Currency: "usd", Sales: admin.Sum{Count: 2, Amount: "10.00"},
		Refunds: admin.Sum{Amount: "0.00"}, Disputes: admin.Sum{Amount: "0.00"}, DisputesLost: admin.Sum{Amount: "0.00"}, Net: "10.00",
	}}}
	answer(c, admin.GetReport, report)
	out, _, err := c.run(t, "report", "--csv")
	if want := "https://example.com,'=cmd(),USD,2,10.00,0,0.00,0,0.00,0,0.00,10.00\n"; err != nil || !strings.HasSuffix(out, want) {
		t.Errorf("%v %s", err, out)
	}
	out, _, err = c.run(t, "report")
	if err != nil {
		t.Error(err)
	}
	wantParts(t, out, "SALES AMOUNT", "=cmd()", "Not included: 2 payments in another amount", "Not included: 1 double charge")
	report.Lines = nil
	answer(c, admin.GetReport, report)
	out, _, _ = c.run(t, "report")
	wantParts(t, out, "no sales in this time")
	_, _, err = c.run(t, "report", "--csv", "--json")
	wantError(t, err, "exclude each other")
}

func TestKeysAreListed(t *testing.T) {
	c := newCaddy(t)
	answer(c, admin.ListKeys, []token.KeyInfo{
		{ID: "old", Algorithm: "HS256", Created: paidAt, SignsFrom: paidAt, KeepUntil: paidAt.Add(time.Hour)},
		{ID: "new", Algorithm: "HS256", Created: paidAt, SignsFrom: paidAt, SignsAccess: true, SignsOther: true},
	})
	out, _, err := c.run(t, "keys", "list")
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, out, "SIGNS NOW", "access tokens, all else", "2026-11-30 13:00")
	_, _, err = c.run(t, "keys", "remove", "old")
	wantError(t, err, "add --yes")
}

func TestALinkIsPrintedAlone(t *testing.T) {
	c := newCaddy(t)
	answer(c, admin.Give, admin.Link{Purchase: "0123456789abcdef", Link: "https://example.com/a?x=1", Expires: paidAt})
	out, aside, err := c.run(t, "give", "https://example.com/a")
	if err != nil || out != "https://example.com/a?x=1\n" {
		t.Errorf("%v %q", err, out)
	}
	wantParts(t, aside, "opens 0123456789; the link works until 2026-11-30 12:00 UTC")
}

// A server that dies half-way must not leave half a backup, nor take the place of an older one.
func TestABackupThatIsCutOffIsNoBackup(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"the connection breaks": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 5000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"no checksum": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5000)) },
		"another checksum": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", admin.HeaderChecksum)
			_, _ = w.Write(make([]byte, 5000))
			w.Header().Set(admin.HeaderChecksum, strings.Repeat("0", 64))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCaddy(t)
			c.answers[admin.Backup.Endpoint], c.answers[admin.Export.Endpoint] = serve, serve
			file := writeFile(t, "an older one")
			for _, command := range []string{"backup", "export"} {
				if out, _, err := c.run(t, command, file); err == nil {
					t.Errorf("%s goes well: %s", command, out)
				}
			}
			if raw, err := os.ReadFile(file); err != nil || string(raw) != "an older one" {
				t.Errorf("%q, %v", raw, err)
			}
			if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestADownloadIsCheckedAndPutInPlace(t *testing.T) {
	c := newCaddy(t)
	download := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", admin.HeaderChecksum+", "+admin.HeaderRows)
			_, _ = io.WriteString(w, body)
			w.Header().Set(admin.HeaderRows, "3")
			sum := sha256.Sum256([]byte(body))
			w.Header().Set(admin.HeaderChecksum, hex.EncodeToString(sum[:]))
		}
	}
	const rows = "one\ntwo\nthree\n"
	c.answers[admin.Export.Endpoint], c.answers[admin.Backup.Endpoint] = download(rows), download("pages")
	file := writeFile(t, "an older one")
	out, aside, err := c.run(t, "export", file)
	raw, _ := os.ReadFile(file)
	if info, _ := os.Stat(file); err != nil || string(raw) != rows || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %s %q", err, info.Mode(), raw)
	}
	wantParts(t, out, "3 rows, 1 kB written to "+file)
	wantParts(t, aside, "holds the signing keys")
	out, _, err = c.run(t, "export", file, "--json")
	if err != nil {
		t.Error(err)
	}
	wantParts(t, out, `"rows": 3`, `"bytes": 14`)
	if out, aside, err := c.run(t, "backup", "-"); err != nil || out != "pages" || aside != "" {
		t.Errorf("streamed: %v %q %q", err, out, aside)
	}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAFileIsUploadedAsItIs(t *testing.T) {
	c := newCaddy(t)
	answer(c, admin.Import, admin.Imported{Installation: "inst", Rows: 2})
	out, _, err := c.run(t, "import", writeFile(t, "rows"))
	if err != nil || out != "2 rows imported, and the keys of installation inst\n" || !slices.Equal(c.calls, []string{"POST /axra/import rows"}) {
		t.Errorf("%v %q %v", err, out, c.calls)
	}
	answer(c, admin.RestoreBackup, admin.Restored{Installation: "inst", Payments: 1, LastPayment: &paidAt, Kept: "/x.old"})
	out, _, err = c.run(t, "restore-backup", writeFile(t, "backup"))
	if err != nil {
		t.Error(err)
	}
	wantParts(t, out, "with 1 payment, the last at 2026-11-30 12:00 UTC", "is kept as /x.old:")
	_, _, err = c.run(t, "import", filepath.Join(t.TempDir(), "none"))
	wantError(t, err, "no such file")
}

func TestNothingAnswers(t *testing.T) {
	for args, phrase := range map[string]string{
		"list":                "is Caddy running?",
		"restore-backup FILE": "add --database",
	} {
		file := writeFile(t, "")
		_, _, err := execute(t, Plugin{}, append(strings.Fields(strings.Replace(args, "FILE", file, 1)), "--address", "127.0.0.1:1")...)
		wantError(t, err, phrase)
	}
}

// Caddy has no types for these errors: the commands tell them apart by their words.
func TestCaddysErrorsReadAsTheCommandsExpect(t *testing.T) {
	c := newCaddy(t)
	_, err := caddycmd.AdminAPIRequest(c.address, http.MethodGet, "/", nil, nil) //nolint:bodyclose // there is none with an error
	wantError(t, err, `caddy responded with error: HTTP 404: {"error":"nothing there"}`)
	_, err = caddycmd.AdminAPIRequest("127.0.0.1:1", http.MethodGet, "/", nil, nil) //nolint:bodyclose // there is none with an error
	wantError(t, err, "performing request")

	// validate reads the environment before the configuration, and says which of them fails.
	ok := Plugin{Check: func(context.Context, string, string, bool) Diagnosis { return diagnosis{} }}
	for name, file := range map[string]string{
		"a file that is not there": filepath.Join(t.TempDir(), "none"),
		"a file of something else": writeFile(t, "no pairs\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := execute(t, ok, "check", "--envfile", file)
			wantError(t, err, "environment")
		})
	}
	if _, _, err := execute(t, ok, "check", "--envfile", writeFile(t, "PW_NOTHING=1\n")); err != nil || os.Getenv("PW_NOTHING") != "1" {
		t.Errorf("a good file: %v", err)
	}
	_ = os.Unsetenv("PW_NOTHING")
}

// diagnosis has a number of errors and of warnings.
type diagnosis [2]int

func (d diagnosis) Errors() int   { return d[0] }
func (d diagnosis) Warnings() int { return d[1] }
func (d diagnosis) WriteText(w io.Writer) error {
	_, err := io.WriteString(w, "in words\n")
	return err
}

func TestTheExitCodeOfACheck(t *testing.T) {
	for _, test := range []struct {
		found  diagnosis
		args   []string
		failed bool
	}{
		{diagnosis{0, 0}, nil, false},
		{diagnosis{0, 1}, nil, false},
		{diagnosis{0, 1}, []string{"--strict"}, true},
		{diagnosis{1, 0}, nil, true},
		{diagnosis{1, 0}, []string{"--json"}, true},
	} {
		plugin := Plugin{Check: func(_ context.Context, config, adapter string, live bool) Diagnosis {
			if config != "c" || adapter != "a" || !live {
				t.Errorf("checks %s %s %t", config, adapter, live)
			}
			return test.found
		}}
		out, _, err := execute(t, plugin, append([]string{"check", "--config", "c", "--adapter", "a", "--live"}, test.args...)...)
		if (err != nil) != test.failed || !strings.Contains(out, "in words") && !strings.HasPrefix(out, "[") {
			t.Errorf("%v %v: %v\n%s", test.found, test.args, err, out)
		}
	}
}

func TestWhatTalksToNoCaddyTakesNoAddress(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"webhook", "inspect", "-"}} {
		_, _, err := execute(t, Plugin{}, append(args, "--address", "localhost:2019")...)
		wantError(t, err, "leave out --address")
		if help, _, err := execute(t, Plugin{}, append(args, "--help")...); err != nil || strings.Contains(help, "--address") || !strings.Contains(help, "--envfile") {
			t.Errorf("%v: %v\n%s", args, err, help)
		}
	}
}

func TestAMisspeltCommandIsAnError(t *testing.T) {
	for _, args := range [][]string{{"lst"}, {"keys", "rotat"}, {"webhook", "inspct"}} {
		_, _, err := execute(t, Plugin{}, args...)
		wantError(t, err, "unknown command")
	}
}

// withSecrets is a plugin whose configuration holds secrets.
func withSecrets(err error, secrets ...string) Plugin {
	return Plugin{WebhookSecrets: func(string, string) (configured [][]byte, _ *webhook.Verifier, _ error) {
		for _, secret := range secrets {
			configured = append(configured, []byte(secret))
		}
		return configured, nil, err
	}}
}

func hmacOf(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestInspectReportsHowAWebhookIsSigned(t *testing.T) {
	const body = `{"event":"payment.refunded","data":{"reference":"x","\u001b[31m":1}}`
	ofFile, plugin := writeFile(t, "of-file\n"), withSecrets(nil, "old", "PLANTED")
	for name, test := range map[string]struct {
		plugin Plugin
		head   string
		args   []string
		want   []string // parts of the report
		failed string   // the error; "" if something fits
	}{
		"the default": {plugin, "X-Axra-Signature: " + hmacOf("PLANTED", body), nil,
			[]string{"It fits: scheme body, HMAC-SHA256, header X-Axra-Signature, webhook secret 2.", "\t\tsignature {\n\t\t\theader X-Axra-Signature\n\t\t\tscheme body\n\t\t}", "The event is payment.refunded"}, ""},
		"another header": {plugin, "X-Sig: " + hmacOf("old", body), nil, []string{"\t\tsignature {\n\t\t\theader X-Sig\n\t\t\tscheme body\n\t\t}", "webhook secret 1."}, ""},
		"the secret of a file": {withSecrets(errors.New("wrong")), "X-Sig: " + hmacOf("of-file", body), []string{"--secret-file", ofFile},
			[]string{"header X-Sig, webhook secret 1."}, ""},
		"another secret": {plugin, "X-Axra-Signature: " + hmacOf("other", body), nil,
			[]string{"Nothing fits", "X-Axra-Signature", "another secret", "it says that it is payment.refunded", "data.reference", "not found: the event counts from its arrival"}, "nothing that this version can verify fits"},
		"no signature":                  {plugin, "Content-Type: application/json", nil, []string{"Nothing fits", "none", "It is not from Axra", "A proxy in front of Caddy"}, "fits"},
		"the secret itself":             {plugin, "Verif-Hash: PLANTED", nil, []string{"The header Verif-Hash holds the webhook secret itself", "please report it"}, "fits"},
		"a masked token":                {plugin, "X-Hook-Token: ***", nil, []string{"masked", "X-Hook-Token"}, "fits"},
		"no secret":                     {withSecrets(nil), "X-Sig: 00", nil, nil, "there is no secret to try"},
		"an empty secret":               {plugin, "X-Sig: 00", []string{"--secret-file", writeFile(t, "\n")}, nil, "there is no secret to try"},
		"a configuration that is wrong": {withSecrets(errors.New("is wrong")), "X-Sig: 00", nil, nil, "is wrong"},
		"a file that is not there":      {plugin, "X-Sig: 00", []string{"--secret-file", ofFile + "x"}, nil, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, test.head+"\n\n"+body)
			out, _, err := execute(t, test.plugin, append([]string{"webhook", "inspect", file}, test.args...)...)
			if test.failed != "" {
				wantError(t, err, test.failed)
			} else if err != nil {
				t.Error(err)
			}
			wantParts(t, out, test.want...)
			if strings.Contains(out, "PLANTED") || strings.ContainsRune(out, 0x1b) {
				t.Errorf("the secret is printed, or the sender steers the terminal: %q", out)
			}
		})
	}
}

func TestInspectReportsToPrograms(t *testing.T) {
	file := writeFile(t, "X-Sig: "+hmacOf("s", "[]")+"\n\n[]\n")
	verifier := &webhook.Verifier{Secrets: [][]byte{[]byte("s")}, Header: "X-Sig", Scheme: webhook.SchemeBody}
	plugin := Plugin{WebhookSecrets: func(string, string) ([][]byte, *webhook.Verifier, error) { return verifier.Secrets, verifier, nil }}
	out, _, err := execute(t, plugin, "webhook", "inspect", "--json", file)
	var report webhookReport
	if err := errors.Join(err, json.Unmarshal([]byte(out), &report)); err != nil {
		t.Fatal(err)
	}
	if !report.Verifiable || !report.Configured || report.Fits[0].Header != "X-Sig" || !strings.Contains(report.Fits[0].Body, "line break") || report.EventError == "" {
		t.Errorf("%s", out)
	}
	out, _, err = execute(t, plugin, "webhook", "inspect", file)
	wantParts(t, out, "The configuration verifies it.", "The body is not an event")
	_, _, errBody := execute(t, plugin, "webhook", "inspect", writeFile(t, "{}"))
	wantError(t, errBody, "not a captured request")
	if err != nil {
		t.Error(err)
	}
}

func TestAReplayIsAcceptedOrExplained(t *testing.T) {
	c := newCaddy(t)
	for outcome := range outcomes {
		answer(c, admin.ReplayWebhook, admin.Replayed{Event: "payment.completed", Session: "cs_1", Outcome: outcome})
		out, _, err := c.run(t, "webhook", "replay", writeFile(t, "X-Sig: 00\n\n{}"))
		if (err != nil) != outcomes[outcome].idle || !strings.Contains(out, "payment.completed of cs_1: "+outcome+": "+outcomes[outcome].words) {
			t.Errorf("%s: %v %s", outcome, err, out)
		}
	}
	if request := c.calls[0]; !strings.Contains(request, `"X-Sig":["00"]`) || !strings.Contains(request, `"e30="`) {
		t.Errorf("sent %s", request)
	}
	c.answers[admin.ReplayWebhook.Endpoint] = func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":"no good signature"}`, http.StatusForbidden)
	}
	_, _, err := c.run(t, "webhook", "replay", writeFile(t, "{}"))
	wantError(t, err, "no good signature")
}

func TestTheRejectedWebhookIsPrinted(t *testing.T) {
	c := newCaddy(t)
	answer(c, admin.RejectedWebhooks, []webhook.Captured{
		{Method: "POST", Path: "/hook", Header: http.Header{"X-Sig": {"00"}}, Body: []byte("{}"), Reason: "bad", At: paidAt, Signed: true}, {Method: "POST"},
	})
	out, aside, err := c.run(t, "webhook", "refused")
	if err != nil || !strings.HasPrefix(out, "POST /hook HTTP/1.1\r\n") {
		t.Errorf("%v %q", err, out)
	}
	wantParts(t, aside, "refused at 2026-11-30 12:00:00 UTC: bad")
	answer(c, admin.RejectedWebhooks, []webhook.Captured{})
	_, _, err = c.run(t, "webhook", "refused")
	wantError(t, err, "no refused webhook is kept")
	if out, _, err := c.run(t, "webhook", "refused", "--json"); err != nil || out != "[]\n" {
		t.Errorf("for programs: %v %q", err, out)
	}
}

// A long command shows on a terminal that it is at work, and leaves nothing there.
func TestProgressIsShownAndTakenAway(t *testing.T) {
	for _, test := range []struct {
		what        string
		done, total int64
		line        string
	}{
		{"backing up", 12_300_000, 400_000_000, "backing up: 12.3 MB of about 400.0 MB, 0s"},
		{"exporting", 1_500_000_000, 0, "exporting: 1.50 GB, 0s"},
		{"sweeping", 0, 0, "sweeping: 0s"},
	} {
		p := &progress{what: test.what, start: time.Now()}
		p.done.Store(test.done)
		p.total.Store(test.total)
		drawn := make(drawing, 1)
		stop := p.show(drawn, 0, time.Hour)
		if line := <-drawn; !strings.HasSuffix(line, test.line) {
			t.Errorf("%q, want %q", line, test.line)
		}
		stop()
		if last := <-drawn; last != "\r\x1b[K" {
			t.Errorf("ends with %q", last)
		}
	}
}

type drawing chan string

func (d drawing) Write(p []byte) (int, error) {
	d <- string(p)
	return len(p), nil
}
