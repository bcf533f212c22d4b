package atomicfile

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// benchFiles makes files of 285 bytes, the size of a session of six small values, and
// returns the folder and the name of each.
func benchFiles(b *testing.B, n int) func(i int) (Dir, string) {
	root := b.TempDir()
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

// BenchmarkReplace compares a plain replacement, which is what Put does, with Replace.
func BenchmarkReplace(b *testing.B) {
	data := []byte(strings.Repeat("y", 285))
	const files = 2000 // or 0: each is replaced once
	run := func(name string, files int, warm bool, write func(d Dir, name string, data []byte, at time.Time) error) {
		b.Run(name, func(b *testing.B) {
			n := files
			if n == 0 {
				n = b.N
			}
			file := benchFiles(b, n)
			replace := func(i int) {
				dir, name := file(i)
				if err := write(dir, name, data, time.Time{}); err != nil {
					b.Fatal(err)
				}
			}
			if warm {
				for i := range n {
					replace(i)
				}
			}
			b.ResetTimer()
			for i := range b.N {
				replace(i)
			}
		})
	}
	run("plain, first", 0, false, Dir.Put)
	run("plain, always", files, true, Dir.Put)
	run("exchange, no spare", 0, false, Dir.Replace)
	run("exchange, spare", files, true, Dir.Replace)
}
