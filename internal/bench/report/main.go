// Command report makes docs/benchmarks.md of the output of the benchmarks.
//
//	report -command "make bench" docs/benchmarks.md < output
//
// The output may be that of many runs, one after the other. Each figure becomes
// the median of its samples and their spread. In the file, only what stands
// between the two marker comments is replaced; what people have written around
// it stays. The marks that are to be reached are printed as well. One that is
// missed is no error of this command: a benchmark on a busy machine proves
// nothing, and a figure that is there is worth more than a build that is red.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	command := flag.String("command", "", "the command that made the output, to be told to readers")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: report [-command text] FILE < output")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout, flag.Arg(0), *command); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, path, command string) error {
	res, err := parse(in)
	if err != nil {
		return err
	}
	var page strings.Builder
	writeMachine(&page, res, command, time.Now().UTC())
	writeRequests(&page, res)
	writeOthers(&page, res)
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
