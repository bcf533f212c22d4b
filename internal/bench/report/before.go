package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// comparison is of the same benchmarks with the library as it was and as it is, which
// were run in turns.
type comparison struct {
	commit      string // as it was
	before, now *results
}

// write writes what both have.
func (c *comparison) write(w io.Writer) {
	var (
		rows   strings.Builder
		ratios []float64
	)
	for _, name := range c.before.names {
		was, is := c.before.get(name, "ns/op"), c.now.get(name, "ns/op")
		if was.n == 0 || is.n == 0 || was.median == 0 || is.median == 0 {
			continue
		}
		ratio := was.median / is.median
		ratios = append(ratios, ratio)
		fmt.Fprintf(&rows, "| %s | %s | %s | %.2f |", plain(name), was.scaled(1e-3), is.scaled(1e-3), ratio)
		for _, unit := range []string{"allocs/op", "B/op"} {
			fmt.Fprintf(&rows, " %s |", change(c.before.get(name, unit), c.now.get(name, unit)))
		}
		fmt.Fprintln(&rows)
	}
	if len(ratios) == 0 {
		return
	}
	f := summary(ratios)
	fmt.Fprintf(w, "\n### The commit before (%s)\n\n", c.commit)
	fmt.Fprintf(w, "Both in turns, this library alone. Of %d benchmarks the median is %.2f times as fast as before, the slowest %.2f, the fastest %.2f.\n",
		len(ratios), f.median, slices.Min(ratios), slices.Max(ratios))
	fmt.Fprint(w, "\n<details><summary>All of them</summary>\n\n")
	fmt.Fprint(w, "| benchmark | before, us | now, us | times as fast | allocations | bytes |\n|---|--:|--:|--:|--:|--:|\n")
	fmt.Fprintf(w, "%s\n</details>\n", rows.String())
}

// change is a figure before and now, or both at once.
func change(was, is figure) string {
	switch {
	case was.n == 0 || is.n == 0:
		return "-"
	case count(was.median) == count(is.median):
		return count(is.median)
	default:
		return count(was.median) + " → " + count(is.median)
	}
}

// plain is the name of a benchmark in words, where it has values.
func plain(name string) string {
	p := parts(name)
	if p["store"] == "" || p["case"] == "" {
		return name
	}
	text := p["store"] + ", " + p["case"]
	if p["session"] != "" {
		text += " of " + p["session"]
	}
	if p["g"] != "" {
		text += " at " + p["g"]
	}
	return text
}
