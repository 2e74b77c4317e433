package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// passName is what the gate of the bench sells; all sides set it as a request header, as
// is done for an application behind. No response header: the ninth one costs as much as a
// gate, since Go's maps grow at it.
const passName = "/premium/*"

// foreign are ten cookies that are not ours, as most browsers bring along.
var foreign = func() string {
	var all []string
	for name := range strings.SplitSeq("abcdefghij", "") {
		all = append(all, "foreign_"+name+"="+strings.Repeat(name, 40))
	}
	return strings.Join(all, "; ")
}()

// bench is one run of the command.
type bench struct {
	options
	folder string // of its own; removed at the end
	root   string // of all sites
	stops  []func()
}

// newBench makes the folder with the files that the sites serve.
func newBench(o options) (*bench, error) {
	folder, err := os.MkdirTemp(o.dir, "paywall-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, folder: folder, root: filepath.Join(folder, "root")}
	for _, size := range append([]int{1 << 10}, o.sizes...) {
		for _, section := range []string{"premium", "free"} {
			file := filepath.Join(b.root, section, fileName(size))
			err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(strings.Repeat("x", size)), 0o600))
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return b, nil
}

func fileName(size int) string { return strconv.Itoa(size) + ".html" }

func premium(size int) string { return "/premium/" + fileName(size) }

// onStop has something done at the end of a section, the last first.
func (b *bench) onStop(stop func()) { b.stops = append(b.stops, stop) }

// stop ends all that a section has started.
func (b *bench) stop() {
	for i := len(b.stops) - 1; i >= 0; i-- {
		b.stops[i]()
	}
	b.stops = nil
}

// home makes a folder for a process.
func (b *bench) home() (string, error) { return os.MkdirTemp(b.folder, "home-") }

// site is a Caddy that serves the files, with a gate or without one.
type site struct {
	host      string // localhost:port
	address   string // 127.0.0.1:port
	home      string
	storage   string // Caddy's
	ledger    location
	processes []*proc
	cookie    string // lets a visitor in; empty for none
	api       *shop  // of the gates that sell
	ungated   *site  // the same without a gate, by the same process; nil: none
	beside    string // directives of ungated
}

func (b *bench) newSite() (*site, error) {
	home, err := b.home()
	if err != nil {
		return nil, err
	}
	s, err := siteOnFreePort()
	if err != nil {
		return nil, err
	}
	s.home, s.storage, s.ledger, s.beside = home, filepath.Join(home, "storage"), location(filepath.Join(home, "ledger.db")), noGate
	for s.ungated == nil || s.ungated.host == s.host {
		if s.ungated, err = siteOnFreePort(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func siteOnFreePort() (*site, error) {
	port, err := freePort()
	return &site{host: "localhost:" + port, address: "127.0.0.1:" + port}, err
}

// noGate is the site without one: it sets the request header that the others fill from a placeholder.
var noGate = fmt.Sprintf("\trequest_header X-Pass %q", passName)

// caddyfile is the same for all but for what they are measured for.
func (b *bench) caddyfile(s *site, global, directives string) string {
	file := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	storage file_system %q
	log {
		level ERROR
	}
	metrics
%s
}
`, s.storage, global) + b.block(s, directives)
	if s.ungated != nil {
		file += b.block(s.ungated, s.beside)
	}
	return file
}

// block is one site of a Caddyfile.
func (b *bench) block(s *site, directives string) string {
	return fmt.Sprintf(`http://%s {
	bind 127.0.0.1
	root %q
%s
	file_server
}
`, s.host, b.root, directives)
}

// serve starts the site.
func (b *bench) serve(ctx context.Context, s *site, global, directives string) error {
	file := filepath.Join(s.home, "Caddyfile")
	if err := os.WriteFile(file, []byte(b.caddyfile(s, global, directives)), 0o600); err != nil {
		return err
	}
	p, err := startRole(ctx, s.home, roleCaddy, file)
	if err != nil {
		return err
	}
	if err := b.adopt(ctx, s, p, s.address); err != nil || s.ungated == nil {
		return err
	}
	return p.awaitAddress(ctx, s.ungated.address) // Caddy opens them in any order
}

// adopt makes a process one of the site's, once it listens.
func (b *bench) adopt(ctx context.Context, s *site, p *proc, address string) error {
	b.onStop(p.stop)
	s.processes = append(s.processes, p)
	if s.ungated != nil {
		s.ungated.processes = s.processes
	}
	return p.awaitAddress(ctx, address)
}

// cookies is the Cookie header of a visitor who brings this along.
func cookies(ours string) string {
	if ours == "" {
		return foreign
	}
	return foreign + "; " + ours
}

// paid is the request of a visitor who has paid, and the answer that it must get.
func (s *site) paid(size int) request {
	return always(get(s.host, premium(size), "Accept: */*", "Cookie: "+cookies(s.cookie)), http.StatusOK, size)
}

// free is the same for a page that no gate covers.
func (s *site) free(size int) request {
	return always(get(s.host, "/free/"+fileName(size), "Accept: */*", "Cookie: "+cookies(s.cookie)), http.StatusOK, size)
}

// contender opens a load on the site for a section.
func (b *bench) contender(s *site, r request) (contender, error) {
	l, err := newLoad(s.address, connections, r)
	if err != nil {
		return contender{}, err
	}
	b.onStop(l.close)
	return contender{l, s.processes}, nil
}
