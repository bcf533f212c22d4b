// Command fuzzing runs all fuzz tests of the module that it is started in, one after the other:
//
//	go run ./internal/testing/fuzzing -time 5m
//
// It finds them by itself, so a new one is never forgotten, and prints how many inputs each has
// run. What makes one fail is in testdata/fuzz beside the test then, and its output is printed. The exit
// code is 1 if one has failed. With -only it runs those whose "package.Name" matches.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/flamego/session/internal/testing/figures"
)

func main() {
	each := flag.Duration("time", 5*time.Minute, "how long each fuzz test runs")
	only := flag.String("only", "", "a regular expression of those to run")
	flag.Parse()
	if err := run(*each, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// target is a fuzz test.
type target struct{ pkg, name string }

func run(each time.Duration, only string) error {
	filter, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := find()
	if err != nil {
		return err
	}
	var failed []string
	for _, t := range all {
		name := t.pkg + "." + t.name
		if !filter.MatchString(name) {
			continue
		}
		out, err := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String(), t.pkg).CombinedOutput()
		fmt.Printf("%-60s %12s inputs in %v\n", name, inputs(out), each)
		if err != nil {
			fmt.Printf("%s\n", out)
			failed = append(failed, name)
			continue
		}
		if err := figures.Note("make fuzz", strings.TrimPrefix(name, "github.com/flamego/"), inputs(out)+" inputs in "+each.String()); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// find asks go test for all fuzz tests of the module.
func find() (all []target, err error) {
	cmd := exec.Command("go", "test", "-list", "^Fuzz", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -list: %w\n%s", err, out)
	}
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // a name, or "ok" and the package after its names
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				all = append(all, target{fields[1], name})
			}
			names = nil
		}
	}
	if len(all) == 0 || len(names) > 0 {
		return nil, errors.New("go test -list has listed no fuzz test, or one of no package")
	}
	return all, nil
}

var execs = regexp.MustCompile(`execs: (\d+)`)

// inputs returns the last number of inputs in the output of go test.
func inputs(out []byte) string {
	all := execs.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return "no"
	}
	return string(all[len(all)-1][1])
}
