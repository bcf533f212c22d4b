package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page, figures := filepath.Join(dir, "page.md"), filepath.Join(dir, "figures")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var lines strings.Builder
	for _, p := range parts {
		for _, r := range p.rows {
			lines.WriteString(r.test + "\tredis\t7 of 7\n")
		}
	}
	day := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

	write(page, "# Page\n\n"+begin+end+"\nafter\n")
	write(figures, "TestSoak\tredis\tall fine\n")
	if err := report(figures, page, day); err == nil {
		t.Error("rows that nothing was ever seen of")
	}
	write(figures, lines.String())
	if err := report(figures, page, day); err != nil {
		t.Fatal(err)
	}
	write(figures, "TestSoak\tredis/at_once\tall fine\nTestSoak\tfile\talso | fine\n")
	if err := report(figures, page, day.AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Page\n\n" + begin + "\n### ",
		"(`TestLostReply`) | the outcome is right, and made once; never both IDs alive | **redis**: 7 of 7<br>2026-11-26 |\n",
		"| **redis/at once**: all fine<br>**file**: also / fine<br>2026-11-27 |\n\n" + end + "\nafter\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	for _, bad := range []string{"TestSoak\tredis\n", "TestOther\tredis\t1\n"} {
		write(figures, bad)
		if err := report(figures, page, day); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

// Each row is a test or a command of the Makefile.
func TestRowsAreTests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	files = append(files, "../../../nthcall_test.go", "../../../Makefile")
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, p := range parts {
		for _, r := range p.rows {
			want := "func " + r.test + "(t *testing.T)"
			if command, ok := strings.CutPrefix(r.test, "make "); ok {
				want = "\n" + command + ": "
			}
			if !strings.Contains(all.String(), want) {
				t.Errorf("there is no %s", r.test)
			}
		}
	}
}
