package pgtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SetReadOnly lets the server refuse writes, or take them again.
func (s *Server) SetReadOnly(t testing.TB, on bool) {
	t.Helper()
	statement := "ALTER SYSTEM RESET default_transaction_read_only"
	if on {
		statement = "ALTER SYSTEM SET default_transaction_read_only = on"
	}
	s.Exec(t, statement)
	s.Exec(t, "SELECT pg_reload_conf()")
}

// ChangePassword changes the password, so that no URL fits, or changes it back. Connections are ended.
func (s *Server) ChangePassword(t testing.TB, back bool) {
	t.Helper()
	changed := "another"
	if back {
		changed = password
	}
	s.Exec(t, "ALTER ROLE "+owner+" PASSWORD '"+changed+"'")
	s.password = changed
	s.TerminateConnections(t)
}

// TerminateConnections ends every connection but its own.
func (s *Server) TerminateConnections(t testing.TB) {
	t.Helper()
	s.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
}

// Copy copies the server's files, for Swap. It stops the server meanwhile.
func (s *Server) Copy(t testing.TB) {
	t.Helper()
	s.Stop()
	files := exec.Command("cp", "-a", "db", "copy")
	files.Dir, files.SysProcAttr = s.data, asOther()
	if output, err := files.CombinedOutput(); err != nil {
		t.Fatalf("copying the server: %v\n%s", err, output)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// Swap exchanges the files of the stopped server for those of the copy, or the other way round.
func (s *Server) Swap(t testing.TB) {
	t.Helper()
	for _, move := range [][2]string{{"db", "other"}, {"copy", "db"}, {"other", "copy"}} {
		if err := os.Rename(filepath.Join(s.data, move[0]), filepath.Join(s.data, move[1])); err != nil {
			t.Fatal(err)
		}
	}
}
