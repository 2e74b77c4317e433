package pgtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server. It can break them in the middle of a commit.
type Proxy struct {
	listener net.Listener
	server   string
	open     sync.WaitGroup
	done     chan struct{}

	resetting     atomic.Bool
	holding       atomic.Bool
	commits       atomic.Int64
	before, after atomic.Int64
	generation    atomic.Int64 // of the connections that are not silent
}

// NewProxy starts a proxy in front of the server.
func (s *Server) NewProxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, server: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), done: make(chan struct{})}
	p.open.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		close(p.done)
		p.open.Wait()
	})
	return p
}

// URL is that of one of the server's databases, by way of the proxy.
func (p *Proxy) URL(database string) string {
	return urlOf(p.listener.Addr().(*net.TCPAddr).Port, database)
}

// ResetCommits says whether connections are reset at their commits from now on: in turn before the server has got the
// commit, after it has answered, and not at all.
func (p *Proxy) ResetCommits(on bool) { p.resetting.Store(on) }

// HoldCommit keeps the next commit from the server, which does not hear of the end of that connection either, as where
// a cable was cut or a machine has stopped.
func (p *Proxy) HoldCommit() { p.holding.Store(true) }

// IsWaiting reports whether no commit has come yet since HoldCommit.
func (p *Proxy) IsWaiting() bool { return p.holding.Load() }

// Silence keeps everything from both ends of the connections that are open now. New ones work, as after a failover.
func (p *Proxy) Silence() { p.generation.Add(1) }

// Resets is how many connections were reset before and after the server's commit.
func (p *Proxy) Resets() (before, after int) { return int(p.before.Load()), int(p.after.Load()) }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.open.Go(func() { p.pass(client.(*net.TCPConn)) })
	}
}

// pass passes on what client and server send, until either of them or a reset ends the connection.
func (p *Proxy) pass(client *net.TCPConn) {
	defer reset(client)
	dialled, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	server := dialled.(*net.TCPConn)
	defer reset(server)
	generation := p.generation.Load()
	var committing atomic.Bool // the answer must not reach the client
	ended := make(chan struct{}, 2)
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		copyWhile(server, client, func(sent []byte) bool {
			if p.generation.Load() != generation {
				<-p.done
				return false
			}
			if !bytes.Contains(bytes.ToLower(sent), []byte("commit\x00")) {
				return true
			}
			if p.holding.CompareAndSwap(true, false) {
				<-p.done
				return false
			}
			if !p.resetting.Load() {
				return true
			}
			switch p.commits.Add(1) % 3 {
			case 0:
				p.before.Add(1)
				return false
			case 1:
				committing.Store(true)
			}
			return true
		})
		ended <- struct{}{}
	})
	both.Go(func() {
		copyWhile(client, server, func([]byte) bool {
			if committing.Load() {
				p.after.Add(1)
				return false
			}
			return true
		})
		ended <- struct{}{}
	})
	<-ended
	reset(client) // both copies end
	reset(server)
}

// copyWhile copies as long as next allows it.
func copyWhile(to io.Writer, from io.Reader, next func([]byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !next(buffer[:n]) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset closes a connection without taking leave.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

func urlOf(port int, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s", owner, escaped, port, database)
}
