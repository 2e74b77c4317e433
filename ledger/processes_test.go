package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// child is this test binary as a second process on the same database.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// startChild starts a second process and waits until it is ready.
func startChild(t testing.TB, role string, location ledger.Options) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), "LEDGER_TEST_ROLE="+role, "LEDGER_TEST_PATH="+location.Path, "LEDGER_TEST_URL="+location.URL)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(stdout)
	must(t, c.cmd.Start())
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	})
	if !c.lines.Scan() || c.lines.Text() != "ready" {
		t.Fatalf("the second process said %q", c.lines.Text())
	}
	return c
}

// proceed lets the second process begin.
func (c *child) proceed() { c.stdin.Close() }

// rest returns what the second process still says.
func (c *child) rest() []string {
	var lines []string
	for c.lines.Scan() {
		lines = append(lines, c.lines.Text())
	}
	return lines
}

// secondProcess is what the second process does.
func secondProcess(role string) error {
	l := ledger.New(ledger.Options{Path: os.Getenv("LEDGER_TEST_PATH"), URL: os.Getenv("LEDGER_TEST_URL")})
	ctx := context.Background()
	if role != "keys" {
		if _, err := l.Open(ctx); err != nil {
			return err
		}
		defer l.Close()
	}
	waitForStdin()
	if role == "payments" {
		return payUntilKilled(l)
	}
	for _, line := range race(l, role, "child") {
		fmt.Println(line)
	}
	return l.Close()
}

func waitForStdin() {
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// raceOf is what each of the 64 callers does. It returns what it got, or nothing.
var raceOf = map[string]func(ctx context.Context, l *ledger.Ledger, name string) (string, error){
	"devices": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		return name, l.AddDevice(ctx, ledger.PurchaseID("a"), ledger.Device{ID: name})
	},
	"one device": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		return name, l.AddDevice(ctx, ledger.PurchaseID("a"), ledger.Device{ID: "the same"})
	},
	"claim": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		return name, l.Claim(ctx, ledger.PurchaseID("a"), ledger.Device{ID: name})
	},
	"downloads": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		_, err := l.OpenDownload(ctx, ledger.PurchaseID("a"), 0) // over at once, so that each opens its own
		return name, err
	},
	"window": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		ends, err := l.OpenDownload(ctx, ledger.PurchaseID("a"), 24*time.Hour)
		return ends.String(), err
	},
	"extensions": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		p := extension(name, "a")
		p.PaidAt = time.Now()
		recorded, err := l.RecordPayment(ctx, p)
		for errors.Is(err, ledger.ErrUnavailable) && ctx.Err() == nil { // a busy file: Axra sends it again
			recorded, err = l.RecordPayment(ctx, p)
		}
		return recorded.Purchase.ID, err
	},
	"payment": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		p := payment("b", "p", "q")
		p.PaidAt = time.Now()
		recorded, err := l.RecordPayment(ctx, p)
		return fmt.Sprint(recorded.New), err
	},
	"keys": func(ctx context.Context, l *ledger.Ledger, name string) (string, error) {
		if _, err := l.Open(ctx); err != nil {
			return "", err
		}
		set, err := l.ChangeKeys(ctx, func(set token.KeySet) ([]token.StoredKey, error) {
			if len(set.Keys) > 0 {
				return nil, nil
			}
			return []token.StoredKey{{ID: name, Algorithm: "HS256", Secret: []byte(name), CreatedAt: time.Now(), SignFrom: time.Now()}}, nil
		})
		if err != nil {
			return "", err
		}
		return set.Installation + " " + set.Keys[0].ID, nil
	},
}

// race lets 32 callers do the same thing at once and returns what they got.
func race(l *ledger.Ledger, role, process string) []string {
	var mu sync.Mutex
	var got []string
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			text, err := raceOf[role](ctx, l, fmt.Sprint(process, "-", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				got = append(got, text)
			case !errors.Is(err, ledger.ErrNoneLeft):
				got = append(got, "error: "+err.Error())
			}
		})
	}
	callers.Wait()
	return got
}

func TestTwoProcessesRaceSixtyFourFold(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		for _, test := range []struct {
			role     string
			want     int // successful callers
			distinct int // different answers
		}{
			{"devices", 3, 3},
			{"one device", 64, 64},
			{"claim", 1, 1},
			{"downloads", 5, 5},
			{"window", 64, 1},
			{"extensions", 64, 1},
			{"payment", 64, 2},
			{"keys", 64, 1}, // K4
		} {
			t.Run(test.role, func(t *testing.T) {
				location := on.empty(t)
				l := ledger.New(location)
				defer l.Close()
				if test.role != "keys" {
					prepareRace(t, l)
				}
				c := startChild(t, test.role, location)
				c.proceed()
				got := race(l, test.role, "parent")
				got = append(got, c.rest()...)
				counts := map[string]int{}
				for _, text := range got {
					if strings.HasPrefix(text, "error") {
						t.Error(text)
					}
					counts[text]++
				}
				if len(got) != test.want || len(counts) != test.distinct {
					t.Errorf("%d callers got %d different answers, want %d and %d: %v", len(got), len(counts), test.want, test.distinct, counts)
				}
				checkRace(t, l, test.role, counts)
			})
		}
	})
}

func prepareRace(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	ctx := context.Background()
	must(t, errorOf(l.Open(ctx)))
	must(t, errorOf(l.ChangeKeys(ctx, noChange)))
	p := payment("a")
	p.PaidAt, p.Terms.Downloads = time.Now(), 5
	must(t, errorOf(l.RecordPayment(ctx, p)))
}

// checkRace looks at what the ledger says afterwards.
func checkRace(t *testing.T, l *ledger.Ledger, role string, counts map[string]int) {
	t.Helper()
	if role == "keys" {
		set, err := l.Keys(context.Background())
		if err != nil || len(set.Keys) != 1 {
			t.Errorf("the ledger has %d keys, %v", len(set.Keys), err)
		}
		return
	}
	holding, err := l.Holding(context.Background(), ledger.PurchaseID("a"))
	if err != nil {
		t.Fatal(err)
	}
	switch role {
	case "devices":
		for _, id := range holding.DeviceIDs {
			if counts[id] != 1 {
				t.Errorf("%s is a device, but was not told so", id)
			}
		}
	case "one device":
		if len(holding.DeviceIDs) != 1 {
			t.Errorf("%d devices, want 1", len(holding.DeviceIDs))
		}
	case "downloads", "window":
		want := map[string]int{"downloads": 5, "window": 1}[role]
		if holding.DownloadsUsed != want {
			t.Errorf("%d downloads are used, want %d", holding.DownloadsUsed, want)
		}
	case "extensions":
		if got, want := holding.EndsAt.Sub(holding.StartsAt), 65*30*24*time.Hour; got != want {
			t.Errorf("the purchase lasts %s, want %s", got, want)
		}
	case "payment":
		if counts["true"] != 1 {
			t.Errorf("%d callers had a new payment, want 1", counts["true"])
		}
	}
}

// payUntilKilled says which payments were acknowledged.
func payUntilKilled(l *ledger.Ledger) error {
	var payers sync.WaitGroup
	for payer := range 16 {
		payers.Go(func() {
			for i := range 100_000 {
				p := payment(fmt.Sprintf("%d-%d-%d", os.Getpid(), payer, i))
				if _, err := l.RecordPayment(context.Background(), p); err != nil {
					return
				}
				os.Stdout.WriteString(p.SessionID + "\n")
			}
		})
	}
	payers.Wait()
	return errors.New("nobody killed this process")
}

func TestK1AKillLosesNoAcknowledgedPayment(t *testing.T) {
	onEach(t, func(t *testing.T, on backend) {
		w := newWorld(t, on)
		for round := range 4 {
			c := startChild(t, "payments", w.location)
			c.proceed()
			if !c.lines.Scan() {
				t.Fatal("the second process acknowledged nothing")
			}
			acknowledged := []string{c.lines.Text()}
			time.AfterFunc(time.Duration(37*round)*time.Millisecond, func() { c.cmd.Process.Kill() })
			acknowledged = append(acknowledged, c.rest()...)
			for _, session := range acknowledged {
				if _, err := w.HoldingOfSession(t.Context(), session); err != nil {
					t.Fatalf("%s was acknowledged: %v", session, err)
				}
			}
		}
	})
}

func TestD5AnotherProgramHoldsTheWriteLock(t *testing.T) {
	onEachWorld(t, func(t *testing.T, w world) {
		id := w.pay(t, payment("a"))
		release := holdWriteLock(t, w.location)

		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := w.RecordPayment(ctx, payment("b"))
		wantError(t, "a webhook with a deadline", err, ledger.ErrUnavailable)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("its error took %s", took)
		}
		began = time.Now()
		for range 100 {
			_, err = w.Holding(t.Context(), id)
			wantError(t, "a look-up", err, nil)
		}
		w.poll(t, ledger.Position{})
		if took := time.Since(began); took > 10*time.Second { // to wait for the lock would take 50
			t.Errorf("100 look-ups and a poll took %s", took)
		}
		began = time.Now()
		_, err = w.RecordPayment(t.Context(), payment("c"))
		wantError(t, "a webhook without a deadline", err, ledger.ErrUnavailable)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("its error took %s", took)
		}
		if w.Err() == nil {
			t.Error("the ledger can be sold from")
		}
		release()
		w.poll(t, ledger.Position{})
		w.pay(t, payment("b"))
		if err := w.Err(); err != nil {
			t.Errorf("after a payment the ledger says %v", err)
		}
	})
}
