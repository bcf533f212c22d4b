package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	var out strings.Builder
	for range 2 { // the second time on its own result
		out.Reset()
		if err := run(strings.NewReader(output), &out, path, "make bench"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Page\n\nby hand\n\n" + begin + "\n\nTaken on 2",
		" by `make bench`: medians of 3 runs.\n",
		"A Processor, ",
		"Servers: redis 7.0.15\n",
		"\n### redis\n",
		"| read one key | 64 | 21 ±371% | - | 84 ±5% | - | 10.5 ±5% | - | 4.00 | 50% | 20, 0 |\n",
		"| 8 writers on one session | 8 | 30, kept 8 | 15, kept 1.62 | - | - | - | 0.50 | - | - | 0, 0 |\n",
		"| MemorySize/values=six-own | 512 B/session |\n",
		"| read, against scs with sliding expiry | >= 2.5x | pass | 4x at worst (redis, read at 64) |\n",
		"| read, against the bare driver | >= 0.7x | FAIL | 0.50x (redis, read at 64) |\n",
		"| new ID | <= 150 ns | FAIL | not measured |\n",
		"\n" + end + "\n\nalso by hand\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page has no %q", want)
		}
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
		err := run(strings.NewReader(c.output), new(strings.Builder), path, "")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", name, err, c.want)
		}
		if text, _ := os.ReadFile(path); string(text) != c.page {
			t.Errorf("%s: the page has been changed", name)
		}
	}
}
