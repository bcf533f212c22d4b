package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// base is what a subject is built on: the bare driver, and where there is none, under
// "memory", the framework alone.
func base(store, via string) string {
	if store == "memory" && via != "ours" {
		return "nethttp"
	}
	return "bare"
}

// difference is that of two medians. Its spread is the sum of theirs, in the same unit: so far
// away it may be in another run.
type difference struct {
	median, spread float64
	n              int
}

// above returns what a subject takes more than what it is built on; n is 0 if one of
// them was not measured.
func (res *results) above(store, c, via, unit string) difference {
	own := res.get(request(store, c, "1", via), unit)
	under := res.get(request(store, c, "1", base(store, via)), unit)
	if own.n == 0 || under.n == 0 {
		return difference{}
	}
	return difference{own.median - under.median, own.spread*own.median + under.spread*under.median, min(own.n, under.n)}
}

// text is the difference in another unit, with the spread if there is one.
func (d difference) text(by float64) string {
	switch {
	case d.n == 0:
		return "-"
	case d.spread == 0:
		return signed(d.median*by, short)
	default:
		return signed(d.median*by, short) + " ±" + short(d.spread*by)
	}
}

// writeCosts writes what a session costs: the difference to the same requests without.
func writeCosts(w io.Writer, res *results) {
	vias := []string{"ours", "scs", "scs-sliding"}
	var rows strings.Builder
	for _, store := range allStores {
		for _, c := range []string{"read", "set", "new", "login"} {
			if res.above(store, c, "ours", "ns/op").n == 0 {
				continue
			}
			fmt.Fprintf(&rows, "| %s | %s |", store, caseNames[c])
			under := res.get(request(store, c, "1", "bare"), "ns/op")
			fmt.Fprintf(&rows, " %s", short(under.median/1000))
			if f := res.get(request(store, c, "1", base(store, "scs")), "ns/op"); store == "memory" && f.n > 0 {
				fmt.Fprintf(&rows, "; %s", short(f.median/1000))
			}
			fmt.Fprint(&rows, " |")
			for _, via := range vias {
				fmt.Fprintf(&rows, " %s |", res.above(store, c, via, "ns/op").text(1e-3))
			}
			for _, via := range vias {
				allocs, bytes := res.above(store, c, via, "allocs/op"), res.above(store, c, via, "B/op")
				if allocs.n == 0 {
					fmt.Fprint(&rows, " - |")
					continue
				}
				fmt.Fprintf(&rows, " %s, %s |", signed(allocs.median, short), signed(bytes.median, count))
			}
			fmt.Fprintln(&rows)
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprint(w, "\n### What a session costs\n\nOne goroutine; what comes on top of the bare request, in microseconds. A difference that is smaller than its spread (±) says nothing.\n\n")
	fmt.Fprintln(w, "| store | request | bare | ours | scs | scs, sliding | ours: allocations, bytes | scs: allocations, bytes | scs, sliding: allocations, bytes |")
	fmt.Fprintf(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|\n%s", rows.String())
}

// signed is a difference.
func signed(n float64, format func(float64) string) string {
	if n < 0 {
		return "-" + format(-n)
	}
	return "+" + format(n)
}

// load is the name of a benchmark of 10,000 requests.
func load(store, c, via string) string {
	return fmt.Sprintf("Load/store=%s/case=%s/via=%s", store, c, via)
}

// writeLoads writes how long visitors wait, and what the processors spend.
func writeLoads(w io.Writer, res *results) {
	writeLoad(w, res, "How long a visitor waits", "64 goroutines: half of the requests take at most the first figure, 99 of 100 the second, in microseconds.",
		func(name string) string {
			p50, p99 := res.get(name, "p50-us"), res.get(name, "p99-us")
			return or(p50, "%s", short(p50.median)+" / "+count(p99.median))
		})
	writeLoad(w, res, "Processor time", "CPU seconds of 10,000 requests by 64 goroutines: of the app and of the server, where there is one.",
		func(name string) string {
			app, server := res.get(name, "app-cpu-s"), res.get(name, "server-cpu-s")
			if app.n == 0 || server.median == 0 {
				return or(app, "%.3f", app.median)
			}
			// The sum is that of what is printed.
			ms := func(f float64) float64 { return math.Round(f * 1000) }
			a, s := ms(app.median), ms(server.median)
			return fmt.Sprintf("%.3f + %.3f = %.3f", a/1000, s/1000, (a+s)/1000)
		})
}

func writeLoad(w io.Writer, res *results, title, about string, cell func(name string) string) {
	var rows strings.Builder
	for _, store := range allStores {
		for _, c := range []string{"read", "set"} {
			if res.get(load(store, c, "ours"), "p50-us").n == 0 {
				continue
			}
			fmt.Fprintf(&rows, "| %s | %s |", store, caseNames[c])
			for _, via := range subjects {
				fmt.Fprintf(&rows, " %s |", cell(load(store, c, via)))
			}
			fmt.Fprintln(&rows)
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(w, "\n### %s\n\n%s\n\n", title, about)
	fmt.Fprintf(w, "| store | request | ours | scs | scs, sliding | gorilla | bare |\n|---|---|--:|--:|--:|--:|--:|\n%s", rows.String())
}
