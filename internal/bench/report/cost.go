package main

import (
	"fmt"
	"io"
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

// above returns what a subject takes more than what it is built on; n is 0 if one of
// them was not measured.
func (res *results) above(store, c, via, unit string) figure {
	own := res.get(request(store, c, "1", via), unit)
	under := res.get(request(store, c, "1", base(store, via)), unit)
	if own.n == 0 || under.n == 0 {
		return figure{}
	}
	return figure{median: own.median - under.median, n: min(own.n, under.n)}
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
				us := res.above(store, c, via, "ns/op")
				fmt.Fprintf(&rows, " %s |", or(us, "%s", signed(us.median/1000, short)))
			}
			for _, via := range vias {
				allocs, bytes := res.above(store, c, via, "allocs/op"), res.above(store, c, via, "B/op")
				fmt.Fprintf(&rows, " %s |", or(allocs, "%s", signed(allocs.median, short)+", "+signed(bytes.median, count)))
			}
			fmt.Fprintln(&rows)
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprint(w, "\n### What a session costs\n\nOne goroutine; what comes on top of the bare request.\n\n")
	fmt.Fprintln(w, "| store | request | bare, us | ours, us | scs, us | sliding, us | ours: allocations, bytes | scs: allocations, bytes | sliding: allocations, bytes |")
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
			text := or(app, "%.2f", app.median)
			if server.median > 0 {
				text += fmt.Sprintf(" + %.2f = %.2f", server.median, app.median+server.median)
			}
			return text
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
