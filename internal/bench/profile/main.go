// Command profile prints, as a table for docs/benchmarks.md, where the time of a
// request goes.
//
//	go test -c -o bench.test . && go run ./profile ./bench.test
//
// It runs the requests of this library on each store, at one goroutine and at 64,
// with the CPU profiler on. A column is the part of the samples with one of its
// functions on the stack; they overlap, and what is in none of them is Flamego, the
// handler and the runtime.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// parts are the columns: functions by pprof's name for them.
var parts = []struct{ name, focus string }{
	{"load", `session\.\(\*(record|memory)Store\)\.load$`},
	{"commit", `session\.\(\*(record|memory)Store\)\.commit$`},
	{"database/sql, driver", `database/sql\.|jackc/|go-sql-driver|go-redis|modernc\.org`},
	{"gob", `internal/gobmap\.`},
	{"services", `session\.\(\*request\)\.inject$`},
	{"system calls", `^syscall\.|runtime/syscall`},
	{"allocation, GC", `runtime\.(mallocgc|gcBgMarkWorker|gcAssistAlloc|bgsweep)`},
}

var (
	stores = []string{"memory", "file", "sqlite", "redis", "postgres", "mysql"}
	cases  = []string{"read", "set", "new", "login", "writers"}
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: profile TEST-BINARY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func run(binary string) error {
	dir, err := os.MkdirTemp("", "profile")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	fmt.Print("| | goroutines | us |")
	for _, p := range parts {
		fmt.Printf(" %s |", p.name)
	}
	fmt.Println("\n|---|--:|--:|" + strings.Repeat("--:|", len(parts)))
	for _, store := range stores {
		for _, c := range cases {
			if c == "new" && store != "memory" { // no store is asked
				continue
			}
			for _, g := range []string{"1", "64"} {
				if c == "writers" && g == "1" {
					g = "8"
				}
				row, err := profile(binary, filepath.Join(dir, "cpu"), store, c, g)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", store, c, err)
				}
				fmt.Printf("| %s, %s | %s | %s |\n", store, c, g, strings.Join(row, " | "))
			}
		}
	}
	return nil
}

var (
	perOp = regexp.MustCompile(`([0-9.]+) ns/op`)
	share = regexp.MustCompile(`nodes accounting for [^,]+, ([0-9.]+)% of`)
)

// profile returns the columns of one benchmark.
func profile(binary, file, store, c, g string) ([]string, error) {
	name := fmt.Sprintf("BenchmarkRequest/store=%s/case=%s/g=%s/via=ours$", store, c, g)
	out, err := output(os.Stderr, binary, "-test.run", "^$", "-test.bench", name, "-test.benchtime", "1s", "-test.cpuprofile", file)
	if err != nil {
		return nil, err
	}
	m := perOp.FindStringSubmatch(out)
	if m == nil {
		return nil, errors.New("there is no such benchmark")
	}
	var ns float64
	if _, err := fmt.Sscan(m[1], &ns); err != nil {
		return nil, err
	}
	row := []string{fmt.Sprintf("%.3g", ns/1000)}
	for _, p := range parts {
		// Without limits it leaves out nothing, and the sum is right.
		// That it finds nothing it says on stderr.
		out, err := output(io.Discard, "go", "tool", "pprof", "-top", "-nodecount=1000000", "-nodefraction=0", "-focus="+p.focus, binary, file)
		if err != nil {
			return nil, err
		}
		percent := "-"
		if m := share.FindStringSubmatch(out); m != nil && !strings.HasPrefix(m[1], "0.") && m[1] != "0" {
			percent = strings.Split(m[1], ".")[0] + "%"
		}
		row = append(row, percent)
	}
	return row, nil
}

func output(stderr io.Writer, command string, args ...string) (string, error) {
	cmd := exec.Command(command, args...) // #nosec G204 -- of the one who calls
	cmd.Stderr = stderr
	out, err := cmd.Output()
	return string(out), err
}
