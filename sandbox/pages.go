package sandbox

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
)

//go:embed templates
var templateFiles embed.FS

// page is one parsed template inside the common layout.
type page string

// The pages.
const (
	pageCheckout  page = "checkout.html"
	pageChallenge page = "challenge.html"
	pageNotice    page = "notice.html"
	pageDashboard page = "dashboard.html"
)

// parsePages parses the templates. They are part of the binary, so that a
// failure to parse them is a bug that every test finds.
func parsePages() map[page]*template.Template {
	set := map[page]*template.Template{}
	for _, p := range []page{pageCheckout, pageChallenge, pageNotice, pageDashboard} {
		set[p] = template.Must(template.ParseFS(templateFiles, "templates/layout.html", "templates/"+string(p)))
	}
	return set
}

// render writes a page whole or, if its template fails, not at all.
func (s *Sandbox) render(w http.ResponseWriter, status int, p page, data any) {
	var buf bytes.Buffer
	if err := s.pages[p].ExecuteTemplate(&buf, "layout.html", data); err != nil {
		s.log.Error("page not rendered", "page", p, "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = buf.WriteTo(w) // the client may be gone
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, templateFiles, "templates/style.css")
}

// notice is a page with a message and at most one way on.
type notice struct {
	Title, Text    string
	Link, LinkText string
}

// redirect sends the customer on, byte for byte where the merchant asked.
func redirect(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}
