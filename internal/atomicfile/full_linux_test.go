package atomicfile

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flamego/session/internal/testing/child"
)

// names returns the names in the folder of a test.
func namesIn(t *testing.T, root string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "a/b"))
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// A write that fails in the middle, as on a full disk, leaves the old content and no spare, be it
// a new spare or the one that was there. Afterwards writes succeed at once.
func TestWriteFails(t *testing.T) {
	const env = "ATOMICFILE_TEST_LIMIT"
	if os.Getenv(env) == "" { // the limit would be one of all tests
		child.Start(t, env+"=1").Wait()
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	limited := func(size uint64, f func() error) {
		t.Helper()
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}))
		err := f()
		must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
		wantErr(t, err, syscall.EFBIG)
	}
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		long := []byte(strings.Repeat("long", 5000))
		for _, size := range []uint64{0, 1, 4096, 10_000} {
			limited(size, func() error { return dir.Put("abc", long, time.Time{}) })
			if names := namesIn(t, root); names != "" {
				t.Fatalf("a Put at %d bytes left %q", size, names)
			}
			must(t, dir.Put("abc", []byte("old"), time.Time{}))
			limited(size, func() error { return dir.Replace("abc", long, time.Time{}) })
			if names := namesIn(t, root); names != "abc" {
				t.Fatalf("a Replace without a spare at %d bytes left %q", size, names)
			}
			wantData(t, dir, "abc", "old")
			must(t, dir.Replace("abc", []byte("newer"), time.Time{}))
			limited(size, func() error { return dir.Replace("abc", long, time.Time{}) })
			if names := namesIn(t, root); names != "abc" {
				t.Fatalf("a Replace with a spare at %d bytes left %q", size, names)
			}
			wantData(t, dir, "abc", "newer")
			must(t, dir.Replace("abc", long, time.Time{}))
			wantData(t, dir, "abc", string(long))
			must(t, dir.Remove("abc"))
		}
	})
}

// A rename that fails leaves no spare. Here a folder has the name.
func TestRenameFails(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		must(t, os.MkdirAll(filepath.Join(root, "a/b/abc/full"), 0o700))
		if err := dir.Put("abc", []byte("data"), time.Time{}); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the error is %v", err)
		}
		if names := namesIn(t, root); names != "abc" {
			t.Fatalf("it left %q", names)
		}
	})
}
