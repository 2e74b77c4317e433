package preflight

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-axra/paywall/internal/urlpath"
)

// maxEntries bounds the search for open files.
const maxEntries = 20000

// fileSearch looks for files that are behind a gate under one address and free under another.
type fileSearch struct {
	*checker
	files   []*servedFile
	alike   map[string][]*servedFile // by size and time; os.SameFile tells these apart
	listed  map[string]string        // folders whose names anybody can list, and where
	entries int
}

// servedFile is a file, under all its names.
type servedFile struct {
	name  string
	info  fs.FileInfo
	gates []*Gate // that cover it
	gated string  // an address behind the first
	free  string  // an address without any
}

// checkFiles asks for every file below the roots of the sites by all its addresses.
func (c *checker) checkFiles(r *report) {
	if len(c.gates) == 0 {
		return
	}
	s := &fileSearch{checker: c, alike: make(map[string][]*servedFile), listed: make(map[string]string)}
	for _, site := range c.sites {
		walked := map[string]bool{"": true}
		for _, t := range site.traces(http.MethodGet) {
			if !walked[t.root] {
				walked[t.root] = true
				s.walk(r, site, t.root, "/")
			}
		}
	}
	for _, at := range c.gates {
		s.report(r, at)
	}
	switch {
	case s.entries > maxEntries:
		r.note("files beyond the first %d", maxEntries)
	case s.entries == 0:
		r.note("what an application behind the gates answers under other addresses")
	case len(r.findings) == 0:
		r.ok("", "%d files were requested by all their addresses: none that is sold is free", len(s.files))
	}
}

// walk asks for everything in a folder. It follows links to folders, but not to those around the link.
func (s *fileSearch) walk(r *report, site *site, folder, address string) {
	_ = fs.WalkDir(os.DirFS(folder), ".", func(relative string, entry fs.DirEntry, err error) error {
		if s.entries++; s.entries > maxEntries {
			return fs.SkipAll
		}
		name, address := filepath.Join(folder, relative), path.Join(address, relative)
		if err != nil && relative == "." {
			r.warn(name, "create it, or correct `root`; if only the service may read it, run this command as its user",
				"the folder of a file_server cannot be read, so its files are not checked")
		} else if err != nil {
			r.note("%s, which cannot be read", name)
		}
		for _, prefix := range site.prefixes {
			for _, address := range addressesOf(address) {
				s.record(site.trace(http.MethodGet, prefix+address))
			}
		}
		around, _ := filepath.EvalSymlinks(filepath.Dir(name))
		target, _ := filepath.EvalSymlinks(name)
		isLink := err == nil && entry.Type() == fs.ModeSymlink && !strings.HasPrefix(around+"/", target+"/")
		if info, err := os.Stat(name); isLink && err == nil && info.IsDir() {
			s.walk(r, site, name, address)
		}
		return nil
	})
}

// addressesOf are those that may lead to a file or folder: as an index or by `try_files {path}.html`, and in other case on
// some file systems.
func addressesOf(address string) []string {
	return []string{address, strings.TrimSuffix(address, "/") + "/", strings.ToUpper(address), strings.TrimSuffix(address, ".html")}
}

// record notes whether a gate covers what was asked for.
func (s *fileSearch) record(t *trace) {
	info, err := os.Stat(t.file)
	switch {
	case err != nil || t.refused || len(t.guards) > 0:
		return
	case info.IsDir():
		if t.served {
			s.listed[t.file] = t.host + t.path
		}
		return
	}
	file := s.identify(t.file, info)
	if len(file.gates) == 0 {
		file.gated = t.host + t.path
	}
	file.gates = append(file.gates, t.gates...)
	if file.free == "" && t.served {
		file.free = t.host + t.path
	}
}

// identify finds a file by what it is, not by its name: links and compressed copies are the same.
func (s *fileSearch) identify(name string, info fs.FileInfo) *servedFile {
	if extension := path.Ext(name); slices.Contains(urlpath.Sidecars, extension) {
		if original, err := os.Stat(strings.TrimSuffix(name, extension)); err == nil && !original.IsDir() {
			info = original
		}
	}
	key := fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	for _, file := range s.alike[key] {
		if os.SameFile(file.info, info) {
			return file
		}
	}
	file := &servedFile{name: name, info: info}
	s.files, s.alike[key] = append(s.files, file), append(s.alike[key], file)
	return file
}

// report reports what is wrong with the files of a gate.
func (s *fileSearch) report(r *report, at *location) {
	subject, patterns := at.gate.subject(), at.patterns()
	var free, listed []string
	isEmpty := len(s.files) > 0 && s.entries <= maxEntries
	for _, f := range s.files {
		if !slices.Contains(f.gates, at.gate) {
			continue
		}
		isEmpty = false
		if f.free != "" {
			free = append(free, f.free+" is "+f.gated)
		}
		if list := s.listed[filepath.Dir(f.name)]; list != "" {
			listed = append(listed, list)
		}
	}
	if len(free) > 0 {
		r.fail(subject, "let the gate, and the `handle` around it, cover these addresses too, or keep file_server from them (`hide`, another root, no link)",
			"files behind it, or compressed copies, are free by other addresses: %s", examples(free))
	}
	if len(listed) > 0 {
		r.warn(subject, "remove `browse`, or let the gate cover the folder itself", "everyone can list the names of paid files: %s", examples(listed))
	}
	if isEmpty && at.find(http.MethodGet, func(t *trace) bool { return t.root != "" && slices.Contains(t.gates, at.gate) }) != nil {
		r.warn(subject, "correct the path of the gate, or `root`", "no file is behind it")
	}
	for _, page := range patterns {
		isBelow := func(f *servedFile) bool { return len(f.gates) == 0 && strings.HasPrefix(f.free, at.host+page+"/") }
		isSection := func(other string) bool { return strings.HasPrefix(other, page+"/") }
		if below := slices.IndexFunc(s.files, isBelow); below >= 0 && !slices.ContainsFunc(patterns, isSection) {
			r.warn(subject, "write `"+page+"/*` if the section is meant", "it covers %s only; below it is free: %s", page, s.files[below].free)
		}
	}
}

// examples names at most five of those found.
func examples(found []string) string {
	slices.Sort(found)
	found = slices.Compact(found)
	return strings.Join(found[:min(len(found), 5)], ", ")
}
