package atomicfile

import (
	"os"
	"path/filepath"
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
	var st unix.Stat_t
	inodes := make(map[uint64]int)
	for range 20 {
		must(t, dir.Replace("abc", []byte("n"), time.Time{}))
		must(t, unix.Stat(filepath.Join(root, "a/b/abc"), &st))
		inodes[st.Ino]++
	}
	if len(inodes) != 2 {
		t.Skipf("%d files took turns: this file system has no leases or no exchange", len(inodes))
	}
}
