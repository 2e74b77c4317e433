// Command bench shows what a gate costs, beside the same site without one:
//
//	cd bench && go run .                       # everything: 45 minutes
//	go run . -only paid -gates none,axra_paywall-HS256 -pairs 10
//
// It prints the tables of docs/performance.md. README.md says what is measured, and how
// to add another gate.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
)

// options say what is measured, and for how long.
type options struct {
	sections []section
	gates    []gate
	extras   []extra
	pairs    int
	each     time.Duration // of one run
	warmUp   time.Duration
	sizes    []int  // of files, in bytes
	dir      string // in which the folder is made; decides on the file system
	tokens   int    // different ones that come by
	sessions int    // to which they belong
	flood    int    // requests a second
	starts   int
	settle   time.Duration // until memory is read
	postgres string        // URL of a server for the ledgers of the section webhook; empty: SQLite
	payments []int         // in the ledgers of the section webhook
	asXcaddy bool          // build as it does; the tests do not
	say      io.Writer
}

func (o options) progress(format string, args ...any) {
	fmt.Fprintf(o.say, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// section is a part of the bench.
type section struct {
	name    string
	measure func(*bench, context.Context) ([]*table, error)
}

var sections = []section{
	{"paid", (*bench).paid},
	{"unpaid", (*bench).unpaid},
	{"flood", (*bench).flooded},
	{"visitors", (*bench).visitors},
	{"webhook", (*bench).webhook},
	{"cost", (*bench).cost},
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		exit(play(role, os.Args[1:], os.Stdin))
	}
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = measure(ctx, o, os.Stdout)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// parse reads the command line.
func parse(args []string, say io.Writer) (options, error) {
	o := options{warmUp: time.Second, settle: 5 * time.Second, asXcaddy: true, say: say}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(say)
	only := flags.String("only", names(sections, func(s section) string { return s.name }), "sections to measure")
	which := flags.String("gates", "", "gates to measure in the section paid (default: all, "+names(o.allGates(), func(g gate) string { return g.name })+")")
	sizes := flags.String("sizes", "1KiB,100KiB", "sizes of the files")
	flags.IntVar(&o.pairs, "pairs", 30, "pairs of runs in each comparison")
	flags.DurationVar(&o.each, "each", time.Second, "time of one run")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "folder in which to make the bench's own, on the file system to be measured")
	flags.IntVar(&o.tokens, "tokens", 10*rememberedTokens, "different valid tokens that come by in the section visitors")
	flags.IntVar(&o.sessions, "sessions", 20_000, "purchases to which they belong")
	payments := flags.String("payments", "1000,1000000", "payments in the ledgers of the section webhook at first, the smallest first")
	flags.StringVar(&o.postgres, "postgres", "", "URL of a PostgreSQL server, as a user who may make databases: the section webhook measures it in place of SQLite")
	flags.IntVar(&o.flood, "flood", 2000, "requests a second of the flood")
	flags.IntVar(&o.starts, "starts", 15, "starts of each Caddy in the section cost")
	flags.Func("extra", "one more gate: NAME=EXECUTABLE,CADDYFILE,COOKIE; may be repeated", func(text string) error {
		e, err := parseExtra(text)
		o.extras = append(o.extras, e)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.pairs < 1 || o.each <= 0 || o.tokens < 1 || o.sessions < 1 || o.flood < 1 || o.starts < 1 {
		return o, errors.New("numbers must be above 0, and there are no arguments but flags")
	}
	var err, err2, err3, err4 error
	o.sections, err = choose(sections, *only, func(s section) string { return s.name })
	o.gates, err2 = choose(o.allGates(), *which, func(g gate) string { return g.name })
	o.sizes, err3 = parseSizes(*sizes)
	o.payments, err4 = parseCounts(*payments)
	return o, errors.Join(err, err2, err3, err4)
}

func names[T any](all []T, name func(T) string) string {
	var list []string
	for _, each := range all {
		list = append(list, name(each))
	}
	return strings.Join(list, ",")
}

// choose picks those that a list names, all if it is empty.
func choose[T any](all []T, list string, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	var chosen []T
	for each := range strings.SplitSeq(list, ",") {
		at := slices.IndexFunc(all, func(t T) bool { return name(t) == each })
		if at < 0 {
			return nil, fmt.Errorf("there is no %q: choose from %s", each, names(all, name))
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for each := range strings.SplitSeq(list, ",") {
		size, err := humanize.ParseBytes(each)
		if err != nil || size < 1 || size > maxAnswer {
			return nil, fmt.Errorf("a file of %q cannot be served: from 1B to 1MiB", each)
		}
		sizes = append(sizes, int(size))
	}
	return sizes, nil
}

func parseCounts(list string) ([]int, error) {
	var counts []int
	for each := range strings.SplitSeq(list, ",") {
		count, err := strconv.Atoi(each)
		if err != nil || count < 1 {
			return nil, fmt.Errorf("%q is no number of payments", each)
		}
		counts = append(counts, count)
	}
	return counts, nil
}

func sizeName(size int) string {
	return strings.Replace(humanize.IBytes(uint64(size)), ".0 ", " ", 1) //nolint:gosec // not negative
}

// measure prints the tables of the sections. Nothing of it is left at the end.
func measure(ctx context.Context, o options, out io.Writer) (err error) {
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	machine(out, o)
	for _, s := range o.sections {
		tables, err := s.measure(b, ctx)
		b.stop()
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.name, err), ctx.Err())
		}
		for _, t := range tables {
			t.print(out)
		}
	}
	return nil
}
