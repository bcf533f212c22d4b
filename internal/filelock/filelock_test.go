package filelock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flamego/session/internal/filelock"
)

// The folder of the locks is removed while a process runs, and another starts.
func TestFolderRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lock")
	ctx := context.Background()
	a, b := filelock.New(dir), filelock.New(dir)
	unlock, err := a.Lock(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	unlock, err = b.Lock(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if unlock, err := a.Lock(short, "x"); err == nil {
		unlock()
		t.Error("two processes hold the same lock")
	}
}

// A lock that is refused is nobody's, though its file was locked already.
func TestStatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lock")
	a, b := filelock.New(dir), filelock.New(dir)
	broken := errors.New("stale file handle")
	filelock.FailStat(broken)
	if _, err := a.Lock(context.Background(), "x"); !errors.Is(err, broken) {
		t.Fatalf("the error is %v", err)
	}
	for _, s := range []*filelock.Set{b, a} {
		short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		unlock, err := s.Lock(short, "x")
		cancel()
		if err != nil {
			t.Fatal("nobody holds the lock:", err)
		}
		unlock()
	}
}

// All lock files are there after the first lock: on a disk that is full by then, there would be
// no room for one more.
func TestAllAreMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lock")
	count := func() int {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	s := filelock.New(dir)
	unlock, err := s.Lock(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if n := count(); n != filelock.Stripes {
		t.Errorf("%d lock files are made, not %d", n, filelock.Stripes)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
