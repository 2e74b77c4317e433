package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCommandsAskForWhatTheirFlagsSay(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	event := writeFile(t, "{}")
	for _, test := range []struct{ command, call string }{
		{"list", `POST /axra/list {"limit":50}`},
		{
			"list --search cs_1 --pass p --site https://example.com --status active --from 2026 --to 2027 --limit 9",
			`POST /axra/list {"search":"cs_1","pass":"p","site":"https://example.com","status":"active","from":"2026","to":"2027","limit":9}`,
		},
		{"show cs_1", `POST /axra/show {"purchase":"cs_1"}`},
		{"revoke cs_1 --note why", `POST /axra/revoke {"purchase":"cs_1","note":"why"}`},
		{"restore cs_1", `POST /axra/restore {"purchase":"cs_1"}`},
		{"remove-device cs_1 d", `POST /axra/remove-device {"purchase":"cs_1","device":"d"}`},
		{"give https://example.com/a", `POST /axra/give {"address":"https://example.com/a","devices":1}`},
		{
			"give https://example.com/a --pass p --for 1d --devices 2 --key k --note why",
			`POST /axra/give {"address":"https://example.com/a","pass":"p","key":"k","for":"1d","devices":2,"note":"why"}`,
		},
		{"link cs_1 https://example.com/a --for 1h", `POST /axra/link {"purchase":"cs_1","address":"https://example.com/a","for":"1h"}`},
		{"report --from 2026-01 --to 2026-02", `POST /axra/report {"from":"2026-01","to":"2026-02"}`},
		{"sweep", `POST /axra/sweep {}`},
		{"export -", `POST /axra/export {}`},
		{"backup -", `POST /axra/backup {}`},
		{"keys list", `POST /axra/keys/list {}`},
		{"keys rotate", `POST /axra/keys/rotate {}`},
		{"keys remove k --yes", `POST /axra/keys/remove {"key":"k","yes":true}`},
		{"webhook rejected -", `POST /axra/webhook/rejected {}`},
		{"webhook inspect " + event, `POST /axra/webhook/inspect {"file":"e30="}`},
		{"webhook replay " + event + " --trust", `POST /axra/webhook/replay {"file":"e30=","trust":true}`},
	} {
		c.calls = nil
		_, _, err := c.run(t, strings.Fields(test.command)...)
		if err == nil || err.Error() != "nothing there" {
			t.Errorf("%s ends with %v, want the words of the admin API", test.command, err)
		}
		if !slices.Equal(c.calls, []string{test.call}) {
			t.Errorf("%s calls %v, want %s", test.command, c.calls, test.call)
		}
	}
	_, _, err := c.run(t, "webhook", "replay", event+"-none")
	wantError(t, err, "no such file")
}

const listed = `[{"paid_at":"2026-11-30T12:00:00Z","status":"active","source":"axra","pass":"evil\u001b[2J\tpass","reference":"0123456789","payment_ids":["p1","p2"]},
{"paid_at":"2026-11-29T12:00:00Z","reference":"1123456789","ends_at":"2026-12-30T12:00:00Z"}]`

func TestAListIsATable(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("list", listed)
	out, _, err := c.run(t, "list")
	if err != nil || strings.ContainsRune(out, 0x1b) {
		t.Errorf("%v %q", err, out)
	}
	head, rows, _ := strings.Cut(out, "\n")
	wantParts(t, head, "paid_at ", "ends_at ", "payment_ids")
	wantParts(t, rows, "2026-11-30T12:00:00Z  active  ", "evil?[2J?pass", " 0123456789 ", "p1, p2")
	if first, _, _ := strings.Cut(rows, "\n"); strings.Index(head, "reference") != strings.Index(first, "0123456789") {
		t.Errorf("the columns are not aligned:\n%s", out)
	}
	if out, _, err := c.run(t, "list", "--json"); err != nil || out != listed+"\n" {
		t.Errorf("for programs: %v %q", err, out)
	}
	c.says("list", "[]")
	if out, _, err := c.run(t, "list"); err != nil || out != "none\n" {
		t.Errorf("of nothing: %v %q", err, out)
	}
	c.says("list", "words")
	_, _, err = c.run(t, "list")
	wantError(t, err, "reading the answer")
}

func TestAnAnswerIsShownInItsOrder(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("show", `{"reference":"0123456789","id":"01","status":"refunded","downloads":1,"double_charges":["p1","p2"],"devices":[`+
		`{"id":"d1","added_at":"2026-11-30T12:00:00Z"},{"id":"d2","label":"Firefox","added_at":"2026-11-30T12:00:00Z","claimed":true}],`+
		`"starts_at":"2026-11-30T12:00:00Z","payments":[{"source":"axra","paid_at":"2026-11-30T12:00:00Z","paid":"5.00 USD"}]}`)
	out, _, err := c.run(t, "show", "0123456789")
	const want = `reference: 0123456789
id: 01
status: refunded
starts_at: 2026-11-30T12:00:00Z
downloads: 1
double_charges: p1, p2

devices:
id  label    added_at              removed_at  claimed
d1           2026-11-30T12:00:00Z
d2  Firefox  2026-11-30T12:00:00Z              true

payments:
session  payment_ids  source  mismatch  paid_at               metadata  note  paid      asked
                      axra              2026-11-30T12:00:00Z                  5.00 USD
`
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	if got := strings.Join(lines, "\n") + "\n"; err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	c.says("keys list", `[{"kid":"old","alg":"a"},{"kid":"new","alg":"a","signs":["access tokens"]}]`)
	out, _, err = c.run(t, "keys", "list")
	wantParts(t, out, "kid  alg  ", "new  a                         access tokens")
	if err != nil {
		t.Error(err)
	}
}

func TestTheReportForSpreadsheets(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("report", `{"double_charges":1,"lines":[{"site":"https://example.com","pass":"=cmd()","currency":"USD","sales":2,"sales_amount":10.00,"net":-5.00}]}`)
	out, aside, err := c.run(t, "report", "--csv")
	if err != nil {
		t.Error(err)
	}
	wantParts(t, out, "site,pass,currency,sales,sales_amount,refunds,", "\nhttps://example.com,=cmd(),USD,2,10.00,0,", ",-5.00\n")
	wantParts(t, aside, "double_charges: 1")
}

// A server that dies half-way must not leave half a backup.
func TestAnAnswerThatIsCutOffIsAnError(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	breakOff := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, listed[:100])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	c.answers["backup"], c.answers["export"], c.answers["list"] = breakOff, breakOff, breakOff
	file := filepath.Join(t.TempDir(), "file")
	for _, args := range [][]string{{"backup", file}, {"export", file}, {"export", "-"}, {"list"}, {"list", "--json"}} {
		_, _, err := c.run(t, args...)
		wantError(t, err, "the answer was cut off")
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestADownloadIsANewFile(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("export", "one", "two")
	file := filepath.Join(t.TempDir(), "file")
	out, _, err := c.run(t, "export", file)
	raw, _ := os.ReadFile(file)
	if info, _ := os.Stat(file); err != nil || string(raw) != "one\ntwo\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %s %q", err, info.Mode(), raw)
	}
	wantParts(t, out, "8 bytes written to "+file)
	c.says("backup", "three")
	_, _, err = c.run(t, "backup", file)
	wantError(t, err, file+" exists: remove it, or name another file")
	if again, _ := os.ReadFile(file); string(again) != string(raw) {
		t.Errorf("overwritten: %q", again)
	}
	_, _, err = c.run(t, "backup", filepath.Join(file, "none"))
	wantError(t, err, "open "+filepath.Join(file, "none"))
	if out, _, err := c.run(t, "export", "-"); err != nil || out != "one\ntwo\n" {
		t.Errorf("streamed: %v %q", err, out)
	}
}

func TestArgumentsThatAreMissingAreNamed(t *testing.T) {
	t.Parallel()
	for _, test := range [][]string{
		{"show", "<purchase> is missing: write axra show <purchase>"}, {"link cs_1", "<address> is missing"}, {"backup", "<file> is missing"},
		{"webhook inspect", "<file> is missing"}, {"show cs_1 cs_2", "accepts 1 arg"},
	} {
		_, _, err := execute(t, Plugin{}, strings.Fields(test[0])...)
		wantError(t, err, test[1])
	}
}

func TestAFileIsUploadedAsItIs(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("import", `{"installation":"inst","rows":2}`)
	file := writeFile(t, "rows")
	out, _, err := c.run(t, "import", file)
	if err != nil || out != "installation: inst\nrows: 2\n" || !slices.Equal(c.calls, []string{"POST /axra/import rows"}) {
		t.Errorf("%v %q %v", err, out, c.calls)
	}
	_, _, err = c.run(t, "import", filepath.Join(t.TempDir(), "none"))
	wantError(t, err, "no such file")
}

func TestNothingAnswers(t *testing.T) {
	t.Parallel()
	_, _, err := execute(t, Plugin{}, "list", "--address", "127.0.0.1:1")
	wantError(t, err, "is Caddy running?")
}
