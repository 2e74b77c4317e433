package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

// fakeCaddy is an admin API that answers as it is told and keeps what it is asked.
type fakeCaddy struct {
	address string
	answers map[string]http.HandlerFunc // by the name of the operation
	calls   []string                    // method, address and body
}

func newCaddy(t *testing.T) *fakeCaddy {
	t.Helper()
	c := &fakeCaddy{answers: make(map[string]http.HandlerFunc)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.address = server.Listener.Addr().String()
	return c
}

func (c *fakeCaddy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.calls = append(c.calls, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
	answer := c.answers[strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, admin.Base), "/", " ")]
	if answer == nil {
		http.Error(w, `{"error":"nothing there"}`, http.StatusNotFound)
		return
	}
	answer(w, r)
}

// says makes an operation answer with lines of text.
func (c *fakeCaddy) says(name string, lines ...string) {
	c.answers[name] = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n") }
}

// run runs `caddy axra` against the admin API.
func (c *fakeCaddy) run(t *testing.T, args ...string) (out, aside string, err error) {
	t.Helper()
	return execute(t, Plugin{}, append(args, "--address", c.address)...)
}

func execute(t *testing.T, plugin Plugin, args ...string) (out, aside string, err error) {
	t.Helper()
	cmd := &cobra.Command{Use: "axra", SilenceUsage: true, SilenceErrors: true}
	plugin.Fill(cmd)
	var stdout, stderr bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(context.Background())
	return stdout.String(), stderr.String(), err
}

func wantError(t *testing.T, err error, phrase string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), phrase) {
		t.Errorf("the error is %v, want %q", err, phrase)
	}
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}
