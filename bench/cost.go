package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// built is a Caddy to be weighed: a binary, with what its configuration has.
type built struct {
	name       string
	executable string
	gate       bool
	memory     []float64 // of each start, resident, in bytes
	own        []float64 // the same, without pages of the executable
	wait       []float64 // of each start: seconds to the first answer
}

// cost compares a Caddy with the plugin with one without.
func (b *bench) cost(ctx context.Context) ([]*table, error) {
	defer b.stop()
	without, err := b.build(ctx, "without")
	if err != nil {
		return nil, err
	}
	with, err := b.build(ctx, "with", "github.com/caddy-axra/paywall")
	if err != nil {
		return nil, err
	}
	all := []*built{
		{name: "without", executable: without},
		{name: "without, once more", executable: without},
		{name: "built in, same Caddyfile", executable: with},
		{name: "with a gate", executable: with, gate: true},
	}
	if err := b.startAll(ctx, all); err != nil {
		return nil, err
	}
	t := &table{
		title: "Cost of the plugin",
		note: fmt.Sprintf("Caddy as xcaddy builds it with the plugin, against one without; medians of %d alternating starts. Memory is resident, %s after the first answer: all, and "+
			"without the pages of the executable, which the system may drop and read again; time is from the start of the process to the first answer.", b.starts, b.settle),
		head: []string{"", "binary", "idle memory", "without the executable", "time to first answer"},
	}
	for _, each := range all[1:] {
		size, err := difference(each.executable, without)
		if err != nil {
			return nil, err
		}
		wait, err := ratios(perStart(each.wait, all[0].wait, func(a, b float64) float64 { return a / b }), func(r float64) float64 { return r })
		if err != nil {
			return nil, err
		}
		t.add(each.name, size, growth(each.memory, all[0].memory), growth(each.own, all[0].own), wait.String())
	}
	return []*table{t}, nil
}

// growth is by how much memory has grown, over all starts.
func growth(these, those []float64) string {
	grown := median(perStart(these, those, func(a, b float64) float64 { return a - b }))
	if math.IsNaN(grown) {
		return "unknown"
	}
	return megabytes(grown)
}

func megabytes(bytes float64) string { return fmt.Sprintf("%+.1f MB", bytes/1e6) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func perStart(these, those []float64, of func(a, b float64) float64) []float64 {
	all := make([]float64, len(these))
	for i := range these {
		all[i] = of(these[i], those[i])
	}
	return all
}

func difference(with, without string) (string, error) {
	one, err := os.Stat(with)
	if err != nil {
		return "", err
	}
	two, err := os.Stat(without)
	if err != nil {
		return "", err
	}
	return megabytes(float64(one.Size() - two.Size())), nil
}

// build compiles Caddy with plugins, from a module of its own with the same versions of
// everything as this one.
func (b *bench) build(ctx context.Context, name string, plugins ...string) (executable string, err error) {
	b.progress("cost: building Caddy %s the plugin", name)
	folder := filepath.Join(b.folder, "build-"+name)
	if err := b.writeModule(ctx, folder, plugins); err != nil {
		return "", err
	}
	args := []string{"build", "-mod=mod", "-o", "caddy"}
	if b.asXcaddy {
		args = append(args, "-trimpath", "-ldflags", "-w -s")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...) //nolint:gosec // our own arguments
	cmd.Dir = folder
	// Interrupted, it ends what it has started and removes its files.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Minute
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOTMPDIR="+folder) // which goes with ours, however it ends
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Caddy: %w: %s", err, out)
	}
	return filepath.Join(folder, "caddy"), nil
}

func (b *bench) writeModule(ctx context.Context, folder string, plugins []string) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	ours := strings.TrimSpace(string(out))
	sums, err := os.ReadFile(filepath.Join(filepath.Dir(ours), "go.sum"))
	if err != nil {
		return err
	}
	module, err := moduleLike(ours)
	if err != nil {
		return err
	}
	imports := ""
	for _, plugin := range append([]string{"github.com/caddyserver/caddy/v2/modules/standard"}, plugins...) {
		imports += fmt.Sprintf("\t_ %q\n", plugin)
	}
	program := "package main\n\nimport (\n\tcaddycmd \"github.com/caddyserver/caddy/v2/cmd\"\n\n" + imports + ")\n\nfunc main() { caddycmd.Main() }\n"
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"go.mod": module, "go.sum": sums, "main.go": []byte(program)} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// moduleLike is a go.mod with the versions of another.
func moduleLike(file string) ([]byte, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // this module's
	if err != nil {
		return nil, err
	}
	module, err := modfile.Parse(file, raw, nil)
	if err != nil {
		return nil, err
	}
	if module.Module.Mod.Path != "github.com/caddy-axra/paywall/bench" {
		return nil, fmt.Errorf("run it in the folder bench, not in the module %s", module.Module.Mod.Path)
	}
	if err := module.AddModuleStmt("caddy"); err != nil {
		return nil, err
	}
	for _, replaced := range module.Replace {
		target := filepath.Join(filepath.Dir(file), replaced.New.Path)
		if err := module.AddReplace(replaced.Old.Path, replaced.Old.Version, target, ""); err != nil {
			return nil, err
		}
	}
	return module.Format()
}

// startAll starts each in turn, again and again.
func (b *bench) startAll(ctx context.Context, all []*built) error {
	sites := make([]*site, len(all))
	for i, each := range all {
		var err error
		if sites[i], err = b.prepare(each); err != nil {
			return err
		}
	}
	for round := range b.starts + 1 {
		b.progress("cost: start %d of %d", round, b.starts)
		starts := make([]func() error, len(all))
		for i, each := range all {
			starts[i] = func() error { return b.weigh(ctx, each, sites[i], round > 0) } // the first fills the system's caches
		}
		if err := inTurn(round, starts); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) prepare(each *built) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	s.ungated = nil // what it takes is not to be weighed
	global, directives := "", noGate
	if each.gate {
		// Nobody is sent to a checkout, so nothing needs to listen there.
		global, directives = s.axraOption("http://127.0.0.1:9", "HS256", ""), axraSite
	}
	return s, os.WriteFile(filepath.Join(s.home, "Caddyfile"), []byte(b.caddyfile(s, global, directives)), 0o600)
}

// weigh starts it once.
func (b *bench) weigh(ctx context.Context, each *built, s *site, counts bool) error {
	began := time.Now()
	p, err := start(ctx, s.home, each.executable, []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(s.home, "Caddyfile")}, nil)
	if err != nil {
		return err
	}
	defer p.stop()
	ask := always(get(s.host, "/free/"+fileName(small), "Connection: close"), http.StatusOK, small)
	if err := p.await(ctx, 500*time.Microsecond, func() bool { return answers(s.address, ask) }); err != nil {
		return err
	}
	waited := time.Since(began).Seconds()
	if !counts {
		return nil
	}
	if err := pause(ctx, b.settle); err != nil {
		return err
	}
	taken, err := p.memory()
	each.memory, each.own, each.wait = append(each.memory, taken.resident), append(each.own, taken.own), append(each.wait, waited)
	return err
}

// answers reports whether a request is answered as it must be.
func answers(address string, r request) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	l := &load{request: r, workers: []*worker{newWorker(conn)}}
	defer l.close()
	return conn.SetDeadline(time.Now().Add(answerWithin)) == nil && l.workers[0].one(r) == nil
}
