package urlpath

import (
	"net/url"
	"slices"
	"testing"
)

func TestCanonicalPaths(t *testing.T) {
	for path, want := range map[string]struct{ clean, page, file, canonical string }{
		"":                              {"/", "/", "/", "/"},
		"/":                             {"/", "/", "/", "/"},
		"a":                             {"/a", "/a", "/a", "/a"},
		"//a//b/":                       {"/a/b/", "/a/b", "/a/b/", "/a/b"},
		"/a/./x/../b":                   {"/a/b", "/a/b", "/a/b", "/a/b"},
		"/../../a":                      {"/a", "/a", "/a", "/a"},
		"/a/index.html":                 {"/a/index.html", "/a", "/a/index.html", "/a"},
		"/index.html":                   {"/index.html", "/", "/", "/"},
		"/index.php":                    {"/index.php", "/index.php", "/", "/"},
		"/a/index.php":                  {"/a/index.php", "/a/index.php", "/a/index.php", "/a/index.php"},
		"/a.txt/":                       {"/a.txt/", "/a.txt", "/a.txt", "/a.txt"},
		"/a.txt/index.html":             {"/a.txt/index.html", "/a.txt", "/a.txt", "/a.txt"},
		"/a.txt/INDEX.HTM/default.asp/": {"/a.txt/INDEX.HTM/default.asp/", "/a.txt/INDEX.HTM/default.asp", "/a.txt", "/a.txt"},
		"/a.txt//index.html/":           {"/a.txt/index.html/", "/a.txt/index.html", "/a.txt", "/a.txt"},
		"/A%2f":                         {"/A%2f", "/A%2f", "/A%2f", "/A%2f"},
	} {
		for name, got := range map[string][2]string{
			"Clean": {Clean(path), want.clean}, "Page": {Page(path), want.page}, "File": {File(path), want.file}, "canonical": {Page(File(path)), want.canonical},
		} {
			if got[0] != got[1] {
				t.Errorf("%s(%q) = %q, want %q", name, path, got[0], got[1])
			}
		}
	}
}

func TestLocal(t *testing.T) {
	for target, want := range map[string]string{
		"/a?b": "/a?b", "a": "/a", "": "/", "//evil.example/a": "/evil.example/a", `/\evil.example`: "/evil.example", "/\t/evil.example": "/evil.example",
		"/a\r\nb": "/ab", "/a?q=\x80\xff": "/a?q=\x80\xff", "https://evil.example/": "/https://evil.example/",
	} {
		if got := Local(target); got != want {
			t.Errorf("Local(%q) = %q, want %q", target, got, want)
		}
	}
}

func TestCookiePaths(t *testing.T) {
	for target, want := range map[string][]string{
		"/":             {"/"},
		"/a/index.html": {"/a"},
		"/a/":           {"/a"},
		"/na%c3%afve":   {"/na%c3%afve", "/na%C3%AFve"},
		"/a%27b":        {"/a%27b", "/a'b"},
		"/a%7Eb%20[1]":  {"/a%7Eb%20[1]", "/a~b%20%5B1%5D", "/a~b%20[1]"},
	} {
		address, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := CookiePaths(address); !slices.Equal(got, want) {
			t.Errorf("CookiePaths(%q) = %q, want %q", target, got, want)
		}
	}
}
