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
	for _, test := range []struct{ command, call string }{
		{"list", `POST /axra/list {"limit":50}`},
		{
			"list --search cs_1 --pass p --site https://example.com --status active --from 2026 --to 2027 --limit 0",
			`POST /axra/list {"search":"cs_1","pass":"p","site":"https://example.com","status":"active","from":"2026","to":"2027"}`,
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
		{"link cs_1 https://example.com/a --direct --for 1h", `POST /axra/link {"purchase":"cs_1","address":"https://example.com/a","direct":true,"for":"1h"}`},
		{"report --from 2026-01 --to 2026-02", `POST /axra/report {"from":"2026-01","to":"2026-02"}`},
		{"sweep", `POST /axra/sweep {}`},
		{"export -", `POST /axra/export null`},
		{"backup -", `POST /axra/backup null`},
		{"keys list", `POST /axra/keys/list {}`},
		{"keys rotate", `POST /axra/keys/rotate {}`},
		{"keys remove k --yes", `POST /axra/keys/remove {"key":"k"}`},
		{"webhook rejected", `POST /axra/webhook/rejected null`},
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
	c.calls = nil
	_, _, err := c.run(t, "keys", "remove", "k")
	wantError(t, err, "add --yes")
	if len(c.calls) > 0 {
		t.Errorf("an operator who is not sure calls %v", c.calls)
	}
}

const listedLine = `{"reference":"0123456789","id":"0123456789abcdef","status":"active","pass":"evil\u001b[2J\tpass","paid_at":"2026-11-30T12:00:00Z","payment_ids":["p1","p2"]}`

func TestAListIsATable(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("list", listedLine, `{"reference":"1123456789","ends_at":"2026-12-30T12:00:00Z"}`)
	out, aside, err := c.run(t, "list", "--limit", "2")
	if err != nil || strings.ContainsRune(out, 0x1b) || strings.Contains(out, "0123456789abcdef") {
		t.Errorf("%v %q", err, out)
	}
	head, rows, _ := strings.Cut(out, "\n")
	wantParts(t, head, "paid_at ", "ends_at ", "payment_ids")
	wantParts(t, rows, "2026-11-30T12:00:00Z  active  ", "evil?[2J?pass", " 0123456789 ", "p1, p2")
	if first, _, _ := strings.Cut(rows, "\n"); strings.Index(head, "reference") != strings.Index(first, "0123456789") {
		t.Errorf("the columns are not aligned:\n%s", out)
	}
	wantParts(t, aside, "there may be more")
	if out, aside, err := c.run(t, "list", "--json"); err != nil || strings.Count(out, "\n") != 2 || !strings.HasPrefix(out, listedLine) || aside != "" {
		t.Errorf("for programs: %v %q %q", err, out, aside)
	}
	c.says("list")
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
	c.says("show", `{"reference":"0123456789","status":"refunded","devices":[{"id":"d1"},{"id":"d2","label":"Firefox"}],`+
		`"downloads":1,"claims":{"gift":"d2"},"double_charges":["p1","p2"],"events":[],"ends_at":null}`)
	out, _, err := c.run(t, "show", "0123456789")
	const want = `reference: 0123456789
status: refunded
downloads: 1
claims: gift d2
double_charges: p1, p2
events: none
ends_at: none

devices:
id  label
d1
d2  Firefox
`
	if lines := strings.ReplaceAll(out, "d1  \n", "d1\n"); err != nil || lines != want {
		t.Errorf("%v\n%s", err, out)
	}
	c.says("keys list", `[{"kid":"old","signs_access":false},{"kid":"new","signs_access":true}]`)
	out, _, err = c.run(t, "keys", "list")
	if want := "kid  signs_access\nold  false\nnew  true\n"; err != nil || out != want {
		t.Errorf("%v %q", err, out)
	}
}

func TestTheReportForSpreadsheets(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("report", `{"double_charges":1,"lines":[{"site":"https://example.com","pass":"=cmd()","sales_amount":10.00,"net":-5.00}]}`)
	out, aside, err := c.run(t, "report", "--csv")
	if want := "site,pass,sales_amount,net\nhttps://example.com,'=cmd(),10.00,-5.00\n"; err != nil || out != want {
		t.Errorf("%v %s", err, out)
	}
	wantParts(t, aside, "double_charges: 1")
}

// A server that dies half-way must not leave half a backup, nor take the place of an older one.
func TestAnAnswerThatIsCutOffIsAnError(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	breakOff := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(listedLine+"\n", 100))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	c.answers["backup"], c.answers["export"], c.answers["list"] = breakOff, breakOff, breakOff
	file := writeFile(t, "an older one")
	for _, args := range [][]string{{"backup", file}, {"export", file}, {"export", "-"}, {"list"}, {"list", "--json"}} {
		_, _, err := c.run(t, args...)
		wantError(t, err, "the answer was cut off")
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "an older one" {
		t.Errorf("%q, %v", raw, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestADownloadIsPutInPlace(t *testing.T) {
	t.Parallel()
	c := newCaddy(t)
	c.says("export", "one", "two")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("an older one"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, aside, err := c.run(t, "export", file)
	raw, _ := os.ReadFile(file)
	if info, _ := os.Stat(file); err != nil || string(raw) != "one\ntwo\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %s %q", err, info.Mode(), raw)
	}
	wantParts(t, out, "8 B written to "+file)
	wantParts(t, aside, "holds the signing keys")
	out, _, err = c.run(t, "export", file, "--json")
	if err != nil {
		t.Error(err)
	}
	wantParts(t, out, `"bytes": 8`)
	if out, _, err := c.run(t, "export", "-"); err != nil || out != "one\ntwo\n" {
		t.Errorf("streamed: %v %q", err, out)
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
	if err := os.WriteFile(file+"-wal", []byte("more"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.run(t, "restore-backup", file)
	wantError(t, err, "belongs to it")
	_, _, err = c.run(t, "import", filepath.Join(t.TempDir(), "none"))
	wantError(t, err, "no such file")
}

func TestNothingAnswers(t *testing.T) {
	t.Parallel()
	_, _, err := execute(t, Plugin{}, "list", "--address", "127.0.0.1:1")
	wantError(t, err, "is Caddy running?")
}
