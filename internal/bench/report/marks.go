package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// mark is something that is to be reached.
type mark struct {
	what    string
	limit   float64
	atLeast bool // else at most
	unit    string
	figures []labelled
}

// labelled is a figure of a mark, and which one.
type labelled struct {
	label string
	value float64
}

func (m *mark) ok(f labelled) bool {
	if m.atLeast {
		return f.value >= m.limit
	}
	return f.value <= m.limit
}

// passed tells whether all figures are good. Without any nothing is shown.
func (m *mark) passed() bool {
	for _, f := range m.figures {
		if !m.ok(f) {
			return false
		}
	}
	return len(m.figures) > 0
}

// worst returns the figure that is nearest to the limit, or beyond it.
func (m *mark) worst() labelled {
	worst := m.figures[0]
	for _, f := range m.figures[1:] {
		if (f.value < worst.value) == m.atLeast {
			worst = f
		}
	}
	return worst
}

func (m *mark) want() string {
	sign, limit := "<=", fmt.Sprintf("%.3g", m.limit)
	if m.atLeast {
		sign = ">="
	}
	if m.limit >= 1000 {
		limit = count(m.limit)
	}
	return fmt.Sprintf("%s %s%s", sign, limit, m.unit)
}

// got is the worst figure, or all that miss the mark.
func (m *mark) got() string {
	if len(m.figures) == 0 {
		return "not measured"
	}
	var missed []string
	for _, f := range m.figures {
		if !m.ok(f) {
			missed = append(missed, fmt.Sprintf("%s%s (%s)", m.digits(f), m.unit, f.label))
		}
	}
	if len(missed) > 0 {
		return strings.Join(missed, "; ")
	}
	worst := m.worst()
	return fmt.Sprintf("%s%s at worst (%s)", short(worst.value), m.unit, worst.label)
}

// digits is a figure that misses the mark, with so many digits that one sees it: 0.896 and
// not 0.90 where the limit is 0.9.
func (m *mark) digits(f labelled) string {
	text := short(f.value)
	for digits := 1; digits <= 9; digits++ {
		if shown, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64); err != nil || !m.ok(labelled{value: shown}) {
			break
		}
		text = strconv.FormatFloat(f.value, 'f', digits, 64)
	}
	return text
}

func (m *mark) verdict() string {
	if m.passed() {
		return "pass"
	}
	return "FAIL"
}

func writeMarks(w io.Writer, all []*mark) {
	fmt.Fprint(w, "\n### Marks\n\n| what | mark | | figure |\n|---|--:|---|---|\n")
	for _, m := range all {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", m.what, m.want(), m.verdict(), m.got())
	}
}

func printMarks(w io.Writer, all []*mark) {
	for _, m := range all {
		fmt.Fprintf(w, "%s  %s: %s: %s\n", m.verdict(), m.what, m.want(), m.got())
	}
}

// ratio adds the time of a peer by that of this library, for each store, case and
// number of goroutines that there is, such as "redis, read at 64".
func (m *mark) ratio(res *results, via string, stores, cases, gs []string) *mark {
	for _, store := range stores {
		for _, c := range cases {
			for _, g := range gs {
				ours := res.get(request(store, c, g, "ours"), "ns/op")
				peer := res.get(request(store, c, g, via), "ns/op")
				if ours.n > 0 && peer.n > 0 {
					label := fmt.Sprintf("%s, %s at %s", store, c, g)
					m.figures = append(m.figures, labelled{label, peer.median / ours.median})
				}
			}
		}
	}
	return m
}

// figure adds one of a benchmark, as it is.
func (m *mark) figure(res *results, name, unit string, scale float64) *mark {
	if f := res.get(name, unit); f.n > 0 {
		m.figures = append(m.figures, labelled{name, f.median * scale})
	}
	return m
}

// quotient adds the time of a benchmark by that of another one.
func (m *mark) quotient(res *results, name, by string) *mark {
	f, g := res.get(name, "ns/op"), res.get(by, "ns/op")
	if f.n > 0 && g.n > 0 {
		m.figures = append(m.figures, labelled{name, f.median / g.median})
	}
	return m
}

// units adds one figure of a benchmark by another one of it.
func (m *mark) units(res *results, name, unit, by string) *mark {
	f, g := res.get(name, unit), res.get(name, by)
	if f.n > 0 && g.n > 0 {
		m.figures = append(m.figures, labelled{name, f.median / g.median})
	}
	return m
}

// above adds what a request in memory takes more than one without a session.
func (m *mark) above(res *results, c, unit string) *mark {
	if f := res.above("memory", c, "ours", unit); f.n > 0 {
		m.figures = append(m.figures, labelled{"memory, " + c + " at 1", f.median})
	}
	return m
}

var (
	allStores = []string{"memory", "file", "sqlite", "redis", "postgres", "mysql"}
	onServers = []string{"redis", "postgres", "mysql"}
	few       = []string{"1", "64"}
	crowded   = []string{"8", "64"}
)

// marks are those of the comparison, and those of single parts.
func marks(res *results) []*mark {
	least := func(what string, limit float64) *mark {
		return &mark{what: what, limit: limit, unit: "x", atLeast: true}
	}
	most := func(what string, limit float64, unit string) *mark {
		return &mark{what: what, limit: limit, unit: unit}
	}
	const nsToMicros = 1e-3
	all := []*mark{
		least("read, against scs with sliding expiry", 2.5).
			ratio(res, "scs-sliding", []string{"sqlite", "redis", "postgres", "mysql"}, []string{"read"}, few),
		least("MySQL: read at one goroutine, against scs with sliding expiry", 2.5).
			ratio(res, "scs-sliding", []string{"mysql"}, []string{"read"}, few[:1]),
		least("read in memory, against scs with sliding expiry", 10).
			ratio(res, "scs-sliding", []string{"memory"}, []string{"read"}, few),
		least("read, set, login, against scs without sliding expiry", 0.9).
			ratio(res, "scs", allStores, []string{"read", "set", "login"}, few),
		least("8 parallel writers, against scs, which loses some", 0.9).
			ratio(res, "scs", allStores, []string{"writers"}, crowded),
		least("untouched new visitor (within 3x), against scs", 1.0/3).
			ratio(res, "scs", allStores, []string{"new"}, few),
		least("read, against the bare driver", 0.7).
			ratio(res, "bare", onServers, []string{"read"}, []string{"64"}),
		least("SQLite, against the bare driver", 0.6).
			ratio(res, "bare", []string{"sqlite"}, []string{"read", "login"}, few),
		least("SQLite: read at one goroutine, against the bare driver", 0.6).
			ratio(res, "bare", []string{"sqlite"}, []string{"read"}, few[:1]),
		least("SQLite: set at one goroutine, against the plain way of the bare driver", 1).
			ratio(res, "bare", []string{"sqlite"}, []string{"set"}, few[:1]),
	}

	memory := func(c, unit string, scale float64, m *mark) *mark {
		return m.figure(res, request("memory", c, "1", "ours"), unit, scale)
	}
	many, some := sizes(res, "MemoryRead/sessions=")
	growth := most("memory: read with very many sessions, against with 1,000", 2, "x")
	if many != some {
		growth.quotient(res, many, some)
	}
	all = append(all,
		memory("read", "ns/op", nsToMicros, most("memory: read", 3, " us")),
		memory("new", "ns/op", nsToMicros, most("memory: new visitor", 2.5, " us")),
		most("memory: set, against our own read", 1.3, "x").quotient(res,
			request("memory", "set", "1", "ours"), request("memory", "read", "1", "ours")),
		most("memory: read, above bare Flamego", 5, " allocations").above(res, "read", "allocs/op"),
		most("memory: read, above bare Flamego", 700, " B").above(res, "read", "B/op"),
		most("memory: set, above bare Flamego", 9, " allocations").above(res, "set", "allocs/op"),
		most("memory: set, above bare Flamego", 1200, " B").above(res, "set", "B/op"),
		most("memory: new visitor, above bare Flamego", 7, " allocations").above(res, "new", "allocs/op"),
		most("memory: new visitor, above bare Flamego", 640, " B").above(res, "new", "B/op"),
		growth,
		most("memory: empty session", 150, " B").figure(res, "MemorySize/values=empty", "B/session", 1),
		most("memory: session of six values", 450, " B").figure(res, "MemorySize/values=six", "B/session", 1),
	)
	for _, name := range res.names {
		if strings.HasPrefix(name, "MemoryGC/") {
			all = append(all, most("memory: read during GC, p99", 100, " us").figure(res, name, "p99-us", 1))
		}
	}
	worst, empty := most("SQL: worst save during GC", 50, " ms"), most("SQL: empty GC", 5, " ms")
	for _, name := range res.names {
		if strings.HasPrefix(name, "GC/") {
			worst.figure(res, name, "worst-ms", 1)
			empty.figure(res, name, "empty-ms", 1)
		}
	}
	return append(all, worst, empty,
		most("file: a replacement that finds no second file, against a plain one, on tmpfs", 1, "x").
			units(res, "Replace/tmpfs/first", "exchange-us", "plain-us"),
		most("file: a replacement with both files, against a plain one, on tmpfs", 1, "x").
			units(res, "Replace/tmpfs/again", "exchange-us", "plain-us"),
		most("file: read", 20, " us").figure(res, request("file", "read", "1", "ours"), "ns/op", nsToMicros),
		most("decode", 3, " us").figure(res, "Decode/ours", "ns/op", nsToMicros),
		most("decode", 40, " allocations").figure(res, "Decode/ours", "allocs/op", 1),
		most("encode", 1.5, " us").figure(res, "Encode/ours", "ns/op", nsToMicros),
		most("encode", 5, " allocations").figure(res, "Encode/ours", "allocs/op", 1),
		most("seal 300 bytes", 8, " us").figure(res, "Seal", "ns/op", nsToMicros),
		most("open 300 bytes", 8, " us").figure(res, "Open", "ns/op", nsToMicros),
		most("hash of an ID", 400, " ns").figure(res, "HashedKey", "ns/op", 1),
		most("new ID", 150, " ns").figure(res, "NewID", "ns/op", 1),
		most("new ID", 1, " allocations").figure(res, "NewID", "allocs/op", 1),
	)
}

// sizes returns the last and the first benchmark whose name begins so.
func sizes(res *results, prefix string) (last, first string) {
	for _, name := range res.names {
		if strings.HasPrefix(name, prefix) {
			if first == "" {
				first = name
			}
			last = name
		}
	}
	return last, first
}
