package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// proc is one of the processes that are measured.
type proc struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr string // file of what it writes
	ended  chan struct{}
}

const (
	apiKey        = "bk_test_sandbox"
	webhookSecret = "bs_test_sandbox"
)

// start starts a process with a home of its own. It ends with the context, with this
// process, or by stop.
func start(ctx context.Context, home, executable string, args, env []string) (*proc, error) {
	stderr, err := os.OpenFile(filepath.Join(home, "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = stderr.Close() }()                // the process has its own
	cmd := exec.CommandContext(ctx, executable, args...) //nolint:gosec // what it is for
	cmd.Dir, cmd.Stderr = home, stderr
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
		"AXRA_API_KEY="+apiKey, "AXRA_WEBHOOK_SECRET="+webhookSecret)
	cmd.Env = append(cmd.Env, env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &proc{cmd: cmd, stdin: stdin, stderr: stderr.Name(), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended shows in what it wrote
	}()
	return p, nil
}

// startRole starts this binary in a role.
func startRole(ctx context.Context, home, role string, args ...string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, home, self, args, []string{roleVariable + "=" + role})
}

// stop ends the process and waits for its end.
func (p *proc) stop() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	_ = p.stdin.Close()
}

// trouble is what a process wrote last, for errors.
func (p *proc) trouble() string {
	written, err := os.ReadFile(p.stderr)
	if err != nil {
		return err.Error()
	}
	return string(written[max(0, len(written)-2000):])
}

// startWithin bounds how long a process may take until it answers.
const startWithin = time.Minute

// await asks again and again until the process is ready.
func (p *proc) await(ctx context.Context, each time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	tick := time.NewTicker(each)
	defer tick.Stop()
	for !ready() {
		select {
		case <-p.ended:
			return fmt.Errorf("a server has ended: %s", p.trouble())
		case <-ctx.Done():
			return fmt.Errorf("a server is not ready: %w: %s", ctx.Err(), p.trouble())
		case <-tick.C:
		}
	}
	return nil
}

// awaitAddress waits until somebody answers there.
func (p *proc) awaitAddress(ctx context.Context, address string) error {
	return p.await(ctx, 5*time.Millisecond, func() bool { return listens(address) })
}

// listens reports whether somebody answers at an address.
func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// memory is what a process takes, in bytes.
type memory struct {
	resident float64
	own      float64 // without what is the executable's on disk; NaN where the system does not tell
}

func (p *proc) memory() (memory, error) {
	found, err := process.NewProcess(int32(p.cmd.Process.Pid)) //nolint:gosec // process ids fit
	if err != nil {
		return memory{}, err
	}
	info, err := found.MemoryInfo()
	if err != nil {
		return memory{}, err
	}
	taken := memory{resident: float64(info.RSS), own: math.NaN()}
	if maps, err := found.MemoryMaps(true); err == nil && len(*maps) > 0 {
		taken.own = float64((*maps)[0].Anonymous) * 1024
	}
	return taken, nil
}

// cpu is the time that the processes have had on a processor, for themselves and in
// the system.
func cpu(processes []*proc) (time.Duration, error) {
	var all time.Duration
	for _, p := range processes {
		used, err := cpuOf(p.cmd.Process.Pid)
		if err != nil {
			return 0, fmt.Errorf("processor time: %w: %s", err, p.trouble())
		}
		all += used
	}
	return all, nil
}

// freePort finds a port below those that the system gives to connections.
func freePort() (string, error) {
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(12000)) //nolint:gosec // no secret
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return "", errors.New("no port is free")
}
