package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sweep is a number that a benchmark of requests was run with in several sizes. It
// becomes a table, and a picture of curves for each case.
type sweep struct {
	benchmark string // its first name
	key       string // of the number in the names of its benchmarks
	name      string // of what the number counts
	label     func(n float64) string
	file      string // of the pictures, without the case
}

var sweeps = []*sweep{
	{"Goroutines", "g", "goroutines", count, "bench-goroutines"},
	{"Size", "bytes", "size of the session", size, "bench-size"},
	{"Rows", "rows", "sessions in the store", thousands, "bench-rows"},
}

// sweepCases are the cases that they are run with.
var sweepCases = []string{"read", "set"}

// sweepSubjects are those that all stores have.
var sweepSubjects = []string{"ours", "scs", "scs-sliding", "bare"}

// point is a row of the table, which is a point of each curve.
type point struct {
	store   string
	session string // its shape, if there are several
	at      float64
	names   map[string]string // of the benchmarks, by case and subject
}

func (p *point) name(c, via string) string { return p.names[c+" "+via] }

// points returns what has been measured, in order.
func (s *sweep) points(res *results) []*point {
	var all []*point
	rows := make(map[string]*point)
	for _, name := range res.names {
		p := parts(name)
		at, err := strconv.ParseFloat(p[s.key], 64)
		if !strings.HasPrefix(name, s.benchmark+"/") || err != nil || !slices.Contains(sweepCases, p["case"]) {
			continue
		}
		row := fmt.Sprint(p["store"], " ", p["session"], " ", at)
		if rows[row] == nil {
			rows[row] = &point{p["store"], p["session"], at, make(map[string]string)}
			all = append(all, rows[row])
		}
		rows[row].names[p["case"]+" "+p["via"]] = name
	}
	order := func(p *point) int { return slices.Index(allStores, p.store) }
	slices.SortStableFunc(all, func(a, b *point) int {
		if d := order(a) - order(b); d != 0 {
			return d
		}
		return int(a.at - b.at)
	})
	return all
}

// writeSweeps writes each sweep: the pictures, of which the files go into a folder, and the
// table.
func writeSweeps(w io.Writer, res *results, dir string) error {
	for _, s := range sweeps {
		points := s.points(res)
		if len(points) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n### By %s\n", s.name)
		for _, c := range sweepCases {
			svg, err := picture(res, s, c, points)
			if err != nil {
				return err
			}
			if svg == nil {
				continue
			}
			file := s.file + "-" + c + ".svg"
			if err := os.WriteFile(filepath.Join(dir, file), svg, 0o600); err != nil {
				return err
			}
			fmt.Fprintf(w, "\n![%s](%s)\n", pictureTitle(s, c), file)
		}
		writePoints(w, res, s, points)
	}
	return nil
}

// writePoints writes the table, folded up, as the pictures say most of it.
func writePoints(w io.Writer, res *results, s *sweep, points []*point) {
	fmt.Fprintf(w, "\n<details><summary>Figures by %s</summary>\n\n", s.name)
	fmt.Fprintf(w, "| store | %s |", s.name)
	for _, c := range sweepCases {
		fmt.Fprintf(w, " %s: ours | scs | scs, sliding | bare | allocations, bytes: ours | scs |", c)
	}
	fmt.Fprintf(w, "\n|---|--:|%s\n", strings.Repeat("--:|", len(sweepCases)*(len(sweepSubjects)+2)))
	for _, p := range points {
		label := s.label(p.at)
		if p.session == "struct" {
			label += ", **a struct**"
		}
		fmt.Fprintf(w, "| %s | %s |", p.store, label)
		for _, c := range sweepCases {
			for _, via := range sweepSubjects {
				f := res.get(p.name(c, via), "ns/op")
				cell := "-"
				if f.n > 0 {
					cell = f.scaled(1e-3)
				}
				fmt.Fprintf(w, " %s |", cell)
			}
			fmt.Fprintf(w, " %s | %s |", memoryOf(res, p.name(c, "ours")), memoryOf(res, p.name(c, "scs")))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\n</details>\n")
}

// memoryOf is what an operation allocates: how often, and how many bytes.
func memoryOf(res *results, name string) string {
	allocs, bytes := res.get(name, "allocs/op"), res.get(name, "B/op")
	if allocs.n == 0 {
		return "-"
	}
	return fmt.Sprintf("%s, %s", short(allocs.median), count(bytes.median))
}

// count is a whole number, with commas.
func count(n float64) string {
	text := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// thousands is a number of many, such as 10 k and 1 M.
func thousands(n float64) string {
	switch {
	case n >= 1e6:
		return short(n/1e6) + " M"
	case n >= 1e3:
		return short(n/1e3) + " k"
	default:
		return short(n)
	}
}

// size is a number of bytes.
func size(n float64) string {
	if n >= 1000 {
		return short(n/1000) + " kB"
	}
	return short(n) + " B"
}
