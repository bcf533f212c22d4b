package atomicfile

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// native returns what Linux has, and what is left of it where the kernel, the
// file system or a sandbox lacks something.
func native() []impl {
	open := func(root, path string) (folder, error) { return OpenDir(root, path) }
	lacking := func(name string, lack ...*atomic.Bool) impl {
		return impl{name: name, main: len(lack) == 0, open: open, load: Load, lack: lack}
	}
	return []impl{
		lacking("all"),
		lacking("no openat2", &without.openat2),
		lacking("no lease", &without.lease),
		lacking("no exchange", &without.exchange),
		lacking("nothing", &without.openat2, &without.lease, &without.exchange),
	}
}

// A file that somebody still reads is not written to, though it is the spare.
func TestSpareThatIsRead(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o700))
	dir := impls("all")[0].dir(t, root)
	must(t, dir.Put("abc", []byte("first."), time.Time{}))

	fd, err := openBelow(root, root+"/a/b/abc", readFlags)
	must(t, err)
	for _, data := range []string{"second", "third.", "fourth"} {
		must(t, dir.Replace("abc", []byte(data), time.Time{}))
		wantData(t, dir, "abc", data)
	}
	f, err := readAll(fd, limit)
	must(t, err)
	if string(f.Data) != "first." {
		t.Fatalf("what was opened as the first holds %q", f.Data)
	}
}

// Two files take turns: nothing is made and removed as long as nobody reads.
func TestSpareIsKept(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o700))
	dir := impls("all")[0].dir(t, root)
	must(t, dir.Put("abc", []byte("0"), time.Time{}))
	inodes := make(map[uint64]int)
	for range 20 {
		must(t, dir.Replace("abc", []byte("n"), time.Time{}))
		// Held by a descriptor that is not open for reading, or else a new file may get
		// the number of one that was removed.
		fd, err := unix.Open(filepath.Join(root, "a/b/abc"), unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { must(t, unix.Close(fd)) })
		var st unix.Stat_t
		must(t, unix.Fstat(fd, &st))
		inodes[st.Ino]++
	}
	if len(inodes) != 2 {
		t.Fatalf("%d files took turns, or this file system has no leases or no exchange", len(inodes))
	}
}

// A Replace that finds no spare does what a plain replacement does: it makes one file and
// renames it, and takes no lease for a file that nobody knows. The old file becomes the
// spare. The next Replace makes no file, and takes the lease.
func TestReplaceWithoutSpare(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o700))
	dir, err := OpenDir(root, root+"/a/b")
	must(t, err)
	defer dir.Close()
	must(t, dir.Put("abc", []byte("0"), time.Time{}))

	wantNames := func(want ...string) {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join(root, "a/b"))
		must(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if !slices.Equal(names, want) {
			t.Fatalf("the folder has %v, not %v", names, want)
		}
	}
	lease := func(fd int) int {
		t.Helper()
		kind, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
		must(t, err)
		must(t, unix.Close(fd))
		return kind
	}
	if _, ok := dir.leaseSpare("~bc", 1); ok {
		t.Fatal("there is a lease of nothing")
	}
	wantNames("abc")
	fd, err := dir.makeSpare("~bc")
	must(t, err)
	if kind := lease(fd); kind != unix.F_UNLCK {
		t.Fatalf("a new file is leased: %d", kind)
	}
	must(t, dir.RemoveSpare("abc"))

	before, err := os.Stat(filepath.Join(root, "a/b/abc"))
	must(t, err)
	must(t, dir.Replace("abc", []byte("1"), time.Time{}))
	wantNames("abc", "~bc")
	spare, err := os.Stat(filepath.Join(root, "a/b/~bc"))
	must(t, err)
	if !os.SameFile(before, spare) {
		t.Fatal("the spare is not what the file was")
	}
	fd, ok := dir.leaseSpare("~bc", 1)
	if !ok {
		t.Fatal("this file system has no leases")
	}
	if kind := lease(fd); kind != unix.F_WRLCK {
		t.Fatalf("the spare is leased: %d", kind)
	}
	wantNames("abc", "~bc")
}

// SpareSince tells the time of a Replace, whatever times the files are given.
func TestSpareSince(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o700))
	dir := impls("all")[0].dir(t, root)
	begun := time.Now().Add(-time.Second) // the clock of a file system is a little behind
	year := 365 * 24 * time.Hour
	must(t, dir.Put("abc", []byte("0"), begun.Add(-year)))
	for _, at := range []time.Time{{}, begun.Add(-year), begun.Add(year), time.Unix(0, 0)} {
		must(t, dir.Touch("abc", begun.Add(-year)))
		must(t, dir.Replace("abc", []byte("1"), at))
		since, err := dir.SpareSince("abc")
		must(t, err)
		if since.Before(begun) || since.After(time.Now()) {
			t.Fatalf("since %v, and this test began at %v", since, begun)
		}
	}
}
