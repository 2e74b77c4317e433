package sitetest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pagetest"
)

// Reply is an answer with its body read.
type Reply struct {
	Status int
	Header http.Header
	Body   string
	URL    *url.URL
}

// Location is where a redirect leads.
func (r Reply) Location() string { return r.Header.Get("Location") }

// Next is the location as an absolute address.
func (r Reply) Next() string {
	if next, err := r.URL.Parse(r.Location()); err == nil {
		return next.String()
	}
	return r.Location()
}

// Link returns where the link labelled so leads; empty if there is none.
func (r Reply) Link(t testing.TB, label string) string {
	t.Helper()
	return pagetest.Link(t, r.Body, label)
}

// WantPaid expects a paid page.
func (r Reply) WantPaid(t testing.TB) {
	t.Helper()
	if r.Status != http.StatusOK || !strings.Contains(r.Body, Marker) {
		t.Fatalf("want the paid page, got %d at %s\n%s", r.Status, r.URL, r.Body)
	}
}

// WantCheckout expects a redirect to a checkout of the sandbox, which no cache keeps.
func (r Reply) WantCheckout(t testing.TB, w *World) {
	t.Helper()
	if r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Location(), w.Axra.URL+"/checkout/") {
		t.Fatalf("want a redirect to a checkout, got %d to %q\n%s", r.Status, r.Location(), r.Body)
	}
	if !strings.Contains(r.Header.Get("Cache-Control"), "no-store") {
		t.Fatalf("H2: a redirect to a checkout says Cache-Control %q", r.Header.Get("Cache-Control"))
	}
}

// WantPage expects a page of the gate that holds a phrase, no paid byte, and that no cache keeps.
func (r Reply) WantPage(t testing.TB, status int, phrase string) {
	t.Helper()
	if r.Status != status || !strings.Contains(r.Body, phrase) {
		t.Fatalf("want %d with %q, got %d (to %q)\n%s", status, phrase, r.Status, r.Location(), r.Body)
	}
	if !strings.Contains(r.Header.Get("Cache-Control"), "no-store") {
		t.Fatalf("H2: a page says Cache-Control %q", r.Header.Get("Cache-Control"))
	}
	if strings.Contains(r.Body, Marker) {
		t.Fatal("paid bytes on an unpaid page")
	}
}

// WantBody expects what an application answers.
func (r Reply) WantBody(t *testing.T, body string) {
	t.Helper()
	if r.Status != http.StatusOK || r.Body != body {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
}
