//go:build unix

package atomicfile

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session/internal/testing/child"
)

const limit = 1 << 20

var names = []string{"abone", "abtwo", "abthree"}

// content is what a name holds at its nth change: it says of itself whether it is
// whole, and of which name and change.
func content(name string, n int) []byte {
	size := []int{rand.IntN(300), rand.IntN(300), rand.IntN(20_000), 100_000}[rand.IntN(4)]
	body := bytes.Repeat([]byte{byte('a' + n%26)}, size)
	return fmt.Appendf(nil, "%s %d %d %08x\n%s", name, n, size, crc32.ChecksumIEEE(body), body)
}

// check returns the number of the change that left the content.
func check(name string, data []byte) (n int, err error) {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	var of string
	var size int
	var sum uint32
	if _, err := fmt.Sscanf(string(head), "%s %d %d %x", &of, &n, &size, &sum); err != nil {
		return 0, fmt.Errorf("no head in %d bytes: %w", len(data), err)
	}
	if of != name || size != len(body) || sum != crc32.ChecksumIEEE(body) {
		return 0, fmt.Errorf("change %d of %s, %d bytes, is read as %d bytes of %s", n, of, size, len(body), name)
	}
	return n, nil
}

// writer changes the names in turn, until it is killed.
func (i impl) writer(root string) {
	next := make(map[string]int)
	dir, err := i.open(root, filepath.Join(root, "a/b"))
	for k := 0; err == nil; k++ {
		name := names[k%len(names)]
		if next[name] == 0 {
			var f File
			if f, err = dir.Load(name, limit); err == nil {
				next[name], err = check(name, f.Data)
			}
		}
		if err == nil {
			next[name]++
			err = dir.Replace(name, content(name, next[name]), time.Time{})
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}

// A writer that is killed at any instant leaves every file whole, with what it
// wrote last or the one before, and next to it at most its spare. A reader that
// runs all the time never sees half a file, none, or an older one than before.
func TestKill(t *testing.T) {
	if root := os.Getenv("ATOMICFILE_TEST_ROOT"); root != "" {
		i := impls(os.Getenv("ATOMICFILE_TEST_IMPL"))[0]
		i.use(t)
		i.writer(root)
	}
	for _, i := range impls("") {
		t.Run(i.name, func(t *testing.T) {
			i.use(t)
			rounds := 15
			if i.main {
				rounds = 100
			}
			i.kill(t, rounds)
		})
	}
}

func (i impl) kill(t *testing.T, rounds int) {
	root := t.TempDir()
	sub := filepath.Join(root, "a/b")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(sub, name), content(name, 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	seen := make(map[string]int)
	look := func() error {
		for _, name := range names {
			f, err := i.load(root, filepath.Join(sub, name), limit)
			if err != nil {
				return err
			}
			n, err := check(name, f.Data)
			if err != nil {
				return err
			}
			if n < seen[name] {
				return fmt.Errorf("change %d of %s after change %d", n, name, seen[name])
			}
			seen[name] = n
		}
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex // of seen
	stop := make(chan struct{})
	defer close(stop)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			mu.Lock()
			if err := look(); err != nil {
				t.Error("a reader:", err)
			}
			mu.Unlock()
			if t.Failed() {
				return
			}
		}
	})

	for round := 0; round < rounds && !t.Failed(); round++ {
		at := func() int {
			mu.Lock()
			defer mu.Unlock()
			return seen[names[0]]
		}
		start := at()
		writer := child.Start(t, "ATOMICFILE_TEST_ROOT="+root, "ATOMICFILE_TEST_IMPL="+i.name)
		writer.Kill(func() bool { return at() != start || t.Failed() }, 3*time.Millisecond)

		mu.Lock()
		err := look()
		mu.Unlock()
		if err != nil {
			t.Fatal("after the kill:", err)
		}
		entries, err := os.ReadDir(sub)
		if err != nil {
			t.Fatal(err)
		}
		left := make(map[string]fs.DirEntry)
		for _, e := range entries {
			left[e.Name()] = e
		}
		for _, name := range names {
			delete(left, name)
			delete(left, Spare(name))
		}
		if len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if seen[names[0]] < rounds {
		t.Errorf("the writers made only %d changes", seen[names[0]])
	}
}
