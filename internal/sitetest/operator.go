package sitetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// operate runs `caddy axra` as the operator does, and returns what it prints.
func (w *World) operate(args ...string) (out string, err error) {
	w.T.Helper()
	out, _, err = w.OperateWith("", args...)
	return out, err
}

// OperateWith does so with a standard input, and returns what is said aside, too.
func (w *World) OperateWith(input string, args ...string) (out, aside string, err error) {
	w.T.Helper()
	var stdout, stderr bytes.Buffer
	for range 50 {
		stdout.Reset()
		stderr.Reset()
		cmd := w.plugin.NewCommand()
		cmd.SetIn(strings.NewReader(input))
		cmd.SetArgs(append(args, "--address", w.AdminAddress()))
		cmd.SetOut(&stdout)
		cmd.SetErr(&stderr)
		err = cmd.ExecuteContext(w.T.Context())
		if err == nil || !strings.Contains(err.Error(), "is Caddy running?") {
			break
		}
		time.Sleep(10 * time.Millisecond) // Caddy opens its admin API some moments after a restart
	}
	return stdout.String(), stderr.String(), err
}

// Run runs `caddy axra`, which must go well.
func (w *World) Run(args ...string) string {
	w.T.Helper()
	out, err := w.operate(args...)
	if err != nil {
		w.T.Fatalf("caddy axra %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// RunJSON runs it with --json.
func (w *World) RunJSON(into any, args ...string) {
	w.T.Helper()
	out := w.Run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		w.T.Fatalf("%v in %s", err, out)
	}
}

// WantError runs it and wants it to say what is wrong.
func (w *World) WantError(phrase string, args ...string) {
	w.T.Helper()
	out, err := w.operate(args...)
	if err == nil || !strings.Contains(err.Error(), phrase) {
		w.T.Errorf("caddy axra %s: %v, want %q\n%s", strings.Join(args, " "), err, phrase, out)
	}
}

// File is what a command has written.
func (w *World) File(command string) string {
	w.T.Helper()
	name := filepath.Join(w.T.TempDir(), command)
	w.Run(append(strings.Fields(command), name)...)
	return name
}

// AskAdmin gets a path of Caddy's admin API, which opens some moments after a reload.
func (w *World) AskAdmin(path string) string {
	w.T.Helper()
	for range 100 {
		if body, err := w.askAdminOnce(path); err == nil {
			return body
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.T.Fatal("the admin API does not answer")
	return ""
}

func (w *World) askAdminOnce(path string) (string, error) {
	request, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, "http://"+w.AdminAddress()+path, nil)
	must(w.T, err)
	response, err := w.transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
