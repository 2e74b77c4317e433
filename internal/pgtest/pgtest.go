// Package pgtest starts PostgreSQL servers for tests, from the server programs that the machine has. Where there
// are none, the tests are skipped and say so; CI installs them.
package pgtest

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	owner    = "owner"
	password = "se/cret%" //nolint:gosec // of a server that lives as long as a test; with characters that a URL escapes
	escaped  = "se%2Fcret%25"
)

// Passwords are the forms in which the password of the URLs must not be in a log.
var Passwords = []string{password, escaped}

// Server is a PostgreSQL server on a port of this machine's loopback address.
type Server struct {
	programs string // the directory of initdb and postgres
	data     string
	port     int

	guard *exec.Cmd // a shell that ends the server when this process ends
	stdin interface{ Close() error }

	mu        sync.Mutex
	databases int
	password  string // of the owner; empty: the one in the URLs
}

var shared struct {
	mu     sync.Mutex
	server *Server
}

// Shared returns the server that the tests of a package share. Its TestMain must call Stop.
func Shared(t testing.TB) *Server {
	t.Helper()
	programs := findPrograms(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		server, err := start(programs)
		if err != nil {
			t.Fatal(err)
		}
		shared.server = server
	}
	return shared.server
}

// Stop stops the shared server.
func Stop() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		shared.server.close()
		shared.server = nil
	}
}

// New starts a server for one test, which may do anything to it.
func New(t testing.TB) *Server {
	t.Helper()
	server, err := start(findPrograms(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.close)
	return server
}

// findPrograms skips the test where PostgreSQL is not installed.
func findPrograms(t testing.TB) string {
	t.Helper()
	if file, err := exec.LookPath("initdb"); err == nil {
		if file, err = filepath.EvalSymlinks(file); err == nil {
			return filepath.Dir(file)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian
	if len(found) == 0 {
		t.Skip("not run: PostgreSQL's server programs are not installed")
	}
	return filepath.Dir(found[len(found)-1])
}

func start(programs string) (_ *Server, err error) {
	s := &Server{programs: programs}
	if s.data, err = os.MkdirTemp(memory(), "pgtest-*"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	passwords := filepath.Join(s.data, "password")
	if err := os.WriteFile(passwords, []byte(password), 0o600); err != nil {
		return nil, err
	}
	for _, name := range []string{s.data, passwords} {
		if err := giveAway(name); err != nil {
			return nil, err
		}
	}
	initdb := s.command("initdb", "-D", filepath.Join(s.data, "db"), "-U", owner, "--pwfile", passwords, "-E", "UTF8",
		"--locale=C", "-A", "scram-sha-256", "-N")
	if output, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, output)
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// memory is a file system in memory, where there is one: it makes and drops databases in half the time.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// command runs a program of PostgreSQL, which refuses to run as root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, name), args...) //nolint:gosec // a test
	cmd.Dir = s.data
	cmd.SysProcAttr = asOther()
	return cmd
}

// Start starts the server and waits until it answers.
func (s *Server) Start() error {
	log, err := os.OpenFile(filepath.Join(s.data, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has it
	// The shell's input ends with this process, however it ends.
	script := `"$@" & server=$!; read -r _; kill -QUIT $server 2>/dev/null; kill -CONT $server 2>/dev/null; wait $server`
	s.guard = exec.Command("sh", //nolint:gosec // a test
		"-c", script, "sh", filepath.Join(s.programs, "postgres"), "-D", filepath.Join(s.data, "db"),
		"-p", strconv.Itoa(s.port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200",
		"-c", "shared_buffers=64MB")
	s.guard.Dir, s.guard.SysProcAttr = s.data, asOther()
	s.guard.Stdout, s.guard.Stderr = log, log
	if s.stdin, err = s.guard.StdinPipe(); err != nil {
		return err
	}
	if err := s.guard.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := s.query(context.Background(), "SELECT 1")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(s.data, "log"))
			return fmt.Errorf("the server does not start: %w\n%s", err, text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stop ends the server at once and in order, as an administrator does.
func (s *Server) Stop() { s.signal(syscall.SIGINT) }

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	for _, pid := range s.processes() {
		signalTo(pid, syscall.SIGKILL)
	}
	s.wait()
}

// Pause stops every process of the server, so that it answers nothing. Resume ends that.
func (s *Server) Pause() { s.signalAll(pauseSignal) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signalAll(resumeSignal) }

func (s *Server) signalAll(signal os.Signal) {
	for _, pid := range s.processes() {
		signalTo(pid, signal)
	}
}

func (s *Server) signal(signal os.Signal) {
	if processes := s.processes(); len(processes) > 0 {
		signalTo(processes[0], signal)
	}
	for deadline := time.Now().Add(10 * time.Second); s.processes() != nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.wait()
}

func signalTo(pid int, signal os.Signal) {
	if process, err := os.FindProcess(pid); err == nil {
		_ = process.Signal(signal)
	}
}

func (s *Server) wait() {
	if s.guard == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.guard.Wait()
	s.guard = nil
}

// processes are the server's, the one first that started the others.
func (s *Server) processes() []int {
	text, err := os.ReadFile(filepath.Join(s.data, "db", "postmaster.pid"))
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(text), "\n")
	server, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return nil
	}
	pids := []int{server}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, err := os.ReadFile(name) //nolint:gosec // below /proc
		if err != nil {
			continue
		}
		// pid (name) state parent …
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(server) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (s *Server) close() {
	s.Kill()
	_ = os.RemoveAll(s.data)
}

// NewDatabase makes an empty database and returns its URL.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	return s.create(t, "template0")
}

// CopyDatabase makes a copy of a database that nobody uses.
func (s *Server) CopyDatabase(t testing.TB, databaseURL string) string {
	t.Helper()
	return s.create(t, Name(databaseURL))
}

func (s *Server) create(t testing.TB, template string) string {
	t.Helper()
	s.mu.Lock()
	s.databases++
	name := fmt.Sprintf("test%d", s.databases)
	s.mu.Unlock()
	s.Exec(t, "CREATE DATABASE "+name+" TEMPLATE "+template)
	return s.URL(name)
}

// Name is the name of the database that a URL of this package leads to.
func Name(databaseURL string) string {
	return databaseURL[strings.LastIndexByte(databaseURL, '/')+1:]
}

// URL is that of one of the server's databases.
func (s *Server) URL(database string) string {
	return urlOf(s.port, database)
}

// Port is the server's.
func (s *Server) Port() int { return s.port }

// Exec runs a statement as the server's administrator.
func (s *Server) Exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	if err := s.query(context.Background(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Configure changes settings of the running server, such as "synchronous_commit = off".
func (s *Server) Configure(t testing.TB, settings ...string) {
	t.Helper()
	for _, setting := range settings {
		s.Exec(t, `ALTER SYSTEM SET `+setting)
	}
	s.Exec(t, `SELECT pg_reload_conf()`)
	time.Sleep(100 * time.Millisecond) // until the processes have noticed
}

// ExecIn runs a statement in a database as the server's administrator.
func (s *Server) ExecIn(t testing.TB, databaseURL, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(context.Background(), statement)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Read keeps a transaction open that has read something, until release is called.
func (s *Server) Read(t testing.TB, databaseURL, query string) (release func()) {
	t.Helper()
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err == nil {
		_, err = tx.Exec(query)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	release = sync.OnceFunc(func() { _ = errors.Join(tx.Rollback(), db.Close()) })
	t.Cleanup(release)
	return release
}

// Count runs a query for a number as the server's administrator.
func (s *Server) Count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	err := s.with(context.Background(), func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, query, args...).Scan(&n)
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *Server) query(ctx context.Context, statement string, args ...any) error {
	return s.with(ctx, func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, statement, args...)
		return err
	})
}

func (s *Server) with(ctx context.Context, f func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	config, err := pgx.ParseConfig(s.URL("postgres"))
	if err != nil {
		return err
	}
	config.Password = cmp.Or(s.password, password)
	config.RuntimeParams["default_transaction_read_only"] = "off"
	db := stdlib.OpenDB(*config)
	return errors.Join(f(ctx, db), db.Close())
}
