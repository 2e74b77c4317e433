package main

import (
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/page"
)

func TestEveryPageInEveryLanguage(t *testing.T) {
	mux := routes()
	for _, lang := range page.Languages() {
		list := httptest.NewRecorder()
		mux.ServeHTTP(list, httptest.NewRequest("GET", "/?lang="+lang, nil))
		links := regexp.MustCompile(`href="(/page/[^"]+)" data-kind="(\w+)"`).FindAllStringSubmatch(list.Body.String(), -1)
		shown := map[string]bool{}
		for _, link := range links {
			shown[link[2]] = true
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", link[1], nil))
			opening := `<html lang="` + lang + `" dir="` + direction(lang) + `">`
			if !strings.Contains(w.Body.String(), opening) {
				t.Errorf("%s answers %d without %s", link[1], w.Code, opening)
			}
			if size := w.Body.Len(); size >= 15<<10 {
				t.Errorf("%s: %d bytes", link[1], size)
			}
		}
		source, err := os.ReadFile("../../page/page.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range regexp.MustCompile(`(?m)^\t\w+ +Kind = "(\w+)"`).FindAllSubmatch(source, -1) {
			if !shown[string(kind[1])] {
				t.Errorf("%s: %s is not shown", lang, kind[1])
			}
		}
	}
}
