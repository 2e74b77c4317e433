package paywall

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Bounds of the search for open files.
const (
	maxFiles = 20000
	maxDepth = 32
	maxWalk  = 20 * time.Second
)

// file returns what the file server would serve for the request; found is false for what
// does not exist. A folder is returned where its names would be listed.
func (t *trail) file(server *fileserver.FileServer) (name string, found bool) {
	replacer, _ := t.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	name = strings.TrimSuffix(caddyhttp.SanitizedPathJoin(replacer.ReplaceAll(server.Root, "."), t.request.URL.Path), "/")
	info, err := os.Stat(name)
	if err != nil {
		return "", false
	}
	if !info.IsDir() {
		return name, true
	}
	for _, index := range server.IndexNames {
		file := caddyhttp.SanitizedPathJoin(name, replacer.ReplaceAll(index, ""))
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file, true
		}
	}
	return name, server.Browse != nil
}

// serves reports whether the file server, asked for the headers only, answers with a file.
func (t *trail) serves(server *fileserver.FileServer) bool {
	answer := &statusOnly{header: make(http.Header)}
	request := t.request.Clone(t.request.Context())
	request.Method = http.MethodHead
	err := server.ServeHTTP(answer, request, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(http.StatusNotFound, nil)
	}))
	return err == nil && (answer.status == 0 || answer.status < 300)
}

// statusOnly is an answer of which only the status counts.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header             { return s.header }
func (*statusOnly) Write(content []byte) (int, error) { return len(content), nil }
func (s *statusOnly) WriteHeader(status int)          { s.status = max(s.status, status) }

// openFiles is the search for files that are behind a gate by one address and free by another.
type openFiles struct {
	*examination
	sites    []spot
	prefixes map[*caddyhttp.Server][]string
	byID     map[string][]*servedFile // by size and time; os.SameFile tells these apart
	folders  map[string]string        // that are listed for everybody → by which address
	covering map[*Handler]bool        // gates that cover some file
	files    int
	cut      bool
	blind    map[string]bool // roots on a file system that does not tell case
}

// servedFile is a file and how it is served.
type servedFile struct {
	name  string
	info  fs.FileInfo
	gate  *Handler    // the first that covers it
	gated string      // an address behind that gate
	free  string      // an address without any
	by    *servedFile // the file that it is a compressed copy of
}

// checkFiles asks for every file below the roots of the sites by all its addresses.
func (e *examination) checkFiles() []finding {
	found := &remarks{check: "files"}
	if len(e.app.allGates()) == 0 {
		return nil
	}
	roots, servers := e.roots()
	if servers == 0 {
		e.note("what an application behind the gates answers under other addresses")
		return nil
	}
	o := &openFiles{
		examination: e, sites: e.sites(), byID: make(map[string][]*servedFile), folders: make(map[string]string), covering: make(map[*Handler]bool),
		prefixes: make(map[*caddyhttp.Server][]string), blind: make(map[string]bool),
	}
	for _, at := range o.sites {
		o.prefixes[at.server] = strippedPrefixes(at.server)
	}
	ctx, cancel := context.WithTimeout(e.ctx, maxWalk)
	defer cancel()
	for _, root := range roots {
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			found.warn(root, "create it, or correct `root`; if it is there for the service only, run this command as its user", "the folder of a file_server cannot be read, so its files are not checked")
			continue
		}
		o.blind[root] = tellsNoCase(root)
		o.walk(ctx, root, root, "", nil)
	}
	o.tell(found)
	o.tellBelow(found)
	if o.files > 0 && !o.cut {
		o.tellIdle(found)
	}
	if o.cut {
		e.note("files beyond the first %d, or beyond %s", maxFiles, maxWalk)
	}
	return found.orOK("%d files were asked for by all their addresses: none that is sold is free", o.files)
}

// roots are the folders that file servers serve.
func (e *examination) roots() (roots []string, servers int) {
	replacer := caddy.NewReplacer()
	add := func(root string) {
		if root = replacer.ReplaceKnown(root, ""); root != "" && !strings.Contains(root, "{") {
			if absolute, err := filepath.Abs(root); err == nil {
				roots = append(roots, absolute)
			}
		}
	}
	for _, at := range e.spots(func(caddyhttp.MiddlewareHandler) bool { return true }) {
		switch h := at.handler.(type) {
		case *fileserver.FileServer:
			servers++
			add(h.Root)
		case *caddyhttp.VarsMiddleware:
			if root, ok := (*h)["root"].(string); ok {
				add(root)
			}
		}
	}
	return distinct(roots), servers
}

// walk goes through a folder; links to folders are followed, but not in circles. above are
// the real paths of the folders around.
func (o *openFiles) walk(ctx context.Context, root, folder, relative string, above []string) {
	genuine, err := filepath.EvalSymlinks(folder)
	if err != nil || slices.Contains(above, genuine) || len(above) > maxDepth {
		return
	}
	above = append(slices.Clip(above), genuine)
	entries, err := os.ReadDir(folder)
	if err != nil {
		o.note("%s, which cannot be read", folder)
		return
	}
	o.askFolder(folder, relative)
	for _, entry := range entries {
		if o.files >= maxFiles || ctx.Err() != nil {
			o.cut = true
			return
		}
		name, below := filepath.Join(folder, entry.Name()), relative+"/"+entry.Name()
		info, err := os.Stat(name)
		switch {
		case err != nil:
		case info.IsDir():
			o.walk(ctx, root, name, below, above)
		case info.Mode().IsRegular():
			o.files++
			o.askFile(root, below)
		}
	}
}

// askFolder notes whether the names in a folder are listed for everybody.
func (o *openFiles) askFolder(folder, relative string) {
	for _, at := range o.sites {
		t := follow(at.server, http.MethodGet, at.host, relative+"/")
		server, ok := t.answer.(*fileserver.FileServer)
		if !ok || t.gated() || len(t.guards) > 0 || server.Browse == nil {
			continue
		}
		if name, found := t.file(server); found && name == folder {
			o.folders[folder] = at.host + relative + "/"
		}
	}
}

// askFile asks for a file by all addresses that may lead to it.
func (o *openFiles) askFile(root, relative string) {
	addresses := []string{relative}
	switch base := path.Base(relative); base {
	case "index.html", "index.htm", "index.txt":
		folder := strings.TrimSuffix(relative, base)
		addresses = append(addresses, folder, strings.TrimSuffix(folder, "/"))
	default:
		if bare, ok := strings.CutSuffix(relative, ".html"); ok {
			addresses = append(addresses, bare) // `try_files {path}.html`
		}
		addresses = append(addresses, relative+"/")
	}
	if o.blind[root] {
		addresses = append(addresses, otherCase(relative))
	}
	for _, at := range o.sites {
		for _, address := range addresses {
			if address == "" {
				continue
			}
			o.ask(at, address)
			for _, prefix := range o.prefixes[at.server] {
				o.ask(at, prefix+address)
			}
		}
	}
}

// ask notes for the file that an address leads to, whether a gate is before it.
func (o *openFiles) ask(at spot, address string) {
	t := follow(at.server, http.MethodGet, at.host, address)
	server, ok := t.answer.(*fileserver.FileServer)
	if !ok || t.refused || len(t.guards) > 0 {
		return
	}
	name, found := t.file(server)
	if !found {
		return
	}
	file := o.identify(name)
	switch {
	case file == nil:
	case t.gated():
		for _, gate := range t.gates {
			o.covering[gate] = true
		}
		if file.gate == nil {
			file.gate, file.gated = t.gates[0], at.host+address
		}
	case file.free == "" && t.serves(server):
		file.free = at.host + address
	}
}

// identify finds a file by what it is, not by its name: links lead to the same.
func (o *openFiles) identify(name string) *servedFile {
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return nil
	}
	key := fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	for _, file := range o.byID[key] {
		if os.SameFile(file.info, info) {
			return file
		}
	}
	file := &servedFile{name: name, info: info}
	for _, extension := range urlpath.Sidecars {
		if original, ok := strings.CutSuffix(name, extension); ok {
			if file.by = o.identify(original); file.by != nil {
				break
			}
		}
	}
	o.byID[key] = append(o.byID[key], file)
	return file
}

// tell reports, of each gate and kind, one file and how many there are.
func (o *openFiles) tell(found *remarks) {
	type group struct {
		gate *Handler
		fix  string
	}
	counts, order := make(map[group]int), []group{}
	examples, listed := make(map[group]*servedFile), make(map[string]*servedFile)
	for _, file := range o.sorted() {
		gate, _, fix := file.leak()
		if folder := filepath.Dir(file.name); file.gate != nil && o.folders[folder] != "" && listed[folder] == nil {
			listed[folder] = file
		}
		if gate == nil {
			continue
		}
		key := group{gate, fix}
		if counts[key]++; counts[key] == 1 {
			examples[key] = file
			order = append(order, key)
		}
	}
	for _, key := range order {
		_, message, fix := examples[key].leak()
		if counts[key] > 1 {
			message += fmt.Sprintf(" (and %d more like it)", counts[key]-1)
		}
		found.fail("gate "+key.gate.label(), fix, "%s", message)
	}
	for _, folder := range slices.Sorted(maps.Keys(listed)) {
		found.warn("gate "+listed[folder].gate.label(), "remove `browse`, or let the gate cover the folder itself", "%s lists the names of files that are sold, for everybody", o.folders[folder])
	}
}

// tellBelow reports gates that cover a page by its path, such as /premium, while files in
// the folder of that name are free.
func (o *openFiles) tellBelow(found *remarks) {
	type page struct {
		gate *Handler
		path string
	}
	told := make(map[page]bool)
	for _, at := range o.spots(isGate) {
		gate, _ := at.handler.(*Handler)
		for _, path := range at.singlePages(gate) {
			example, more := o.freeBelow(at.host + path + "/")
			if example == "" || told[page{gate, path}] {
				continue
			}
			told[page{gate, path}] = true
			if more > 0 {
				example += fmt.Sprintf(" (and %d more like it)", more)
			}
			found.warn("gate "+gate.label(), "write `"+path+"/*` if the section is meant", "it covers %s only; below it is free: %s", path, example)
		}
	}
}

// freeBelow returns the first of the free files below an address, and how many more there
// are.
func (o *openFiles) freeBelow(folder string) (example string, more int) {
	for _, file := range o.sorted() {
		if file.gate != nil || !strings.HasPrefix(file.free, folder) {
			continue
		}
		if example == "" {
			example = file.free
		} else {
			more++
		}
	}
	return example, more
}

// singlePages are paths that the matchers of a gate name without anything below them; of a
// gate without matchers those of the route around it.
func (p spot) singlePages(gate *Handler) []string {
	patterns := patternsOf(gate.gate.Matcher.Sets())
	for _, route := range slices.Backward(p.chain) {
		if len(gate.gate.Matcher.Sets()) == 0 && len(samplesOfSets(route.MatcherSets)) > 0 { // and not all paths
			patterns = patternsOf(route.MatcherSets)
			break
		}
	}
	return slices.DeleteFunc(distinct(patterns), func(path string) bool {
		return strings.ContainsAny(path, "*{") || strings.HasSuffix(path, "/") ||
			slices.ContainsFunc(patterns, func(other string) bool { return strings.HasPrefix(other, path+"/") })
	})
}

// tellIdle reports gates before a file server that cover none of its files.
func (o *openFiles) tellIdle(found *remarks) {
	for _, at := range o.spots(isGate) {
		gate, _ := at.handler.(*Handler)
		if o.covering[gate] {
			continue
		}
		for _, path := range at.candidates(gate.gate.Matcher.Sets()) {
			t := follow(at.server, http.MethodGet, at.host, path)
			if _, ok := t.answer.(*fileserver.FileServer); ok && slices.Contains(t.gates, gate) {
				found.warn("gate "+gate.label(), "correct the path of the gate, or `root`", "no file lies behind it")
				o.covering[gate] = true
				break
			}
		}
	}
}

func (o *openFiles) sorted() []*servedFile {
	var all []*servedFile
	for _, files := range o.byID {
		all = append(all, files...)
	}
	slices.SortFunc(all, func(a, b *servedFile) int { return strings.Compare(a.name, b.name) })
	return all
}

// leak says how a file that is sold is free, with a nil gate if it is not.
func (f *servedFile) leak() (gate *Handler, message, fix string) {
	switch {
	case f.free == "":
		return nil, "", ""
	case f.gate != nil:
		return f.gate, f.gated + " is behind the gate, but the same file is free at " + f.free,
			"let the gate cover that address too, or serve it from another folder (`hide`, another root, no link)"
	case f.by != nil && f.by.gate != nil:
		return f.by.gate, f.by.gated + " is behind the gate, but its compressed copy is free at " + f.free,
			"let the gate, and the `handle` around it, cover *" + path.Ext(f.name) + " too, or add `hide *" + path.Ext(f.name) + "` to file_server"
	}
	return nil, "", ""
}

// tellsNoCase reports whether the file system takes a name in other case for the same.
func tellsNoCase(root string) bool {
	entries, err := os.ReadDir(root)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		other := otherCase(entry.Name())
		if other == entry.Name() {
			continue
		}
		one, err := os.Stat(filepath.Join(root, entry.Name())) //nolint:gosec // the site's own folder
		two, err2 := os.Stat(filepath.Join(root, other))       //nolint:gosec // the site's own folder
		return err == nil && err2 == nil && os.SameFile(one, two)
	}
	return false
}

func otherCase(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsUpper(c) {
			return unicode.ToLower(c)
		}
		return unicode.ToUpper(c)
	}, name)
}
