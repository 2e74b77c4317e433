package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-axra/paywall"
)

// nodeFile names the environment variable that makes this program a Caddy with the
// Caddyfile that it names.
const nodeFile = "AXRA_GROWTH_CADDYFILE"

// secret signs the webhooks of a node.
const secret = "growth"

const caddyfile = `{
	admin off
	persist_config off
	auto_https off
	storage file_system %q
	log {
		level ERROR
	}
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       http://127.0.0.1:1/api
	}
}
%s {
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		price  5.00 usd
		access 30d
	}
	respond hello
}
`

// serve is the node's side. It ends with its input, so also where this program is killed.
func serve(file string, in io.Reader, out io.Writer) error {
	raw, err := os.ReadFile(file) //nolint:gosec // written by startNode
	if err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(raw, map[string]any{"filename": file})
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	return caddy.Stop()
}

// node is a Caddy in a process of its own.
type node struct {
	site   string // its address
	client *http.Client
	cmd    *exec.Cmd
	stdin  io.Closer
	took   time.Duration // from the start of the process to the first answer
}

// freeSite is an address at which nothing listens.
func freeSite() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return "http://localhost:" + port, errors.Join(err, listener.Close())
}

// startTimeout bounds how long a node may take to start.
const startTimeout = time.Minute

// startNode starts a Caddy on a storage folder and waits for its first answer.
func startNode(ctx context.Context, site, storage string) (*node, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	home := storage + ".node"
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(file, fmt.Appendf(nil, caddyfile, storage, site), 0o600); err != nil {
		return nil, err
	}
	n := &node{site: site, client: &http.Client{
		Timeout:       startTimeout,
		Transport:     &http.Transport{MaxIdleConnsPerHost: clients},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	n.cmd = exec.CommandContext(ctx, executable) //nolint:gosec // this program itself
	n.cmd.Dir, n.cmd.Stderr = home, os.Stderr
	n.cmd.Env = append(os.Environ(), nodeFile+"="+file, "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
		"AXRA_API_KEY=bk_test_growth", "AXRA_API_SECRET="+secret, "AXRA_WEBHOOK_SECRET="+secret)
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil && line != "ready\n" {
		err = fmt.Errorf("it says %q", line)
	}
	if err == nil {
		_, err = n.get(ctx, "/", nil, http.StatusOK)
	}
	n.took = time.Since(began)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting Caddy: %w", err), n.stop())
	}
	return n, nil
}

// stop ends the process and waits for its end.
func (n *node) stop() error {
	n.client.CloseIdleConnections()
	return errors.Join(n.stdin.Close(), n.cmd.Wait())
}

// get fetches a path and returns the headers of the answer, which must have the status.
func (n *node) get(ctx context.Context, path string, header http.Header, want int) (http.Header, error) {
	return n.do(ctx, http.MethodGet, path, header, "", want)
}

func (n *node) do(ctx context.Context, method, path string, header http.Header, body string, want int) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, n.site+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := n.client.Do(request)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if response.StatusCode != want {
		return nil, fmt.Errorf("%s answers %d, want %d", path, response.StatusCode, want)
	}
	return response.Header, nil
}
