package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// tests are the benchmarks of a checkout, built.
type tests struct {
	dir     string // the checkout
	name    string // what the names of the programs and the results begin with
	results *os.File
}

// binary is the program with the benchmarks of a package.
func (t *tests) binary(pkg string) string {
	if pkg == "." {
		pkg = "root"
	}
	return t.name + "-" + filepath.Base(pkg) + ".test"
}

// build builds the benchmarks of all parts.
func build(dir, name string) (*tests, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t := &tests{dir: dir, name: name}
	done := make(map[string]bool)
	for _, p := range all {
		if done[p.pkg] {
			continue
		}
		done[p.pkg] = true
		if _, err := os.Stat(filepath.Join(dir, p.pkg)); errors.Is(err, os.ErrNotExist) {
			continue // a commit before has not all packages
		}
		if err := command(filepath.Join(dir, p.pkg), "go", "test", "-c", "-o", t.binary(p.pkg), ".").Run(); err != nil {
			return nil, fmt.Errorf("build the benchmarks of %s: %w", filepath.Base(name), err)
		}
	}
	return t, nil
}

// layOut lays a commit out in a folder and builds its benchmarks.
func layOut(commit, dir string) (*tests, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	if err := extract(commit, dir); err != nil {
		return nil, err
	}
	own, today := filepath.Join(dir, "own-benchmarks"), filepath.Join(dir, bench)
	if err := os.Rename(today, own); err != nil {
		return nil, err
	}
	if err := os.CopyFS(today, os.DirFS(".")); err != nil {
		return nil, err
	}
	t, err := build(dir, dir)
	if err == nil {
		return t, nil
	}
	fmt.Fprintf(os.Stderr, "%v; with its own ones:\n", err)
	if err := errors.Join(os.RemoveAll(today), os.Rename(own, today)); err != nil {
		return nil, err
	}
	return build(dir, dir)
}

// extract writes the files of a commit into a folder.
func extract(commit, dir string) error {
	git, tar := command(root, "git", "archive", "--format=tar", commit), command(dir, "tar", "-x")
	files, err := git.StdoutPipe()
	if err != nil {
		return err
	}
	tar.Stdin = files
	if err := errors.Join(git.Start(), tar.Start()); err != nil {
		return err
	}
	if err := errors.Join(tar.Wait(), git.Wait()); err != nil {
		return fmt.Errorf("lay out the commit %s: %w", commit, err)
	}
	return nil
}
