// Command report puts what the tests of internal/faults have counted into docs/reliability.md,
// between two comments. "make faults" and "make soak" run it:
//
//	go run ./internal/faults/report FIGURES docs/reliability.md
//
// A line of FIGURES is the name of a test, the subtest, and what was counted, with tabs between.
// The order and the titles of the rows are in rows.go. A test that is in no row is an error. A row
// that FIGURES has nothing of stays as it is in the page.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: report FIGURES PAGE")
		os.Exit(2)
	}
	if err := report(os.Args[1], os.Args[2], time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const begin, end = "<!-- faults:begin -->\n", "<!-- faults:end -->"

func report(figures, page string, now time.Time) error {
	data, err := os.ReadFile(figures)
	if err != nil {
		return err
	}
	seen, err := parse(string(data), now)
	if err != nil {
		return fmt.Errorf("%s: %w", figures, err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	from, to := bytes.Index(text, []byte(begin)), bytes.Index(text, []byte(end))
	if from < 0 || to < from {
		return fmt.Errorf("%s has no place for the tables, between %q and %q", page, begin, end)
	}
	from += len(begin)
	tables, err := tablesOf(seen, string(text[from:to]))
	if err != nil {
		return err
	}
	return os.WriteFile(page, slices.Concat(text[:from], []byte(tables), text[to:]), 0o600)
}

// parse returns what was counted, by the name of the test.
func parse(lines string, now time.Time) (map[string]string, error) {
	found := make(map[string][]string)
	for line := range strings.Lines(lines) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("a line of another form: %q", line)
		}
		test, text := fields[0], strings.ReplaceAll(fields[2], "|", "/")
		if !slices.ContainsFunc(parts, func(p part) bool {
			return slices.ContainsFunc(p.rows, func(r row) bool { return r.test == test })
		}) {
			return nil, fmt.Errorf("%s is in no row of rows.go", test)
		}
		if fields[1] != "" {
			text = "**" + strings.ReplaceAll(fields[1], "_", " ") + "**: " + text
		}
		if !slices.Contains(found[test], text) {
			found[test] = append(found[test], text)
		}
	}
	seen := make(map[string]string)
	for test, texts := range found {
		seen[test] = strings.Join(texts, "<br>") + "<br>" + now.UTC().Format(time.DateOnly)
	}
	return seen, nil
}

// tablesOf makes the tables, of what was seen and of what stands in the page.
func tablesOf(seen map[string]string, page string) (string, error) {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "\n### %s\n\n| Fault | What must hold | What was seen |\n|---|---|---|\n", p.title)
		for _, r := range p.rows {
			name := fmt.Sprintf("%s (`%s`)", r.fault, r.test)
			text, ok := seen[r.test]
			if !ok {
				text, ok = before(page, r.test)
			}
			if !ok {
				return "", fmt.Errorf("nothing was ever seen of %s", r.test)
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, r.holds, text)
		}
	}
	return b.String() + "\n", nil
}

// before returns what the page says of a row.
func before(page, test string) (text string, ok bool) {
	for line := range strings.Lines(page) {
		if cells := strings.Split(line, " | "); len(cells) == 3 && strings.HasSuffix(cells[0], "(`"+test+"`)") {
			return strings.TrimSuffix(strings.TrimSpace(cells[2]), " |"), true
		}
	}
	return "", false
}
