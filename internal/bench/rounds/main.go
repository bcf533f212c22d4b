// Command rounds runs all benchmarks for `make bench`, in the folder of their module:
//
//	rounds -count 5 -benchtime 200ms [-before COMMIT] FOLDER
//
// It writes FOLDER/bench.out, which command report reads. A round is all of them once,
// and there is one after the other: -test.count would repeat each benchmark on the spot,
// and a noisy minute would spoil all samples of one subject.
//
// # The commit before
//
// With -before, the benchmarks of this library alone are run with the library of that commit
// and with the present one, in turns, into FOLDER/before.out and FOLDER/now.out. Which of
// them comes first changes from round to round. The commit is laid out in FOLDER/before
// while this runs, with the benchmarks that are here: otherwise a change of a benchmark
// would look like a change of the library. If they do not compile there, the commit's own
// ones are taken. The benchmarks of the root package are always the commit's own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// part is some of the benchmarks.
type part struct {
	name    string
	pkg     string // the folder of their package
	pattern string // which ones
	// Fewer figures hang on a point of a curve, of which there are many, than on a
	// figure that a mark has: it gets this part of the time.
	share    int
	requests int  // in place of a time
	times    int  // in a round, 0 for once: what is shortest meets the noise of the machine most
	once     bool // for all rounds; it takes all its samples by itself
}

// all are the parts of a round, in order. What leaves the servers with work comes last.
// Each of 1,024 goroutines is to make several requests, however long they take.
var all = []part{
	{name: "codec and files", pkg: ".", pattern: "Encode|Decode|NewID|HashedKey|^BenchmarkFile", share: 1},
	{name: "files", pkg: "internal/atomicfile", pattern: "^BenchmarkReplace$", share: 1},
	{name: "requests in memory", pkg: bench, pattern: "^BenchmarkRequest$/^store=memory$", share: 1, times: 3},
	{name: "requests", pkg: bench, pattern: "^BenchmarkRequest$/^store=(file|sqlite|redis|postgres|mysql)$", share: 1},
	{name: "goroutines", pkg: bench, pattern: "^BenchmarkGoroutines$", requests: 3 * 1024},
	{name: "sizes", pkg: bench, pattern: "^BenchmarkSize$", share: 2},
	{name: "requests with options", pkg: bench, pattern: "^BenchmarkProtected$", share: 1},
	{name: "keys", pkg: "internal/seal", pattern: "^Benchmark(Seal|Open)$", share: 1},
	{name: "waiting and processors", pkg: bench, pattern: "^BenchmarkLoad$", requests: 1},
	{name: "memory and GC", pkg: bench, pattern: "^BenchmarkMemory|^BenchmarkGC$", share: 1},
	{name: "rows", pkg: bench, pattern: "^BenchmarkRows$", share: 2, once: true},
}

// inTurns are those that are compared with the commit before.
var inTurns = []part{
	{name: "codec and files", pkg: ".", pattern: "Encode|Decode|NewID|^BenchmarkFile", share: 2},
	{name: "requests", pkg: bench, pattern: "^BenchmarkRequest$/./case=(read|set|new|login)$/g=(1|64)$/via=ours$|^BenchmarkRequest$/./case=writers/./via=ours$", share: 2},
	{name: "sizes", pkg: bench, pattern: "^BenchmarkSize$/././././via=ours$", share: 4},
}

type rounds struct {
	folder    string
	count     int
	benchtime time.Duration
	took      map[string]time.Duration // by the name of the part
}

func main() {
	r := rounds{took: make(map[string]time.Duration)}
	flag.IntVar(&r.count, "count", 5, "rounds")
	flag.DurationVar(&r.benchtime, "benchtime", 200*time.Millisecond, "of each benchmark of a round")
	before := flag.String("before", "", "the commit to compare with")
	flag.Parse()
	if flag.NArg() != 1 || r.count < 1 {
		fmt.Fprintln(os.Stderr, "usage: rounds [-count N] [-benchtime DURATION] [-before COMMIT] FOLDER")
		os.Exit(2)
	}
	if err := r.run(flag.Arg(0), *before); err != nil {
		fmt.Fprintln(os.Stderr, "rounds:", err)
		os.Exit(1)
	}
}

const (
	root  = "../.." // from the module of the benchmarks
	bench = "internal/bench"
)

func (r *rounds) run(folder, commit string) error {
	var err error
	if r.folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(r.folder, 0o750); err != nil {
		return err
	}
	now, err := build(root, filepath.Join(r.folder, "now"))
	if err != nil {
		return err
	}
	results, err := os.Create(filepath.Join(r.folder, "bench.out"))
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }()

	var turns []*tests
	if commit != "" {
		at := filepath.Join(r.folder, "before")
		defer func() { _ = os.RemoveAll(at) }()
		before, err := layOut(commit, at)
		if err != nil {
			return err
		}
		turns = []*tests{before, now}
		for _, t := range turns {
			file, err := os.Create(t.name + ".out")
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			t.results = file
		}
	}
	for n := range r.count {
		for _, p := range all {
			if p.once && n < r.count-1 {
				continue
			}
			for range max(1, p.times) {
				if err := r.part(now, p, p.name, io.MultiWriter(results, os.Stdout)); err != nil {
					return err
				}
			}
		}
		for _, p := range inTurns {
			for i := range turns {
				t := turns[(n+i)%len(turns)]
				fmt.Printf("with %s:\n", filepath.Base(t.name))
				if err := r.part(t, p, "the commit before", io.MultiWriter(t.results, os.Stdout)); err != nil {
					return err
				}
			}
		}
	}
	_, err = fmt.Fprintf(io.MultiWriter(results, os.Stdout), "took: %s\n", r.times())
	return errors.Join(err, results.Close())
}

// times says how long it took, and which part of it.
func (r *rounds) times() string {
	var (
		parts []string
		sum   time.Duration
	)
	for _, p := range append(all, part{name: "the commit before"}) {
		if took := r.took[p.name]; took > 0 {
			parts = append(parts, fmt.Sprintf("%s %.1f", p.name, took.Minutes()))
			sum += took
		}
	}
	return fmt.Sprintf("%.0f minutes (%s)", sum.Minutes(), strings.Join(parts, ", "))
}

// part runs a part once.
func (r *rounds) part(t *tests, p part, name string, w io.Writer) error {
	start, benchtime := time.Now(), strconv.Itoa(p.requests)+"x"
	if p.requests == 0 {
		benchtime = (r.benchtime / time.Duration(p.share)).String()
	}
	cmd := command(filepath.Join(t.dir, p.pkg), t.binary(p.pkg), "-test.run", "^$", "-test.timeout", "0", "-test.bench", p.pattern,
		"-test.benchtime", benchtime)
	cmd.Env = append(os.Environ(), "CI=true", "BENCH_FULL=1", "BENCH_SAMPLES="+strconv.Itoa(r.count))
	cmd.Stdout = w
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	r.took[name] += time.Since(start)
	return nil
}

func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...) // #nosec G204 -- of the one who calls
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	return cmd
}
