package ledger_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
	"github.com/caddy-axra/paywall/ledger"
)

// timedLog keeps the messages of a logger with the time of a clock.
type timedLog struct {
	clock *clock
	mu    sync.Mutex
	lines []timedLine
}

type timedLine struct {
	at   time.Time
	text string
}

func (l *timedLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, text, _ := strings.Cut(string(line), `msg="`)
	text, _, _ = strings.Cut(text, `"`)
	l.lines = append(l.lines, timedLine{l.clock.now(), text})
	return len(line), nil
}

// A database that comes and goes every second is logged once a minute, and the last line is true.
func TestADatabaseThatFlapsIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	databaseURL := server.NewDatabase(t)
	clock := newClock()
	log := &timedLog{clock: clock}
	l := ledger.New(ledger.Options{URL: databaseURL, Now: clock.now, Logger: slog.New(slog.NewTextHandler(log, nil))})
	defer l.Close()
	if _, err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := pgtest.Name(databaseURL)
	flap := func(isDown bool) {
		t.Helper()
		server.Exec(t, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %v", name, !isDown))
		if isDown {
			server.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
		}
		clock.advance(time.Second)
		for range 200 { // a connection is not made again at once
			if _, err := l.Poll(t.Context(), ledger.Position{}); (err != nil) == isDown {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("down: %v, and it is not noticed", isDown)
	}
	for range 4 {
		flap(true)
		flap(false)
	}
	clock.advance(50 * time.Second)
	for range 5 { // it stays away
		flap(true)
	}
	log.wantLast(t, "cannot be used")
	flap(false)
	clock.advance(time.Minute)
	flap(false)
	log.wantLast(t, "can be used again")
	log.wantOnceAMinute(t)
	if len(log.lines) != 4 {
		t.Errorf("%d lines: %v", len(log.lines), log.lines)
	}
}

func (l *timedLog) wantLast(t *testing.T, phrase string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 || !strings.Contains(l.lines[len(l.lines)-1].text, phrase) {
		t.Errorf("the last line is not %q: %v", phrase, l.lines)
	}
}

func (l *timedLog) wantOnceAMinute(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[string]time.Time)
	for _, line := range l.lines {
		if before, ok := last[line.text]; ok && line.at.Sub(before) < time.Minute {
			t.Errorf("%q again after %s", line.text, line.at.Sub(before))
		}
		last[line.text] = line.at
	}
}

// A write that fails now and then is logged once a minute, too.
func TestWritesThatFlapAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	clock := newClock()
	log := &timedLog{clock: clock}
	l := ledger.New(ledger.Options{Path: filepath.Join(t.TempDir(), "ledger.db"), Now: clock.now, Logger: slog.New(slog.NewTextHandler(log, nil))})
	defer l.Close()
	if _, err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		l.NoteWrite(errors.New("disk full"))
		clock.advance(time.Second)
		l.NoteWrite(nil)
		clock.advance(time.Second)
	}
	log.wantOnceAMinute(t)
	clock.advance(time.Minute)
	if _, err := l.Poll(t.Context(), ledger.Position{}); err != nil {
		t.Fatal(err)
	}
	log.wantLast(t, "can be written again")
}
