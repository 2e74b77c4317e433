package urlpath

import (
	"net/url"
	"strings"
	"testing"
)

func TestCleanAddress(t *testing.T) {
	for address, want := range map[string]string{
		"/a": "/a", "/a?": "/a?", "/a?b=1": "/a?b=1", `/a?axra_link=x"y&b`: "/a?b", "https://a/?axra_link=x#y": "https://a/#y",
		"/?&axra_link=x": "/?", "/?axra=x": "/?axra=x", "/?axra_unknown": "/", "/?axra_session=x&b=%20&axra_try=1": "/?b=%20",
	} {
		if got := CleanAddress(address); got != want {
			t.Errorf("%q became %q, want %q", address, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	const inBase64 = "YT0lMjB4JmI" // a=%20x&b
	for address, want := range map[string]struct{ target, original, full, page string }{
		"/a":                                {"/a", "/a", "/a", "/a"},
		"/a/index.html?x=1":                 {"/a/index.html?x=1", "/a/index.html?x=1", "/a/index.html?x=1", "/a?x=1"},
		"/%61%2fb/?":                        {"/%61%2fb/?", "/%61%2fb/?", "/%61%2fb/?", "/a/b?"},
		"/a?axra_session=cs_1":              {"/a", "/a", "/a?axra_session=cs_1", "/a"},
		"/a?b c#":                           {"/a?b%20c%23", "/a?b%20c%23", "/a?b c#", "/a?b%20c%23"},
		"/a?a=+x&b&axra_query=" + inBase64:  {"/a?a=+x&b", "/a?a=%20x&b", "/a?a=+x&b&axra_query=" + inBase64, "/a?a=+x&b"},
		"/a?a=other&axra_query=" + inBase64: {"/a?a=other", "/a?a=other", "/a?a=other&axra_query=" + inBase64, "/a?a=other"},
	} {
		parsed, err := url.ParseRequestURI(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := Target(parsed); got != want.target {
			t.Errorf("Target(%q) = %q, want %q", address, got, want.target)
		}
		if got := OriginalTarget(parsed); got != want.original {
			t.Errorf("OriginalTarget(%q) = %q, want %q", address, got, want.original)
		}
		if got := FullTarget(parsed); got != want.full {
			t.Errorf("FullTarget(%q) = %q, want %q", address, got, want.full)
		}
		if got := PageTarget(want.target); got != want.page {
			t.Errorf("PageTarget(%q) = %q, want %q", want.target, got, want.page)
		}
	}
}

// A long value is known to be there, and is not decoded.
func TestParams(t *testing.T) {
	got := Params("a=1&axra_session=cs%201&axra_try=%zz&axra_link=" + strings.Repeat("x", 2*MaxTarget+1) + "&other=1&axra_restart")
	for name, want := range map[string]string{ParamSession: "cs 1", ParamTry: "", ParamLink: "", ParamRestart: ""} {
		if !got.Has(name) || got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 4 {
		t.Errorf("read %v", got)
	}
}

// FuzzReturnURL: whatever is asked for, the way back leads to this site (R1),
// and brings the page's path and query back byte for byte.
func FuzzReturnURL(f *testing.F) {
	for _, seed := range []string{
		"/premium/article.html?a=1&b=%20x", "//evil.example/x", `/\evil.example`, "/?axra_session=x", "/a?axra_query=L2V2aWw", "/a?axra_query=%zz&x",
		"/?{SESSION_ID}", "/a?", "/%2f%2fevil", "/a;b?c=d&&=", "/\tevil", "/a?q=\x80\xff", "/../..//evil?axra_try=1&axra_here=1",
	} {
		f.Add(seed)
	}
	for _, seed := range []string{
		"/a?axra_query=YXhyYV9zZXNzaW9uPXg", "/a?x#y", "/a?b c", "/a?axra_query=YiM&axra_link=x&c", "/a?axra_device_id=1&axra_program=1;x",
	} {
		f.Add(seed)
	}
	f.Add("/a?" + strings.Repeat("{", MaxTarget-3))
	f.Add("/?b=?axra_query=Y}")
	const origin = "https://example.com"
	f.Fuzz(func(t *testing.T, raw string) {
		address, err := url.ParseRequestURI(raw)
		if err != nil || address.Host != "" || !strings.HasPrefix(address.Path, "/") {
			return
		}
		target := OriginalTarget(address)
		if query, _ := CleanQuery(address.RawQuery); len(Params(query)) > 0 {
			t.Fatalf("%q: the handlers behind see %q", raw, query)
		}
		if name := PageTarget(target); name != PageTarget(EscapeTarget(target)) {
			t.Fatalf("%q: a private address of %q is one of %q", raw, name, PageTarget(EscapeTarget(target)))
		}
		for _, way := range []string{target, WithParams(target, ParamRestart, "1")} {
			if !strings.HasPrefix(way, "/") || strings.HasPrefix(way, "//") || strings.HasPrefix(way, `/\`) || strings.ContainsAny(way, "\r\n\t") {
				t.Fatalf("%q leads to %q", raw, way)
			}
		}
		back := ReturnURL(origin, target, ParamSession, "cs_1")
		if !strings.HasPrefix(back, origin+"/") {
			t.Fatalf("%q: success URL %q", raw, back)
		}
		parsed, err := url.Parse(back)
		if err != nil {
			t.Fatalf("%q: success URL %q: %v", raw, back, err)
		}
		if parsed.Host != "example.com" || Params(parsed.RawQuery).Get(ParamSession) != "cs_1" {
			t.Fatalf("%q: success URL %q", raw, back)
		}
		if got := OriginalTarget(parsed); got != target && len(target) <= MaxTarget {
			t.Fatalf("%q goes as %q and comes back as %q", raw, target, got)
		}
	})
}
