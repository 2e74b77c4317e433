package preflight_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/ledger"
)

func TestCheckFindsOpenFiles(t *testing.T) {
	handled := func(inside string) string {
		return site(hook + "root ROOT\n @inside path " + inside + "\n handle @inside {\n axra_paywall {\n price 5.00 usd\n }\n file_server\n }\n handle {\n file_server\n }")
	}
	named := strings.Replace(gate, "price", "pass one\n price", 1)
	run(t, []faultCase{
		{"a compressed copy", func(d *desk) { d.write("premium/article.html.br", "compressed") },
			handled("*.html"), good, "error", "files", "example.com/premium/article.html.br is example.com/premium/article.html", "cover these addresses too"},
		{"an index by its name", nil, handled("/premium/"), handled("/premium/*"),
			"error", "files", "free by other addresses: example.com/premium/index.html is example.com/premium/", "cover these addresses too"},
		{"a folder without its slash", nil,
			strings.ReplaceAll(handled("/premium/*"), "file_server\n", "file_server {\n disable_canonical_uris\n }\n"),
			strings.ReplaceAll(handled("/premium*"), "file_server\n", "file_server {\n disable_canonical_uris\n }\n"),
			"error", "files", "addresses: example.com/premium is example.com/premium/", "cover these addresses too"},
		{"another route", nil,
			site(hook + "root ROOT\n handle_path /mirror/* {\n file_server\n }\n handle {\n" + gate + "file_server\n }"),
			site(hook + "root ROOT\n handle_path /mirror/* {\n" + named + "file_server\n }\n handle {\n" + named + "file_server\n }"),
			"error", "files", "example.com/mirror/premium/article.html is ", ""},
		{"a symbolic link", func(d *desk) { mustDo(d.t, os.Symlink("premium/article.html", filepath.Join(d.root, "free.html"))) },
			good, site(hook + gate + "root ROOT\n file_server {\n hide free.html\n }"),
			"error", "files", "example.com/free.html is ", "no link"},
		{"a link to the folder", func(d *desk) { mustDo(d.t, os.Symlink("premium", filepath.Join(d.root, "old"))) },
			good, "", "error", "files", "example.com/old/ is ", "no link"},
		{"another site", nil, good + "staging.example.com {\n root ROOT\n file_server\n}\n",
			good + "staging.example.com {\n basic_auth {\n bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n }\n root ROOT\n file_server\n}\n",
			"error", "files", "staging.example.com/premium/ is ", ""},
		{"a list of names", func(d *desk) { d.write("books/one.pdf", marker) }, site(hook + "root ROOT\n @paid path /books/*.pdf\n axra_paywall @paid {\n price 5.00 usd\n pass books\n }\n file_server browse"),
			site(hook + "root ROOT\n @paid path /books/*\n axra_paywall @paid {\n price 5.00 usd\n pass books\n }\n file_server browse"),
			"warning", "files", "everyone can list the names of paid files: example.com/books/", "remove `browse`"},
		{"a page in place of a section", func(d *desk) { d.write("premium/second.html", marker) }, strings.Replace(good, "/premium/*", "/premium", 1), good,
			"warning", "files", "it covers /premium only; below it is free: example.com/premium/article.html", "write `/premium/*`"},
		{"a page in place of a section, in its handle", func(d *desk) { d.write("issues/one.html", marker) }, handled("/issues"), handled("/issues/*"),
			"warning", "files", "it covers /issues only; below it is free: example.com/issues/one.html", "write `/issues/*`"},
		{"a gate before nothing", nil, strings.Replace(good, "/premium/*", "/premum/*", 1), good, "warning", "files", "no file is behind it", "correct the path"},
		{"no folder", nil, strings.Replace(good, "root ROOT", "root ROOT/none", 1), good, "warning", "files", "cannot be read", "correct `root`"},
	})
}

// ledgerFile is where the desk's ledger is.
func (d *desk) ledgerFile() string { return filepath.Join(d.storage, "caddy", "axra", "ledger.db") }

// makeLedger makes a ledger as Caddy does when it starts.
func (d *desk) makeLedger() {
	d.t.Helper()
	made := ledger.New(ledger.Options{Path: d.ledgerFile()})
	_, err := made.Open(d.t.Context())
	mustDo(d.t, err)
	mustDo(d.t, made.Close())
}

func TestCheckMakesNoLedger(t *testing.T) {
	d := newDesk(t)
	read := d.check(good)
	if found, ok := read.find("ledger", "new: Caddy creates it"); !ok || found.Level != "ok" || len(read.bad()) > 0 {
		t.Errorf("%+v", read.Findings)
	}
	left, err := os.ReadDir(d.storage)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestCheckLeavesALedgerAsItIs(t *testing.T) {
	d := newDesk(t)
	d.makeLedger()
	before, err := os.ReadFile(d.ledgerFile())
	mustDo(t, err)
	read := d.check(good)
	if found, ok := read.find("ledger", "can be read and written"); !ok || found.Level != "ok" || len(read.bad()) > 0 {
		t.Errorf("%+v", read.Findings)
	}
	after, err := os.ReadFile(d.ledgerFile())
	mustDo(t, err)
	if left, _ := os.ReadDir(filepath.Dir(d.ledgerFile())); !bytes.Equal(before, after) || len(left) != 1 {
		t.Errorf("it was changed, or left are %v", left)
	}
}

func TestCheckFindsFaultsOfTheLedger(t *testing.T) {
	const anyone = "is checked for other users than root"
	elsewhere := func(path string) string { return strings.Replace(good, "axra {", "axra {\n database sqlite "+path, 1) }
	cases := []faultCase{
		{"readable by everybody", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chmod(d.ledgerFile(), 0o644)) //nolint:gosec // that is the fault
		}, good, "", "warning", "ledger", "holds the signing keys", "chmod 600"},
		{"a directory that others may write", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chmod(filepath.Dir(d.ledgerFile()), 0o777)) //nolint:gosec // that is the fault
		}, good, "", "warning", "ledger", "may replace files in ", "chmod go-w"},
		{"a directory in its place", nil, elsewhere("STORAGE"), elsewhere("STORAGE/ledger.db"), "error", "ledger", "is not a file", "absolute path on a local disk"},
		{"a file in place of a directory", func(d *desk) { d.write("../file", "") }, elsewhere("ROOT/../file/ledger.db"), "", "error", "ledger", "is not a directory", ""},
		{"a relative path", nil, elsewhere("ledger.db"), elsewhere("STORAGE/ledger.db"), "error", "configuration", "needs an absolute path", inMessage},
		{"another database", nil, strings.Replace(good, "axra {", "axra {\n database mysql", 1), good, "error", "configuration", "database takes a driver and an address", inMessage},
	}
	if os.Geteuid() == 0 {
		cases = append(cases, faultCase{"a root shell has made it", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chown(filepath.Dir(d.ledgerFile()), 1234, -1))
		}, good, "", "error", "ledger", "was it created by a root shell?", "chown"})
		t.Log("a directory without rights " + anyone)
	} else {
		cases = append(cases, faultCase{"a directory without rights", func(d *desk) {
			d.makeLedger()
			mustDo(d.t, os.Chmod(d.ledgerFile(), 0o400)) //nolint:gosec // that is the fault
		}, good, "", "error", "ledger", "may not read and write it", "chown"})
	}
	run(t, cases)
}
