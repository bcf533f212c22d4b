package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each benchmark of the module is in one part, so that all its samples are taken in one way.
func TestPartsHaveAll(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	benchmark := regexp.MustCompile(`(?m)^func (Benchmark\w+)\(`)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range benchmark.FindAllStringSubmatch(string(text), -1) {
			found++
			for _, store := range stores {
				if n := matched(m[1], store); n != 1 {
					t.Errorf("%s of %s is in %d parts", m[1], store, n)
				}
			}
		}
	}
	if found < 7 {
		t.Errorf("there are %d benchmarks", found)
	}
}

// stores are those of the benchmarks.
var stores = []string{"memory", "file", "sqlite", "redis", "postgres", "mysql"}

func matched(name, store string) (n int) {
	for _, p := range all {
		for alternative := range strings.SplitSeq(p.pattern, "|^") {
			first, second, _ := strings.Cut(alternative, "/")
			if p.pkg == bench && regexp.MustCompile(first).MatchString(name) && regexp.MustCompile(second).MatchString("store="+store) {
				n++
			}
		}
	}
	return n
}

// A commit is laid out whole, whatever is changed in the checkout.
func TestExtract(t *testing.T) {
	t.Chdir("..")
	dir := t.TempDir()
	if err := extract("HEAD", dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "session.go", "internal/bench/go.mod"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := extract("no-such-commit", dir); err == nil {
		t.Error("a commit that is not there")
	}
}
