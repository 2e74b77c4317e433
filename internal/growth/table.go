package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// table prints the figures by size, and how many times those of the first size they are.
func table(out io.Writer, sizes []int, all []figures) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "payments\t")
	for _, size := range sizes {
		fmt.Fprintf(w, "%s\t\t", number(float64(size)))
	}
	fmt.Fprintln(w)
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t", row.name)
		for i, measured := range all {
			fmt.Fprintf(w, "%s\t", row.show(measured[row.name]))
			if i == 0 {
				fmt.Fprint(w, "1 ×\t")
			} else {
				fmt.Fprintf(w, "%s ×\t", short(measured[row.name]/all[0][row.name]))
			}
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// short leaves three digits.
func short(f float64) string {
	text := strconv.FormatFloat(f, 'g', 3, 64)
	whole, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text // not a number: nothing was there at the first size
	}
	return strconv.FormatFloat(whole, 'f', -1, 64)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', 0, 64) }

func size(f float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 {
			return short(f) + " " + unit
		}
		f /= 1000
	}
	return short(f) + " TB"
}

func duration(f float64) string {
	d := time.Duration(f)
	switch {
	case d < time.Millisecond:
		return short(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return short(float64(d)/float64(time.Millisecond)) + " ms"
	default:
		return short(d.Seconds()) + " s"
	}
}
