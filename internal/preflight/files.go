package preflight

import (
	"cmp"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/urlpath"
)

// findFile finds the file that a file server has for the request, or the folder whose names it lists.
func (t *trace) findFile(server *fileserver.FileServer) {
	replacer, _ := t.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	t.root = replacer.ReplaceAll(server.Root, ".")
	asked := strings.TrimSuffix(caddyhttp.SanitizedPathJoin(t.root, t.request.URL.Path), "/")
	for _, index := range append([]string{""}, server.IndexNames...) {
		name := caddyhttp.SanitizedPathJoin(asked, replacer.ReplaceAll(index, ""))
		info, err := os.Stat(name)
		isFile := err == nil && !info.IsDir()
		if isFile || err == nil && index == "" && server.Browse != nil {
			t.file = name
		}
		if isFile {
			break
		}
	}
	if t.file != "" && len(t.gates) == 0 && len(t.guards) == 0 {
		w, r := make(discardWriter), t.request.Clone(t.request.Context())
		r.Method = http.MethodHead
		t.isOpen = server.ServeHTTP(w, r, noHandler) == nil && w["Location"] == nil
	}
}

// discardWriter is a response of which only the header is kept.
type discardWriter http.Header

func (w discardWriter) Header() http.Header             { return http.Header(w) }
func (discardWriter) Write(content []byte) (int, error) { return len(content), nil }
func (discardWriter) WriteHeader(int)                   {}

// maxEntries bounds the search for open files.
const maxEntries = 20000

// fileSearch looks for files that are behind a gate under one address and free under another.
type fileSearch struct {
	files   map[string]*knownFile // and listed folders, by name without links and the endings of compressed copies
	entries int
}

// knownFile is a file or a listed folder, under all its addresses.
type knownFile struct {
	gates []*gate.Gate // that cover it
	gated string       // an address that they cover
	free  string       // an address that none covers
}

// feedNames matches the names of files in which generators of sites repeat the text of pages.
var feedNames = regexp.MustCompile(`^((index|feed|rss|atom)\.(xml|json)|(sitemap|search).*\.(xml|json))$`)

// checkFiles asks for every file below the roots of the sites by all its addresses.
func (c *checker) checkFiles(r *report) {
	if len(c.places[paywall]) == 0 {
		return
	}
	s := &fileSearch{files: make(map[string]*knownFile)}
	for _, site := range c.sites {
		walked := make(map[[2]string]bool)
		for _, t := range site.traces(http.MethodGet) {
			prefix, isStripped := strings.CutSuffix(t.path, t.request.URL.Path) // by handle_path
			if !isStripped {
				prefix = ""
			}
			if at := [2]string{t.root, prefix}; t.root != "" && !walked[at] {
				walked[at] = true
				s.walk(r, site, t.root, prefix)
			}
		}
	}
	for _, at := range c.places[paywall] {
		s.report(r, at)
	}
	switch {
	case s.entries > maxEntries:
		r.note("", "files beyond the first %d", maxEntries)
	case s.entries == 0:
		r.note("", "what an application behind the gates answers under other addresses")
	case len(r.findings) == 0:
		r.ok("", "%d files were requested by all their addresses: none that is sold is free", len(s.files))
	}
	var feeds []string
	for name, f := range s.files {
		if f.free != "" && len(f.gates) == 0 && feedNames.MatchString(filepath.Base(name)) {
			feeds = append(feeds, f.free)
		}
	}
	if len(feeds) > 0 {
		r.note("", "whether these feeds, search indexes and sitemaps hold paid text, as everybody gets them: %s", examples(feeds))
	}
}

// walk asks for everything in a folder. It follows links to folders, but not to those around the link.
func (s *fileSearch) walk(r *report, site *site, folder, address string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		r.warn(folder, "create it, or correct `root`; if only the service may read it, run this command as its user",
			"the folder of a file_server cannot be read, so its files are not checked")
	}
	s.request(site, address)
	s.request(site, address+"/")
	around, _ := filepath.EvalSymlinks(folder)
	for _, entry := range entries {
		if s.entries++; s.entries > maxEntries {
			return
		}
		name, address := filepath.Join(folder, entry.Name()), address+"/"+entry.Name()
		target, _ := filepath.EvalSymlinks(name)
		if info, err := os.Stat(name); err == nil && info.IsDir() && !strings.HasPrefix(around+"/", target+"/") {
			s.walk(r, site, name, address)
			continue
		}
		s.request(site, address)
		s.request(site, strings.TrimSuffix(address, ".html")) // by `try_files {path}.html`
	}
}

// request finds out which file an address leads to. A gate counts if it covers the file's own address, not one that was
// rewritten: many sites answer every address that leads nowhere with one page.
func (s *fileSearch) request(site *site, address string) {
	t := site.trace(http.MethodGet, address)
	name, err := filepath.EvalSymlinks(t.file)
	if t.file == "" || err != nil || len(t.guards) > 0 {
		return
	}
	if extension := path.Ext(name); slices.Contains(urlpath.Sidecars, extension) {
		name = strings.TrimSuffix(name, extension)
	}
	file := s.files[name]
	if file == nil {
		file = new(knownFile)
		s.files[name] = file
	}
	if len(t.gates) > 0 && strings.HasSuffix(address, t.request.URL.Path) {
		file.gates, file.gated = append(file.gates, t.gates...), cmp.Or(file.gated, t.address())
	}
	if t.isOpen {
		file.free = cmp.Or(file.free, t.address())
	}
}

// report reports what is wrong with the files of a gate.
func (s *fileSearch) report(r *report, at *location) {
	var sold, free, listed []string
	for name, f := range s.files {
		if !slices.Contains(f.gates, at.gate) {
			continue
		}
		sold = append(sold, name)
		if f.free != "" {
			free = append(free, f.free+" is "+f.gated)
		}
		if folder := s.files[filepath.Dir(name)]; folder != nil && folder.free != "" {
			listed = append(listed, folder.free)
		}
	}
	if len(free) > 0 {
		r.fail(at.subject(), "let the gate, and the `handle` around it, cover these addresses too, "+
			"or keep file_server from them (`hide`, another root, no link)",
			"files behind it, or compressed copies, are free by other addresses: %s", examples(free))
	}
	if len(listed) > 0 {
		r.warn(at.subject(), "remove `browse`, or let the gate cover the folder itself",
			"everyone can list the names of paid files: %s", examples(listed))
	}
	isServed := func(t *trace) bool { return t.root != "" && slices.Contains(t.gates, at.gate) }
	if len(sold) == 0 && len(s.files) > 0 && s.entries <= maxEntries && at.site.find(http.MethodGet, isServed) != nil {
		r.warn(at.subject(), "correct the path of the gate, or `root`", "no file is behind it")
	}
	for _, page := range at.patterns {
		folder := strings.TrimSuffix(strings.TrimSuffix(page, "index.html"), "/") + "/"
		var below []string
		for _, f := range s.files {
			if len(f.gates) == 0 && strings.HasPrefix(f.free, at.site.host+folder) {
				below = append(below, f.free)
			}
		}
		isOther := func(pattern string) bool { return pattern != page && strings.HasPrefix(pattern, folder) }
		if len(below) > 0 && folder != "/" && !slices.ContainsFunc(at.patterns, isOther) {
			r.warn(at.subject(), "write `"+folder+"*` if the section is meant",
				"it covers %s only; below it is free: %s", page, examples(below))
		}
	}
}

// examples names at most five of those found.
func examples(found []string) string {
	found = sorted(found)
	return strings.Join(found[:min(len(found), 5)], ", ")
}
