package atomicfile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchFiles makes files of 285 bytes, the size of a session of six small values, and
// returns the folder and the name of each.
func benchFiles(b *testing.B, root string, n int) func(i int) (Dir, string) {
	root, err := os.MkdirTemp(root, "way")
	if err != nil {
		b.Fatal(err)
	}
	data := []byte(strings.Repeat("x", 285))
	dirs := make([]Dir, 64)
	names := make([]string, n)
	for i := range dirs {
		path := fmt.Sprintf("%s/%d", root, i)
		if err := os.Mkdir(path, 0o700); err != nil {
			b.Fatal(err)
		}
		dir, err := OpenDir(root, path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(dir.Close)
		dirs[i] = dir
	}
	for i := range names {
		names[i] = fmt.Sprintf("a%015d", i)
		if err := dirs[i%len(dirs)].Put(names[i], data, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	return func(i int) (Dir, string) { return dirs[i%n%len(dirs)], names[i%n] }
}

// BenchmarkReplace compares a plain replacement, which is what Put does, with Replace, for
// files that are replaced for the first time and for those that have their spare file.
//
// Ext4 without a journal leaves alone for some minutes what a removed file had, so files are
// made slowly where many were removed. That is not to hit one of the ways more than
// the other: they take turns, file by file, and none of their files is removed before all
// have been measured. But the plain way removes a file each time, which Replace then
// pays for as well. In memory (tmpfs) it does not matter what was removed before.
func BenchmarkReplace(b *testing.B) {
	const files = 2000
	run := func(name, root string) {
		b.Run(name, func(b *testing.B) {
			b.Run("first", func(b *testing.B) { inTurns(b, root, b.N, false) })
			b.Run("again", func(b *testing.B) { inTurns(b, root, files, true) })
		})
	}
	run("disk", b.TempDir())
	root, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		return // there is none
	}
	defer os.RemoveAll(root)
	run("tmpfs", root)
}

// inTurns replaces n files in each way, again and again, or each only once if b.N is n.
func inTurns(b *testing.B, root string, n int, warm bool) {
	type way struct {
		unit  string
		write func(d Dir, name string, data []byte, at time.Time) error
		file  func(i int) (Dir, string)
		took  time.Duration
	}
	ways := []*way{{unit: "plain-us", write: Dir.Put}, {unit: "exchange-us", write: Dir.Replace}}
	data := []byte(strings.Repeat("y", 285))
	replace := func(w *way, i int) {
		dir, name := w.file(i)
		if err := w.write(dir, name, data, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, w := range ways {
		w.file = benchFiles(b, root, n)
		for i := 0; warm && i < n; i++ {
			replace(w, i)
		}
	}
	b.ResetTimer()
	for i := range b.N {
		slices.Reverse(ways) // neither is always the first
		for _, w := range ways {
			start := time.Now()
			replace(w, i)
			w.took += time.Since(start)
		}
	}
	b.ReportMetric(0, "ns/op") // none of both at once
	for _, w := range ways {
		b.ReportMetric(float64(w.took.Nanoseconds())/1000/float64(b.N), w.unit)
	}
}
