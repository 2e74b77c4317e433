package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-axra/paywall"
)

//go:embed balancer.caddyfile
var balancerFile []byte

//go:embed node.caddyfile
var nodeFile []byte

// roleVariable names the environment variable that makes this program one of the Caddys.
const roleVariable = "CLUSTER_ROLE"

// serve is a child's side: it loads its configuration, says "ready", and serves until
// the other end of its input is gone. The parent holds it: where the parent ends, in
// whatever way, so does the child.
func serve(role string, in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches the whole group; the parent ends us in order
	file, ok := map[string][]byte{"node": nodeFile, "balancer": balancerFile}[role]
	if !ok {
		return fmt.Errorf("there is no role %q", role)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(file, map[string]any{"filename": role + ".caddyfile"})
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

// group is the processes that are started and ended together.
type group struct {
	environment []string
	children    []*child
}

func newGroup(environment []string) *group { return &group{environment: environment} }

// child is a Caddy of its own process.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{} // closed when it serves
	ended chan struct{} // closed when it has ended
	err   error         // how it ended; or why it never started
}

// errEnded: the process ended without an error, though nobody had asked it to.
var errEnded = errors.New("its process has ended")

// start starts a child; group.ready tells whether that went well. A node has a name and
// a port of its own.
func (g *group) start(role, name, port string) *child {
	c := &child{name: role, ready: make(chan struct{}), ended: make(chan struct{})}
	if name != "" {
		c.name += " " + name
	}
	g.children = append(g.children, c)
	if err := c.start(append(g.environment, roleVariable+"="+role, "CLUSTER_NAME="+name, "CLUSTER_PORT="+port)); err != nil {
		c.err = err
		close(c.ended)
	}
	return c
}

func (c *child) start(environment []string) error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(executable) //nolint:gosec // this program itself
	cmd.Env, cmd.Stderr = environment, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.stdin = cmd, stdin
	go c.follow(stdout)
	return nil
}

// follow waits for the child's word that it serves, and for its end.
func (c *child) follow(stdout io.Reader) {
	defer close(c.ended)
	lines := bufio.NewScanner(stdout)
	for isReady := false; lines.Scan(); {
		if !isReady && lines.Text() == "ready" {
			isReady = true
			close(c.ready)
		}
	}
	if c.err = c.cmd.Wait(); c.err == nil {
		c.err = errEnded
	}
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// startTimeout bounds how long the children may take to serve.
const startTimeout = 60 * time.Second

// ready waits until all children serve.
func (g *group) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, c := range g.children {
		select {
		case <-c.ready:
		case <-c.ended:
			return fmt.Errorf("%s did not start: %w", c.name, c.err)
		case <-ctx.Done():
			return fmt.Errorf("%s did not start: %w", c.name, ctx.Err())
		}
	}
	return nil
}

// stop ends all children, the balancer first, so that no visitor meets a node that has gone.
func (g *group) stop() {
	for i := len(g.children) - 1; i >= 0; i-- {
		g.children[i].stop()
	}
}

func (c *child) stop() {
	if c.cmd == nil {
		return
	}
	_ = c.stdin.Close() // it may have ended already
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}
