package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// output is that of three runs on a machine with two processors and of one on a
// machine with one, which leaves the number out.
const output = `goos: linux
cpu: A Processor
redis: 7.0.15
BenchmarkRequest/store=redis/case=read/g=64/via=ours-2        	 10	  20000 ns/op	 100 B/op	 20 allocs/op
BenchmarkRequest/store=redis/case=read/g=64/via=scs-sliding-2 	 10	  80000 ns/op
BenchmarkRequest/store=redis/case=read/g=64/via=bare-2        	 10	  10000 ns/op
PASS
ok  	example.com/bench	1.5s
BenchmarkRequest/store=redis/case=read/g=64/via=ours-2        	 10	  21000 ns/op	 100 B/op	 20 allocs/op
BenchmarkRequest/store=redis/case=read/g=64/via=scs-sliding-2 	 10	  84000 ns/op
BenchmarkRequest/store=redis/case=read/g=64/via=bare-2        	 10	  10500 ns/op
BenchmarkRequest/store=redis/case=read/g=64/via=ours          	 10	  99000 ns/op	 100 B/op	 20 allocs/op
BenchmarkRequest/store=redis/case=read/g=64/via=scs-sliding   	 10	  88000 ns/op
BenchmarkRequest/store=redis/case=read/g=64/via=bare          	 10	  11000 ns/op
BenchmarkRequest/store=redis/case=writers/g=8/via=ours-2      	 10	  30000 ns/op	 8.000 kept/8
BenchmarkRequest/store=redis/case=writers/g=8/via=scs-2       	 10	  15000 ns/op	 1.625 kept/8
BenchmarkMemorySize/values=six-own-2	 1	 512.5 B/session
BenchmarkGoroutines/store=redis/case=read/g=1024/via=ours-2   	 10	  15000 ns/op
BenchmarkGoroutines/store=redis/case=read/g=64/via=ours-2     	 10	  25000 ns/op
BenchmarkGoroutines/store=redis/case=read/g=64/via=scs-2      	 10	  55000 ns/op	 100 B/op	 20 allocs/op
BenchmarkRequest/store=memory/case=read/g=1/via=ours-2        	 10	   3000 ns/op	 2064 B/op	 22 allocs/op
BenchmarkRequest/store=memory/case=read/g=1/via=bare-2        	 10	   1000 ns/op	 1152 B/op	 15 allocs/op
BenchmarkRequest/store=memory/case=read/g=1/via=bare-2        	 10	   1500 ns/op	 1152 B/op	 15 allocs/op
BenchmarkRequest/store=memory/case=read/g=1/via=bare-2        	 10	    900 ns/op	 1152 B/op	 15 allocs/op
BenchmarkRequest/store=memory/case=read/g=1/via=scs-2         	 10	  17000 ns/op	 11500 B/op	 251 allocs/op
BenchmarkRequest/store=memory/case=read/g=1/via=nethttp-2     	 10	    250 ns/op	 48 B/op	 2 allocs/op
BenchmarkRequest/store=memory/case=set/g=1/via=ours-2         	 10	   3600 ns/op	 2352 B/op	 24 allocs/op
BenchmarkRequest/store=memory/case=set/g=1/via=bare-2         	 10	   1000 ns/op	 1152 B/op	 15 allocs/op
BenchmarkSize/store=redis/session=six/bytes=234/case=read/via=ours-2       	 10	 40000 ns/op	 4000 B/op	 60 allocs/op
BenchmarkSize/store=redis/session=64kB/bytes=64000/case=read/via=ours-2    	 10	 90000 ns/op	 164000 B/op	 360 allocs/op
BenchmarkSize/store=redis/session=struct/bytes=331/case=read/via=ours-2    	 10	 50000 ns/op	 5000 B/op	 80 allocs/op
BenchmarkRows/store=redis/rows=1000000/case=set/via=scs-2     	 10	 80000 ns/op
BenchmarkRows/store=redis/rows=10000/case=set/via=scs-2       	 10	 50000 ns/op
BenchmarkRows/store=redis/rows=10000/case=set/via=scs#01-2    	 10	 70000 ns/op
BenchmarkRows/store=redis/rows=10000/case=set/via=scs#02      	 10	 60000 ns/op
BenchmarkLoad/store=redis/case=read/via=ours-2                	 1	 0.4355 app-cpu-s	 700.4 p50-us	 12345 p99-us	 0.1814 server-cpu-s
BenchmarkLoad/store=redis/case=read/via=bare-2                	 1	 0.0512 app-cpu-s	 500.4 p50-us	 2345 p99-us	 0 server-cpu-s
BenchmarkNewID-2                                              	 10	 94.14 ns/op	 16 B/op	 1 allocs/op
BenchmarkProtected/store=map/case=read/with=nothing-2                    	 10	  5000 ns/op	 2000 B/op	 30 allocs/op
BenchmarkProtected/store=map/case=read/with=keys-2                    	 10	  7500 ns/op	 3000 B/op	 40 allocs/op
BenchmarkSeal-2                                               	 10	  2500 ns/op	 1360 B/op	 6 allocs/op
BenchmarkOpen-2                                               	 10	  8100 ns/op	 1280 B/op	 6 allocs/op
BenchmarkGC/store=mysql/rows=500000-2                         	 1	 17332 gc-ms	 0.0123 empty-ms	 50.04 worst-ms
BenchmarkReplace/tmpfs/first-2                                	 10	 20 exchange-us	 25 plain-us
took: 45 minutes (requests 20.1)
`

func TestSummary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		samples []float64
		want    figure
	}{
		{nil, figure{}},
		{[]float64{7}, figure{7, 0, 1}},
		{[]float64{4, 2}, figure{3, 1. / 3, 2}},
		{[]float64{10, 100, 8, 12, 9}, figure{10, 9, 5}},
		{[]float64{0, 0}, figure{0, 0, 2}},
	} {
		before := len(c.samples) > 0 && c.samples[0] == 10
		if got := summary(c.samples); got != c.want {
			t.Errorf("%v: got %v, want %v", c.samples, got, c.want)
		}
		if before && c.samples[0] != 10 {
			t.Error("the samples have been sorted in place")
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	page := "# Page\n\nby hand\n\n" + begin + "\nold\n" + end + "\n\nalso by hand\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	var (
		out      strings.Builder
		pictures = map[string][]byte{"goroutines-read": nil, "size-read": nil, "rows-set": nil}
	)
	for round := range 2 { // the second time on its own result
		out.Reset()
		if err := run(strings.NewReader(output), &out, path, "make bench", nil); err != nil {
			t.Fatal(err)
		}
		for name, before := range pictures {
			svg, err := os.ReadFile(filepath.Join(filepath.Dir(path), "bench-"+name+".svg"))
			if err != nil {
				t.Fatal(err)
			}
			if round > 0 && !bytes.Equal(svg, before) {
				t.Errorf("%s is another picture the second time", name)
			}
			pictures[name] = svg
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Page\n\nby hand\n\n" + begin + "\n\nTaken on 2",
		" by `make bench`: medians of 3 runs.\n",
		"`A Processor`, ",
		"Servers: redis 7.0.15\n",
		"\n### redis\n",
		"| read one key | 64 | 21 ±371% | - | 84 ±5% | - | 10.5 ±5% | - | 4.00 | 50% | 20, 100 | - |\n",
		"| 8 writers on one session | 8 | 30, kept 8 | 15, kept 1.62 | - | - | - | 0.50 | - | - | - | - |\n",
		"- Time it took: 45 minutes (requests 20.1)\n",
		"\n![To read one key: microseconds per request, by goroutines](bench-goroutines-read.svg)\n",
		"\n![To set one key: microseconds per request, by sessions in the store](bench-rows-set.svg)\n",
		"| redis | 64 | 25 | 55 | - | - | - | 20, 100 | - | - | - | - | - | - |\n| redis | 1,024 | 15 | - | - | - | - | - | - | - | - | - | - | - |\n",
		"| redis | 331 B, **a struct** | 50 | - | - | - | 80, 5,000 | - | - | - | - | - | - | - |\n",
		"| redis | 10 k | - | - | - | - | - | - | - | 60 ±17% | - | - | - | - |\n| redis | 1 M | ",
		"| memory | read one key | 1; 0.25 | +2 ±0.50 | +16.8 | - | +7, +912 | +249, +11,452 | - |\n",
		"| redis | read one key | 700 / 12,345 | - | - | - | 500 / 2,345 |\n",
		"| redis | read one key | 0.436 + 0.181 = 0.617 | - | - | - | 0.051 |\n",
		"| memory: set, against our own read | <= 1.3x | pass | 1.20x at worst (Request/store=memory/case=set/g=1/via=ours) |\n",
		"| memory: read, above bare Flamego | <= 5 allocations | FAIL | 7 allocations (memory, read at 1) |\n",
		"| memory: set, above bare Flamego | <= 1,200 B | pass | 1,200 B at worst (memory, set at 1) |\n",
		"| MemorySize/values=six-own | 512 B/session |\n",
		"| read, against scs with sliding expiry | >= 2.5x | pass | 4x at worst (redis, read at 64) |\n",
		"| read, against the bare driver | >= 0.7x | FAIL | 0.50x (redis, read at 64) |\n",
		"| new ID | <= 150 ns | pass | 94.1 ns at worst (NewID) |\n",
		"| encode | <= 5 allocations | FAIL | not measured |\n",
		"| SQL: worst save during GC | <= 50 ms | FAIL | 50.04 ms (GC/store=mysql/rows=500000) |\n",
		"on tmpfs | <= 1x | pass | 0.80x at worst (Replace/tmpfs/first) |\n",
		"| NewID | 16 B/op, 1 allocs/op, 0.094 us |\n",
		"| Protected/store=map/case=read/with=nothing | 2,000 B/op, 30 allocs/op, 5 us |\n| Protected/store=map/case=read/with=keys | 3,000 B/op, 40 allocs/op, 7.50 us |\n",
		"| seal 300 bytes | <= 8 us | pass | 2.50 us at worst (Seal) |\n| open 300 bytes | <= 8 us | FAIL | 8.10 us (Open) |\n",
		"| GC/store=mysql/rows=500000 | 0.012 empty-ms, 17,332 gc-ms, 50.0 worst-ms |\n",
		"\n" + end + "\n\nalso by hand\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(string(text), "| read one key | 1,024 |") || strings.Count(string(text), "| read one key | 64 |") != 1 {
		t.Error("a point of a curve is in the table of the store")
	}
	if strings.Contains(string(text), "old") || strings.Count(string(text), begin) != 1 {
		t.Error("the old text is still there")
	}
	if want := "FAIL  read, against the bare driver: >= 0.7x: 0.50x (redis, read at 64)\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not printed", want)
	}
	if t.Failed() {
		t.Logf("%s\n%s", text, out.String())
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ output, page, want string }{
		"nothing":    {"", begin + end, "no result"},
		"failed":     {output + "--- FAIL: BenchmarkX\n", begin + end, "has failed"},
		"no markers": {output, "text", "do not stand there"},
		"reversed":   {output, end + begin, "do not stand there"},
		"no unit":    {"BenchmarkX 1 2 ns/op 3\n", begin + end, "no unit"},
		"no number":  {"BenchmarkX 1 two ns/op\n", begin + end, "invalid syntax"},
	} {
		path := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(path, []byte(c.page), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(strings.NewReader(c.output), new(strings.Builder), path, "", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", name, err, c.want)
		}
		if text, _ := os.ReadFile(path); string(text) != c.page {
			t.Errorf("%s: the page has been changed", name)
		}
	}
}

// A picture of the greatest number of curves is small, and shows what it should.
func TestPicture(t *testing.T) {
	t.Parallel()
	var output strings.Builder
	for i, store := range allStores {
		for _, g := range []int{1, 8, 64, 256, 1024} {
			for j, via := range sweepSubjects {
				fmt.Fprintf(&output, "BenchmarkGoroutines/store=%s/case=set/g=%d/via=%s 10 %d ns/op\n", store, g, via, 1000*(g+17*i+j))
			}
		}
	}
	res, err := parse(strings.NewReader(output.String()))
	if err != nil {
		t.Fatal(err)
	}
	svg, err := picture(res, sweeps[0], "set", sweeps[0].points(res))
	if err != nil {
		t.Fatal(err)
	}
	if len(svg) > 60_000 {
		t.Errorf("the picture has %d bytes", len(svg))
	}
	texts := make(map[string]int)
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			texts[string(text)]++
		}
	}
	want := map[string]int{
		"To set one key: microseconds per request, by goroutines": 1, "goroutines": 6, "µs": 6,
		"1,024": 6, "256": 6, "200": 0, "this library": 1, "scs": 1, "scs, sliding expiry": 1,
	}
	for _, store := range allStores {
		want[store] = 1
	}
	// Only the panel of memory spans three powers of ten by itself. As all are on its scale,
	// each has the powers alone.
	for text, n := range want {
		if texts[text] != n {
			t.Errorf("%q stands %d times in the picture, want %d", text, texts[text], n)
		}
	}
	if none, err := picture(res, sweeps[0], "read", sweeps[0].points(res)); err != nil || none != nil {
		t.Errorf("a picture of no curves: %d bytes, %v", len(none), err)
	}
}

// All panels of a picture begin and end at the same x, and a factor of y is as high in one
// as in another. Each axis has numbers.
func TestSameScale(t *testing.T) {
	t.Parallel()
	var panels []*plot.Plot
	for _, y := range [][2]float64{{1, 1.1}, {3, 900}, {400, 800}} {
		p := plot.New()
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 10, 100*y[0], y[0], y[1]
		panels = append(panels, p)
	}
	sameScale(panels)
	for i, p := range panels {
		if factor := p.Y.Max / p.Y.Min; math.Abs(factor-300) > 1e-6 {
			t.Errorf("panel %d spans a factor of %g", i, factor)
		}
		if p.X.Min != panels[0].X.Min || p.X.Max != panels[0].X.Max || p.X.Max < 40_000 {
			t.Errorf("panel %d goes from %g to %g", i, p.X.Min, p.X.Max)
		}
	}
	if p := panels[2]; p.Y.Min > 400 || p.Y.Max < 800 || math.Abs(p.Y.Min*p.Y.Max-400*800) > 1 {
		t.Errorf("the last panel goes from %g to %g", p.Y.Min, p.Y.Max)
	}
	for low := 0.1; low < 2000; low *= 1.07 {
		for _, factor := range []float64{10, 30, 499, 501, 5000} {
			if n := len(decades(low, low*factor)); n < 2 || n > 9 {
				t.Errorf("from %g to %g there are %d ticks", low, low*factor, n)
			}
		}
	}
}

// A figure that misses a mark does not look as if it reached it.
func TestDigits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit   float64
		atLeast bool
		value   float64
		want    string
	}{
		{0.9, true, 0.8961, "0.896"},
		{0.9, true, 0.89999, "0.89999"},
		{2.5, true, 2.4962, "2.496"},
		{10, true, 9.42, "9.42"},
		{50, false, 50.04, "50.04"},
		{1200, false, 1200.4, "1200.4"},
		{1200, false, 2352, "2,352"},
		{12, false, 22, "22"},
	} {
		m := &mark{limit: c.limit, atLeast: c.atLeast}
		if got := m.digits(labelled{value: c.value}); got != c.want {
			t.Errorf("%g against %g: got %s, want %s", c.value, c.limit, got, c.want)
		}
	}
}

func TestComparison(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	for name, text := range map[string]string{
		"page.md": begin + end,
		"before.out": `BenchmarkRequest/store=redis/case=read/g=64/via=ours-2 10 20000 ns/op 4000 B/op 30 allocs/op
BenchmarkSize/store=file/session=six/bytes=234/case=set/via=ours-2 10 4000 ns/op 100 B/op 9 allocs/op
BenchmarkGone 10 1 ns/op
`,
		"now.out": `BenchmarkRequest/store=redis/case=read/g=64/via=ours-2 10 10000 ns/op 1000 B/op 30 allocs/op
BenchmarkSize/store=file/session=six/bytes=234/case=set/via=ours-2 10 5000 ns/op 100 B/op 8 allocs/op
BenchmarkAdded 10 1 ns/op
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	turns, err := compare("abc", filepath.Join(dir, "before.out"), filepath.Join(dir, "now.out"))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(strings.NewReader(output), io.Discard, page, "", turns); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"### The commit before (abc)\n",
		"Of 2 benchmarks the median is 1.40 times as fast as before, the slowest 0.80, the fastest 2.00.\n",
		"| redis, read at 64 | 20 | 10 | 2.00 | 30 | 4,000 → 1,000 |\n",
		"| file, set of six | 4 | 5 | 0.80 | 9 → 8 | 100 |\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page has no %q:\n%s", want, text)
		}
	}
	if none, err := compare("", "", ""); none != nil || err != nil {
		t.Error("a comparison without a commit")
	}
	if _, err := compare("abc", filepath.Join(dir, "nothing"), page); err == nil {
		t.Error("a comparison with nothing")
	}
}

// The page names what is measured, and nothing else.
func TestLibraries(t *testing.T) {
	t.Parallel()
	libs := strings.Join(libraries("../go.mod"), ", ")
	for _, want := range []string{"alexedwards/scs/v2 v", "flamego/flamego v", "jackc/pgx/v4 v", "modernc.org/sqlite v"} {
		if !strings.Contains(libs, want) {
			t.Errorf("%s is not in %s", want, libs)
		}
	}
	for _, not := range unmeasured {
		if strings.Contains(libs, not+" ") {
			t.Errorf("%s is in %s", not, libs)
		}
	}
}
