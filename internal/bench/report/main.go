// Command report makes docs/benchmarks.md of the output of the benchmarks.
//
//	report -command "make bench" docs/benchmarks.md < output
//	report -commit REV -before FILE -now FILE ...
//
// The output may be that of many runs, one after the other. Each figure becomes
// the median of its samples and their spread. In the file, only what stands
// between the two marker comments is replaced; what people have written around
// it stays. The pictures are written beside it. With the output of runs with the
// commit before, and of those that took turns with them, there is a table of both.
//
// The marks that are to be reached are printed as well. One that is
// missed is no error of this command: a benchmark on a busy machine proves
// nothing, and a figure that is there is worth more than a build that is red.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	command := flag.String("command", "", "the command that made the output, to be told to readers")
	commit := flag.String("commit", "", "the commit before")
	before := flag.String("before", "", "the output with the commit before")
	now := flag.String("now", "", "the output that took turns with it")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: report [-command TEXT] [-commit REV -before FILE -now FILE] PAGE < output")
		os.Exit(2)
	}
	err := func() error {
		turns, err := compare(*commit, *before, *now)
		if err != nil {
			return err
		}
		return run(os.Stdin, os.Stdout, flag.Arg(0), *command, turns)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// compare reads the output of the runs in turns; nil without a commit.
func compare(commit, before, now string) (*comparison, error) {
	if commit == "" {
		return nil, nil
	}
	c := &comparison{commit: commit}
	for path, res := range map[string]**results{before: &c.before, now: &c.now} {
		text, err := os.ReadFile(path)
		if err == nil {
			*res, err = parse(bytes.NewReader(text))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return c, nil
}

func run(in io.Reader, out io.Writer, path, command string, turns *comparison) error {
	res, err := parse(in)
	if err != nil {
		return err
	}
	var page strings.Builder
	writeMachine(&page, res, command, time.Now().UTC())
	if err := writeSweeps(&page, res, filepath.Dir(path)); err != nil {
		return err
	}
	writeCosts(&page, res)
	writeRequests(&page, res)
	writeLoads(&page, res)
	writeOthers(&page, res)
	if turns != nil {
		turns.write(&page)
	}
	found := marks(res)
	writeMarks(&page, found)

	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err = between(text, page.String())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	printMarks(out, found)
	return nil
}

const (
	begin = "<!-- bench:begin -->"
	end   = "<!-- bench:end -->"
)

// between replaces what stands between the markers.
func between(page []byte, text string) ([]byte, error) {
	before, rest, ok := bytes.Cut(page, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("%s and %s do not stand there, in this order", begin, end)
	}
	return fmt.Appendf(nil, "%s%s\n\n%s\n\n%s%s", before, begin, strings.TrimSpace(text), end, after), nil
}
