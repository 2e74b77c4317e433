package urlpath

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	for path, want := range map[string][]string{
		"/":                {"/", "/index.html", "/index.txt"},
		"/a":               {"/a/", "/a", "/a/index.html"},
		"/a/":              {"/a/", "/a", "/a/index.html", "/a/index.txt"},
		"//a/./b":          {"/a/b/", "/a/b", "/a/b/index.html"},
		"/a.pdf":           {"/a.pdf/", "/a.pdf"},
		"/a.pdf.GZ":        {"/a.pdf.GZ/", "/a.pdf.GZ", "/a.pdf/", "/a.pdf", "/a.pdf.gz/", "/a.pdf.gz", "/a.pdf/", "/a.pdf"},
		"/a/index.html":    {"/a/index.html/", "/a/index.html", "/a/", "/a", "/a/index/", "/a/index"},
		"/a/index.html.br": {"/a/index.html.br/", "/a/index.html.br", "/a/index.html/", "/a/index.html", "/a/", "/a", "/a/index/", "/a/index"},
		"/a.html":          {"/a.html/", "/a.html", "/a/", "/a"},
		"/a.php/b":         {"/a.php/b/", "/a.php/b", "/a.php/b/index.html", "/a.php", "/a"},
		"/v1.2/b":          {"/v1.2/b/", "/v1.2/b", "/v1.2/b/index.html"},
	} {
		if got := Aliases(path); !slices.Equal(got, want) {
			t.Errorf("Aliases(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	for target, want := range map[string][]string{
		"/a":                 nil,
		"/a?b=/c":            nil,
		"/v1.2/a":            nil,
		"/index.php":         nil,
		"/index.php/a/b":     {"/a/b"},
		"/index.php/":        {"/"},
		"/index.php//a":      {"/a"},
		"/index%2ephp%2fa":   {"/a"},
		"/blog/x/index.rb/a": {"/blog/x/a", "/blog/a", "/a"},
		"/a.php/b.php/c":     {"/b.php/c", "/a.php/c", "/c"},
		"/a.php/free/../b":   {"/b"},
		"/?/a&b":             {"/a"},
		"/?/%61/index.php/b": {"/a/index.php/b", "/a/b", "/b"},
		"/index.php/a?/b":    {"/a", "/b"},
	} {
		address, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Routes(address)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("Routes(%q) = %q, %t, want %q", target, got, ok, want)
		}
	}
	for _, target := range []string{
		strings.Repeat("/a.php", maxScripts+1) + "/b", strings.Repeat("/a", maxScriptDirs+1) + "/x.php/b", "/?/a;b", "/?/a/../b", "/?/a%252fb",
	} {
		address, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := Routes(address); ok {
			t.Errorf("Routes(%q) = %q", target, got)
		}
	}
}

func TestIsRouted(t *testing.T) {
	for target, want := range map[string]bool{
		"/a": false, "/a.php": false, "/a.php/": true, "/a.php/b": true, "/a.PHP7//b": true, "/a.rb/b": false, "/?/a": true, "/?a=/b": false,
	} {
		address, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := IsRouted(address); got != want {
			t.Errorf("IsRouted(%q) = %t", target, got)
		}
	}
}
