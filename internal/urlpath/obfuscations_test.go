package urlpath

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestObfuscations(t *testing.T) {
	for path, want := range map[string]string{
		"/paid;v=1/a": "/paid/a", "/x/..;/paid": "/paid", `/paid\a`: "/paid/a", "/paid%2fa": "/paid/a", "/%252570aid": "/paid", "/paid%u002fa": "/paid/a",
		"/paid\xc0\xafa": "/paid/a", "/\xe0\x81\xb0aid": "/paid", "/\xf0\x80\x81\xb0aid": "/paid", "/ｐａｉｄ": "/paid", "/paid∕a": "/paid/a", "/paid./a": "/paid/a",
		"/paid /a": "/paid/a", "/paid::$DATA": "/paid", "/paid\x00.html": "/paid", "/pa\u200bid": "/paid", "/paid#a": "/paid", "/paid?a": "/paid", "/a/../b": "/a/_/b",
	} {
		forms, ok := Obfuscations([]string{path})
		if !ok || !slices.Contains(forms, want) {
			t.Errorf("Obfuscations(%q) = %q, %t, want %q among them", path, forms, ok, want)
		}
		for _, form := range forms {
			if unescape(form) != form {
				t.Errorf("Obfuscations(%q): %q is not decoded", path, form)
			}
		}
	}
	for _, path := range []string{"/" + strings.Repeat("a", maxDecoded), "/%" + strings.Repeat("25", 200) + "70"} {
		if forms, ok := Obfuscations([]string{path}); ok {
			t.Errorf("Obfuscations(%.20q…) finds %d", path, len(forms))
		}
	}
}

func TestSuspicious(t *testing.T) {
	for target, want := range map[string][]string{
		"/a/b-c_d~e.html": nil, "/a%2Fb": {"/a%2Fb", "/a%2Fb"}, "/a%20b": {"/a b", "/a%20b"}, "/a//b": {"/a//b", "/a//b"}, "/a/.": {"/a/.", "/a/."}, "/a.": {"/a.", "/a."},
		"/a/.b/c..d": nil, "/A_~": nil, "/a./b": {"/a./b", "/a./b"}, "/a:b": {"/a:b", "/a:b"},
	} {
		address, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := Suspicious(address); !slices.Equal(got, want) {
			t.Errorf("Suspicious(%q) = %q, want %q", target, got, want)
		}
	}
}

func TestOverrides(t *testing.T) {
	original, current := &url.URL{Path: "/free a"}, &url.URL{Path: "/rewritten"}
	for value, want := range map[string][]string{
		"/": {"/"}, "": nil, "/free a": nil, "/free%20a?x=/paid": nil, "/rewritten": nil, "https://example.com/free%20a": nil, "https://example.com": nil,
		"/paid?x": {"/paid"}, "paid": {"/paid"}, "//paid": {"//paid"}, "https://example.com//paid": {"/paid"}, "/a://b/c": {"/a://b/c"},
	} {
		got := Overrides(http.Header{"X-Original-Url": {value}}, original, current)
		if !slices.Equal(got, want) {
			t.Errorf("Overrides(%q) = %q, want %q", value, got, want)
		}
	}
	if got := Overrides(http.Header{"X-Forwarded-Host": {"/paid"}}, original, current); got != nil {
		t.Errorf("X-Forwarded-Host names %q", got)
	}
}
