package preflight

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// Bounds of the search for open files.
const (
	maxFiles = 20000
	maxWalk  = 20 * time.Second
)

// fileSearch looks for files that are behind a gate under one address and free under another.
type fileSearch struct {
	*checker
	files    []*servedFile
	similar  map[string][]*servedFile // by size and time; os.SameFile tells these apart
	listed   map[string]string        // folders whose names anybody can list, and where
	covering map[*Gate]bool           // gates that cover some file
	count    int
	isCut    bool
}

// servedFile is a file, under all its names.
type servedFile struct {
	name     string
	info     fs.FileInfo
	gate     *Gate       // the first that covers it
	gated    string      // an address behind that gate
	free     string      // an address without any
	original *servedFile // of a compressed copy
}

// checkFiles asks for every file below the roots of the sites by all its addresses.
func (c *checker) checkFiles(r *report) {
	if !hasAny[*Gate](c.sites) {
		return
	}
	roots := c.roots()
	if len(roots) == 0 {
		c.note("what an application behind the gates answers under other addresses")
		return
	}
	s := &fileSearch{checker: c, similar: make(map[string][]*servedFile), listed: make(map[string]string), covering: make(map[*Gate]bool)}
	ctx, cancel := context.WithTimeout(c.ctx, maxWalk)
	defer cancel()
	for _, root := range roots {
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			r.warn(root, "create it, or correct `root`; if only the service may read it, run this command as its user",
				"the folder of a file_server cannot be read, so its files are not checked")
			continue
		}
		s.walk(ctx, root, "", nil)
	}
	s.reportFiles(r)
	s.reportGates(r)
	if s.isCut {
		c.note("files beyond the first %d, or beyond %s", maxFiles, maxWalk)
	}
	r.orOK("", "%d files were requested by all their addresses: none that is sold is free", s.count)
}

// roots are the folders of the file servers that answer.
func (c *checker) roots() (roots []string) {
	for _, site := range c.sites {
		for _, t := range site.traces(http.MethodGet) {
			roots = append(roots, t.root)
		}
	}
	return slices.DeleteFunc(distinct(roots), func(root string) bool { return root == "" })
}

// walk asks for everything in a folder. It follows links to folders, but not in circles.
func (s *fileSearch) walk(ctx context.Context, folder, relative string, above []string) {
	genuine, err := filepath.EvalSymlinks(folder)
	if err != nil || slices.Contains(above, genuine) {
		return
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		s.note("%s, which cannot be read", folder)
		return
	}
	for _, site := range s.sites {
		if t := site.trace(http.MethodGet, relative+"/"); t.served && t.file == folder {
			s.listed[folder] = site.host + relative + "/"
		}
	}
	for _, entry := range entries {
		if s.count >= maxFiles || ctx.Err() != nil {
			s.isCut = true
			return
		}
		name, address := filepath.Join(folder, entry.Name()), relative+"/"+entry.Name()
		switch info, err := os.Stat(name); {
		case err != nil:
		case info.IsDir():
			s.walk(ctx, name, address, append(slices.Clip(above), genuine))
		case info.Mode().IsRegular():
			s.count++
			s.ask(addressesOf(address))
		}
	}
}

// addressesOf are those that may lead to a file. On some file systems one in upper case does, too.
func addressesOf(file string) []string {
	addresses := []string{file, file + "/", strings.ToUpper(file)}
	if folder, base := path.Split(file); strings.HasPrefix(base, "index.") {
		addresses = append(addresses, folder)
		if folder != "/" {
			addresses = append(addresses, strings.TrimSuffix(folder, "/"))
		}
	}
	if bare, ok := strings.CutSuffix(file, ".html"); ok {
		addresses = append(addresses, bare) // `try_files {path}.html`
	}
	return addresses
}

// ask notes whether a gate covers the files that addresses lead to.
func (s *fileSearch) ask(addresses []string) {
	for _, at := range s.sites {
		for _, prefix := range append(at.strippedPrefixes(), "") {
			for _, address := range addresses {
				s.record(at.trace(http.MethodGet, prefix+address))
			}
		}
	}
}

func (s *fileSearch) record(t *trace) {
	if t.file == "" || t.refused || len(t.guards) > 0 {
		return
	}
	file := s.identify(t.file)
	if file == nil {
		return
	}
	for _, gate := range t.gates {
		s.covering[gate] = true
		if file.gate == nil {
			file.gate, file.gated = gate, t.host+t.path
		}
	}
	if t.served && file.free == "" {
		file.free = t.host + t.path
	}
}

// identify finds a file by what it is, not by its name: links lead to the same.
func (s *fileSearch) identify(name string) *servedFile {
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return nil
	}
	key := fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	for _, file := range s.similar[key] {
		if os.SameFile(file.info, info) {
			return file
		}
	}
	file := &servedFile{name: name, info: info}
	for _, extension := range urlpath.Sidecars {
		if original, ok := strings.CutSuffix(name, extension); ok {
			file.original = s.identify(original)
		}
	}
	s.files, s.similar[key] = append(s.files, file), append(s.similar[key], file)
	return file
}

// reportFiles reports one file for each gate and fix, and one for each folder.
func (s *fileSearch) reportFiles(r *report) {
	told := make(map[string]bool)
	tell := func(gate *Gate, fix, message string) {
		if !told[gate.Name+fix] {
			told[gate.Name+fix] = true
			r.fail(gate.subject(), fix, "%s", message)
		}
	}
	for _, f := range s.files {
		ending := "*" + path.Ext(f.name)
		switch {
		case f.free == "":
		case f.gate != nil:
			tell(f.gate, "let the gate cover that address too, or serve the file from another folder (`hide`, another root, no link)",
				f.gated+" is behind the gate, but the same file is free at "+f.free)
		case f.original != nil && f.original.gate != nil:
			tell(f.original.gate, "let the gate, and the `handle` around it, cover "+ending+" too, or add `hide "+ending+"` to file_server",
				f.original.gated+" is behind the gate, but its compressed copy is free at "+f.free)
		}
		if address := s.listed[filepath.Dir(f.name)]; f.gate != nil && address != "" {
			r.warn(f.gate.subject(), "remove `browse`, or let the gate cover the folder itself", "%s lets everyone list the names of paid files", address)
		}
	}
}

// reportGates reports gates that cover a page by its path, such as /premium, while files below it are free, and gates
// before a file server that cover none of its files.
func (s *fileSearch) reportGates(r *report) {
	for at, gate := range handlers[*Gate](s.sites) {
		for _, path := range at.singlePages() {
			below := slices.IndexFunc(s.files, func(f *servedFile) bool { return f.gate == nil && strings.HasPrefix(f.free, at.host+path+"/") })
			if below >= 0 {
				r.warn(gate.subject(), "write `"+path+"/*` if the section is meant", "it covers %s only; below it is free: %s", path, s.files[below].free)
			}
		}
		isBeforeFiles := at.find(http.MethodGet, func(t *trace) bool { return t.isFile() && slices.Contains(t.gates, gate) }) != nil
		if isBeforeFiles && !s.covering[gate] && !s.isCut && s.count > 0 {
			r.warn(gate.subject(), "correct the path of the gate, or `root`", "no file is behind it")
		}
	}
}

// singlePages are paths that the innermost path matcher names without anything below them.
func (l *location) singlePages() []string {
	for _, sets := range slices.Backward(l.matchers) {
		if patterns := patternsOf(sets); len(patterns) > 0 {
			return slices.DeleteFunc(slices.Clone(patterns), func(path string) bool {
				return strings.Contains(path, "*") || strings.HasSuffix(path, "/") ||
					slices.ContainsFunc(patterns, func(other string) bool { return strings.HasPrefix(other, path+"/") })
			})
		}
	}
	return nil
}
