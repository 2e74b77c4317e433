package preflight_test

import (
	"slices"
	"strings"
	"testing"
)

// The check has no false alarm on ordinary configurations.
func TestCheckKeepsQuietAboutOrdinarySites(t *testing.T) {
	own := "axra_paywall @html {\n price 5.00 usd\n pass pages\n }\n"
	for name, config := range map[string]string{
		"FE1": site(hook + gate + "root ROOT\n try_files {path} /index.html\n file_server"),
		"FE2": site(hook + "@html path *.html\n" + own + "root ROOT\n file_server"),
		"FE3": setup + "example.com, www.example.com {\n@www host www.example.com\n redir @www https://example.com{uri}\n" +
			hook + gate + "root ROOT\n file_server\n}\n",
		"handle_path": site(hook + "handle_path /shop/* {\n" + strings.Replace(gate, "/premium/*", "/shop/premium/*", 1) +
			"root ROOT\n file_server\n }"),
		"a log of a free site": good + "blog.example.org {\n log {\n output stdout\n }\n respond hello\n}\n",
		"a proxy":              site(hook + gate + "encode gzip\n reverse_proxy localhost:9"),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.write("style.css", "free")
			if read := d.check(config); len(read.bad()) > 0 || read.err != nil {
				t.Errorf("%v: %+v", read.err, read.bad())
			}
		})
	}
}

// FE4: a gate on a page, where a section is meant.
func TestFE4CheckFindsAPageInPlaceOfASection(t *testing.T) {
	for _, page := range []string{"/premium/", "/premium/index.html", "/premium"} {
		read := newDesk(t).check(strings.Replace(good, "/premium/*", page, 1))
		if found, ok := read.find("files", "below it is free: example.com/premium/article"); !ok || found.Level != "warning" ||
			!strings.Contains(found.Fix, "`/premium/*`") {
			t.Errorf("%s: %+v", page, read.Findings)
		}
	}
}

// FE5: a gate that never runs.
func TestFE5CheckFindsAGateThatNeverRuns(t *testing.T) {
	last := strings.Replace(good, "{\n", "{\n order axra_paywall after file_server\n", 1)
	for _, config := range []string{last, site(hook + "root ROOT\n route {\n file_server\n" + gate + "}")} {
		read := newDesk(t).check(config)
		isError := func(f remark) bool { return f.Check == "order" && f.Level == "error" }
		if !slices.ContainsFunc(read.Findings, isError) {
			t.Errorf("%+v", read.Findings)
		}
	}
}

// FE6: what a generator of sites writes beside the pages may hold their text.
func TestFE6CheckNamesFeedsBesideTheGate(t *testing.T) {
	d := newDesk(t)
	d.write("index.xml", "feed")
	d.write("premium/index.xml", "behind the gate")
	d.write("search_index.json", "words")
	read := d.check(good)
	found, ok := read.find("files", "hold paid text")
	if !ok || found.Level != "unchecked" || !strings.HasSuffix(found.Message, ": example.com/index.xml, example.com/search_index.json") {
		t.Errorf("%+v", read.Findings)
	}
	if read := newDesk(t).check(good); len(read.bad()) > 0 {
		t.Errorf("%+v", read.bad())
	} else if _, ok := read.find("files", "hold paid text"); ok {
		t.Error("a site without feeds has some")
	}
}
