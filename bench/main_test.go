package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// roleExtra is a Caddy from the command line.
const roleExtra = "extra"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case roleExtra:
		exit(play(roleCaddy, os.Args[len(os.Args)-1:], os.Stdin))
	default:
		exit(play(role, os.Args[1:], os.Stdin))
	}
}

// tiny is the smallest measurement of everything that is named.
func tiny(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parse(append([]string{
		"-pairs", "2", "-each", "60ms", "-sizes", "1KiB", "-tokens", "40", "-sessions", "10", "-flood", "500", "-payments", "20,40", "-starts", "1", "-dir", t.TempDir(),
	}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.warmUp, o.settle, o.asXcaddy = 20*time.Millisecond, time.Millisecond, false
	return o
}

// Each section measures all that it promises, and leaves nothing behind.
func TestEachSectionIsMeasured(t *testing.T) {
	rows := map[string][]string{
		"paid":     {"none", "no-op", "axra_paywall-HS256", "axra_paywall-EdDSA", "axra_paywall-free-page", "forward_auth", "golang-jwt-HS256", "golang-jwt-EdDSA"},
		"unpaid":   {"no navigation (402)", "navigation, checkout open", "fresh navigation", "… one bare", "… the rest"},
		"flood":    {"visitors who have paid", "the flood itself"},
		"visitors": {"HS256", "EdDSA"},
		"webhook":  {"20, 1", "20, 32", "40, 1", "40, 32", "32 connections against 1, 20 payments", "40 payments against 20, rate with 1", "40 payments against 20, time of a redemption"},
		"cost":     {"without, once more", "built in", "with a gate"},
	}
	for _, s := range sections {
		t.Run(s.name, func(t *testing.T) {
			o := tiny(t, "-only", s.name)
			var out bytes.Buffer
			if err := measure(t.Context(), o, &out); err != nil {
				t.Fatal(err)
			}
			for _, row := range rows[s.name] {
				if !strings.Contains(out.String(), "\n| "+row) {
					t.Errorf("no row %q", row)
				}
			}
			for _, bad := range []string{"NaN", "Inf", "| 0.00 ", o.dir} {
				if strings.Contains(out.String(), bad) {
					t.Errorf("%q is printed:\n%s", bad, out.String())
				}
			}
			mustBeGone(t, o)
		})
	}
}

// Who interrupts it finds no process and no file left of it.
func TestAnInterruptedBenchLeavesNothing(t *testing.T) {
	for _, s := range []string{"paid", "flood", "webhook", "cost"} {
		t.Run(s, func(t *testing.T) {
			o := tiny(t, "-only", s, "-pairs", "1000")
			ctx, cancel := context.WithCancel(t.Context())
			o.say = writer(func() { time.AfterFunc(50*time.Millisecond, cancel) }) // amid the work
			if err := measure(ctx, o, io.Discard); err == nil || ctx.Err() == nil {
				t.Errorf("it ended with %v", err)
			}
			mustBeGone(t, o)
		})
	}
}

func mustBeGone(t *testing.T, o options) {
	t.Helper()
	left, err := os.ReadDir(o.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	children, err := self.Children()
	if err == nil && len(children) > 0 {
		t.Errorf("still running: %v", children)
	}
}

type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

// An answer that is not what the visitor should get is no figure but an error.
func TestAWrongAnswerEndsTheRun(t *testing.T) {
	b, err := newBench(tiny(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.stop()
	s, err := b.openAxra(t.Context(), "HS256", "", "")
	if err != nil {
		t.Fatal(err)
	}
	s.cookie = strings.Replace(s.cookie, ".", ".x", 1)
	_, err = b.compare(t.Context(), s, s.paid(small), s, s.paid(small), throughput)
	if err == nil || !strings.Contains(err.Error(), "402") {
		t.Errorf("a visitor with an invalid token is measured: %v", err)
	}
}

func TestStatusAndLengthOfAnAnswerAreChecked(t *testing.T) {
	b, err := newBench(tiny(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.stop()
	base, serve, err := b.listen()
	if err != nil {
		t.Fatal(err)
	}
	serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	for _, c := range []struct {
		status, length int
		fits           bool
	}{{200, 5, true}, {200, -1, true}, {200, 6, false}, {402, 5, false}, {402, -1, false}} {
		l, err := newLoad(strings.TrimPrefix(base, "http://"), 1, always(get("localhost", "/"), c.status, c.length))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = l.run(t.Context(), time.Millisecond); (err == nil) != c.fits {
			t.Errorf("%d bytes with status %d: %v", c.length, c.status, err)
		}
		l.close()
	}
}

// Another gate is a Caddy and a Caddyfile, without a line of Go.
func TestAnotherGateIsAddedOnTheCommandLine(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(readme), "```caddyfile\n")
	example, _, _ = strings.Cut(example, "```")
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(roleVariable, roleExtra) // what is not started in a role
	o := tiny(t, "-only", "paid", "-extra", "mine="+self+","+file+",ticket=1", "-gates", "mine")
	var out bytes.Buffer
	if err := measure(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| mine | ") {
		t.Error(out.String())
	}
	o = tiny(t, "-only", "paid", "-extra", "mine="+self+","+file+",ticket=2", "-gates", "mine")
	if err := measure(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a visitor without the ticket is measured: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args            string
		sections, gates []string
		sizes           []int
	}{
		{"", []string{"paid", "unpaid", "flood", "visitors", "webhook", "cost"},
			[]string{"none", "no-op", "axra_paywall-HS256", "axra_paywall-EdDSA", "axra_paywall-free-page", "forward_auth", "golang-jwt-HS256", "golang-jwt-EdDSA"}, []int{1024, 102400}},
		{"-only cost,paid -gates forward_auth -sizes 2KiB", []string{"cost", "paid"}, []string{"forward_auth"}, []int{2048}},
		{"-only paid -extra a=b,c -gates none,a", []string{"paid"}, []string{"none", "a"}, []int{1024, 102400}},
		{"-only nothing", nil, nil, nil},
		{"-gates nothing", nil, nil, nil},
		{"-sizes 0B", nil, nil, nil},
		{"-sizes 1GiB", nil, nil, nil},
		{"-payments 0", nil, nil, nil},
		{"-payments many", nil, nil, nil},
		{"-pairs 0", nil, nil, nil},
		{"-each 0s", nil, nil, nil},
		{"-extra a", nil, nil, nil},
		{"paid", nil, nil, nil},
	} {
		o, err := parse(strings.Fields(c.args), io.Discard)
		if (err == nil) != (c.sections != nil) {
			t.Errorf("%s: %v", c.args, err)
		}
		if err != nil {
			continue
		}
		got := fmt.Sprint(names(o.sections, func(s section) string { return s.name }), names(o.gates, func(g gate) string { return g.name }), o.sizes)
		want := fmt.Sprint(strings.Join(c.sections, ","), strings.Join(c.gates, ","), c.sizes)
		if got != want {
			t.Errorf("%s: %s, not %s", c.args, got, want)
		}
	}
}

func TestRatios(t *testing.T) {
	thirty := make([]float64, 30)
	for i := range thirty {
		thirty[i] = float64(30 - i)
	}
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{[]float64{2}, "2.00 (2.00 – 2.00)"},
		{[]float64{3, 1, 2}, "2.00 (1.00 – 3.00)"},
		{[]float64{1, 2, 4, 5}, "3.00 (1.00 – 5.00)"},
		// The 10th and the 21st, as tables of the sign test say.
		{thirty, "15.50 (10.00 – 21.00)"},
		{nil, ""},
		{[]float64{1, 0}, ""},
		{[]float64{1, -1}, ""},
		{[]float64{1, nan()}, ""},
		{[]float64{1, 1 / zero()}, ""},
	} {
		before := slices.Clone(c.values)
		r, err := newRatio(c.values)
		if (err == nil) != (c.want != "") || err == nil && r.String() != c.want {
			t.Errorf("%v: %s %v, not %s", before, r, err, c.want)
		}
	}
}

func zero() float64 { return 0 }
func nan() float64  { return zero() / zero() }

func TestEachSideIsFirstInTurn(t *testing.T) {
	var order string
	say := func(word string) func() error { return func() error { order += word; return nil } }
	for i := range 4 {
		if err := inTurn(i, []func() error{say("a"), say("b"), say("c")}); err != nil {
			t.Fatal(err)
		}
		order += " "
	}
	if order != "abc bca cab abc " {
		t.Error(order)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}, {[]float64{7}, 7}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: %v", c.values, got)
		}
	}
}

// A load at a fixed rate sends at that rate, not as fast as it can.
func TestAPacedLoadKeepsItsRate(t *testing.T) {
	b, err := newBench(tiny(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.stop()
	base, serve, err := b.listen()
	if err != nil {
		t.Fatal(err)
	}
	serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	l, err := newLoad(strings.TrimPrefix(base, "http://"), 4, always(get("localhost", "/"), http.StatusOK, 5))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	r, err := l.paced(100).run(t.Context(), 200*time.Millisecond)
	if err != nil || r.requests < 4 || r.requests > 20 {
		t.Errorf("%d requests in 200 ms where at most 20 are due: %v", r.requests, err)
	}
}
