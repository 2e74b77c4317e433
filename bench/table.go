package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// table is what a section prints: Markdown.
type table struct {
	title string
	note  string // what the figures are
	head  []string
	rows  [][]string
}

func (t *table) add(name string, cells ...string) {
	t.rows = append(t.rows, append([]string{name}, cells...))
}

func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "\n### %s\n\n%s\n\n", t.title, t.note)
	fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
	}
}

// machine names what was measured on.
func machine(out io.Writer, o options) {
	interval := "95 % intervals"
	if o.pairs < pairsForInterval {
		interval = "the smallest and the largest, too few for an interval"
	}
	fmt.Fprintf(out, "%s/%s, %d CPUs, %s. Medians of %d pairs of alternating runs of %s each, with %s; %d connections, load and servers on one machine.\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), o.pairs, o.each, interval, connections)
}
