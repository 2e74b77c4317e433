package checkout_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/pagetest"
)

// visitor is a person with a browser, or a program.
type visitor struct {
	s   *shop
	jar *cookiejar.Jar // nil for a program
}

func (s *shop) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{s: s, jar: jar}
}

// program keeps no cookies.
func (s *shop) program() *visitor { return &visitor{s: s} }

var navigation = http.Header{
	"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	"Sec-Fetch-Mode": {"navigate"},
	"Sec-Fetch-Dest": {"document"},
	"User-Agent":     {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
}

// but returns a copy of a header with fields set, or removed where the value is empty.
func but(header http.Header, pairs ...string) http.Header {
	changed := header.Clone()
	for i := 0; i < len(pairs); i += 2 {
		changed.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			changed.Del(pairs[i])
		}
	}
	return changed
}

// reply is an answer.
type reply struct {
	t      testing.TB
	target string // that was asked for
	status int
	header http.Header
	body   string
}

func (r reply) location() string { return r.header.Get("Location") }

// do sends a request. Redirects are not followed.
func (v *visitor) do(method, target string, header http.Header) reply {
	v.s.t.Helper()
	target = strings.TrimPrefix(target, origin)
	r := httptest.NewRequest(method, target, nil).WithContext(v.s.t.Context())
	r.Host, r.TLS = strings.TrimPrefix(origin, "https://"), new(tls.ConnectionState)
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	address := &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.EscapedPath()} // browsers compare paths as they are sent
	if v.jar != nil {
		for _, cookie := range v.jar.Cookies(address) {
			r.AddCookie(cookie)
		}
	}
	w := httptest.NewRecorder()
	v.s.ServeHTTP(w, r)
	answer := w.Result()
	if v.jar != nil {
		v.jar.SetCookies(address, answer.Cookies())
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.s.t.Fatal(err)
	}
	return reply{v.s.t, target, answer.StatusCode, answer.Header, string(body)}
}

func (v *visitor) get(target string) reply { return v.do(http.MethodGet, target, nil) }

// open navigates to a page without following redirects.
func (v *visitor) open(target string) reply { return v.do(http.MethodGet, target, navigation) }

// browse navigates to a page and follows redirects within the site.
func (v *visitor) browse(target string) reply {
	v.s.t.Helper()
	for range 10 {
		answer := v.open(target)
		if !strings.HasPrefix(answer.location(), "/") {
			return answer
		}
		target = answer.location()
	}
	v.s.t.Fatalf("too many redirects, the last to %s", target)
	return reply{}
}

// submit sends the form whose button is labelled so, with the header of a browser.
func (v *visitor) submit(page reply, button string, header http.Header) reply {
	v.s.t.Helper()
	action, _ := pagetest.Form(v.s.t, page.body, button)
	return v.do(http.MethodPost, action, but(header, "Sec-Fetch-Site", "same-origin"))
}

// start opens a page until the checkout, and returns the session's id.
func (v *visitor) start(target string) (sessionID string) {
	v.s.t.Helper()
	return v.browse(target).wantCheckout()
}

// buy goes the whole way for a page, and returns what the visitor sees in the end.
func (v *visitor) buy(target string) reply {
	v.s.t.Helper()
	return v.browse(v.s.pay(v.start(target)))
}

// buyer is a visitor who has bought the article, and the session of the checkout.
func (s *shop) buyer() (v *visitor, sessionID string) {
	s.t.Helper()
	v = s.visitor()
	sessionID = v.start(article)
	v.browse(s.pay(sessionID)).wantPaid()
	return v, sessionID
}

// poll asks as the waiting page's script does.
func (v *visitor) poll(back string) (state string) {
	v.s.t.Helper()
	var answer struct{ State string }
	v.do(http.MethodGet, back, http.Header{"Accept": {"application/json"}}).decode(&answer)
	return answer.State
}

// bearer is the header of a program with the access token that this browser has for a page.
func (v *visitor) bearer(target string) http.Header {
	v.s.t.Helper()
	return http.Header{"Authorization": {"Bearer " + v.cookie(target, "axra_t_").Value}}
}

// cookie is the browser's cookie for a page whose name holds the mark.
func (v *visitor) cookie(target, mark string) *http.Cookie {
	v.s.t.Helper()
	address, err := url.Parse(origin + target)
	if err != nil {
		v.s.t.Fatal(err)
	}
	for _, cookie := range v.jar.Cookies(address) {
		if strings.Contains(cookie.Name, mark) {
			return cookie
		}
	}
	v.s.t.Fatalf("no cookie %s", mark)
	return nil
}

// Expectations.

func (r reply) wantPaid() {
	r.t.Helper()
	if r.status != http.StatusOK || !strings.Contains(r.body, marker) {
		r.t.Fatalf("%s: want the paid page, got %d to %q\n%s", r.target, r.status, r.location(), plain(r))
	}
}

// wantCheckout returns the id of the checkout session.
func (r reply) wantCheckout() (sessionID string) {
	r.t.Helper()
	id, found := strings.CutPrefix(r.location(), checkouts)
	if r.status != http.StatusSeeOther || !found {
		r.t.Fatalf("%s: want a redirect to a checkout, got %d to %q\n%s", r.target, r.status, r.location(), plain(r))
	}
	if got := r.header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		r.t.Fatalf("H2: a redirect to a checkout says Cache-Control %q", got)
	}
	return id
}

func (r reply) wantPage(status int, phrase string) {
	r.t.Helper()
	if r.status != status || !strings.Contains(r.body, phrase) {
		r.t.Fatalf("%s: want %d with %q, got %d to %q\n%s", r.target, status, phrase, r.status, r.location(), plain(r))
	}
	if got := r.header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		r.t.Fatalf("H2: a page says Cache-Control %q", got)
	}
	if strings.Contains(r.body, marker) {
		r.t.Fatal("paid bytes on an unpaid page")
	}
}

func (r reply) wantRedirect(target string) {
	r.t.Helper()
	if r.status != http.StatusSeeOther || r.location() != target {
		r.t.Fatalf("%s: want a redirect to %q, got %d to %q\n%s", r.target, target, r.status, r.location(), plain(r))
	}
}

// wantRefused wants no paid bytes, and no cookie.
func (r reply) wantRefused(status int) {
	r.t.Helper()
	if r.status != status || strings.Contains(r.body, marker) || r.header.Get("Set-Cookie") != "" {
		r.t.Fatalf("%s: want %d, got %d to %q with %v\n%s", r.target, status, r.status, r.location(), r.header["Set-Cookie"], plain(r))
	}
}

// decode reads JSON.
func (r reply) decode(into any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		r.t.Fatalf("%s: %d %s: %v", r.target, r.status, r.body, err)
	}
}

// link returns where the link labelled so leads, "" if there is none.
func link(t testing.TB, page reply, label string) string {
	t.Helper()
	return pagetest.Link(t, page.body, label)
}

// plain is the text of an answer, for failures.
func plain(r reply) string {
	for node := range pagetest.Nodes(r.t, r.body) {
		if node.Data == "main" {
			return pagetest.Text(node)
		}
	}
	return r.body
}
