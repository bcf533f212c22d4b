package session_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/child"
)

var killSIDs = []string{"abone", "abtwo", "xythree"}

// killPairs is what a session holds at its nth change: each value says of which.
func killPairs(sid string, n int) []interface{} {
	return []interface{}{"n", n, "sid", sid, "body", strings.Repeat(strconv.Itoa(n)+" ", n*7919%4000)}
}

func killCheck(sid string, s session.Session) (int, error) {
	n, _ := s.Get("n").(int)
	for i, want := 0, killPairs(sid, n); i < len(want); i += 2 {
		if s.Get(want[i]) != want[i+1] {
			return n, fmt.Errorf("session %s, change %d: wrong value of %q", sid, n, want[i])
		}
	}
	return n, nil
}

// killWriter changes sessions and makes new ones, until it is killed.
func killWriter(t *testing.T, root string) {
	store := newFileStore(t, root, time.Hour)
	for i := 0; ; i++ {
		for _, sid := range killSIDs {
			n, err := killCheck(sid, mustRead(t, store, sid))
			require.NoError(t, err)
			save(t, store, sid, killPairs(sid, n+1)...)
		}
		save(t, store, fmt.Sprintf("abnew%d", i%10), "key", i)
	}
}

func mustRead(t *testing.T, store session.Store, sid string) session.Session {
	s, err := store.Read(context.Background(), sid)
	require.NoError(t, err)
	return s
}

// A process that is killed at any instant loses no session and leaves none by
// half, whoever reads it, now or later. What it leaves behind GC removes, and GC
// never removes a session, also not while the other writes.
func TestFileKill(t *testing.T) {
	if root := os.Getenv("SESSION_TEST_KILL"); root != "" {
		killWriter(t, root)
	}
	if runtime.GOOS == "windows" {
		t.Skip("lock files work on Unix only, as the doc of FileIniter says")
	}
	rounds := 100
	if os.Getenv("STORETEST_FULL") != "" {
		rounds = 1000
	}
	root := t.TempDir()
	store := newFileStore(t, root, time.Hour)
	session.SetKeepSpare(store, time.Millisecond) // GC keeps some spare files and takes others
	for _, sid := range killSIDs {
		save(t, store, sid, killPairs(sid, 1)...)
	}

	var latest atomic.Int64 // change of the first session
	look := func(seen map[string]int) error {
		for _, sid := range killSIDs {
			s, err := store.Read(context.Background(), sid)
			if err != nil {
				return err
			}
			n, err := killCheck(sid, s)
			if err != nil {
				return err
			}
			if n < max(1, seen[sid]) {
				return fmt.Errorf("session %s: change %d is read after change %d", sid, n, seen[sid])
			}
			seen[sid] = n
		}
		latest.Store(int64(seen[killSIDs[0]]))
		return nil
	}
	stop := make(chan struct{})
	failed := make(chan error, 2)
	var wg sync.WaitGroup
	always := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	seen := make(map[string]int)
	always(func() error { return look(seen) })
	always(func() error { time.Sleep(time.Millisecond); return store.GC(context.Background()) })
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()

	after := make(map[string]int)
	for range rounds {
		start := latest.Load()
		child.Start(t, "SESSION_TEST_KILL="+root).Kill(func() bool { return latest.Load() != start || len(failed) > 0 }, 5*time.Millisecond)
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		require.NoError(t, look(after), "after the kill")
	}
	end()
	require.Empty(t, failed)
	require.Greater(t, after[killSIDs[0]], rounds)

	require.NoError(t, os.WriteFile(filepath.Join(root, "a/b/~bnever"), []byte("by half"), 0o600), "left by an insert that was killed")
	session.SetKeepSpare(store, 0)
	require.NoError(t, store.GC(context.Background()))
	for name := range tree(t, root) {
		require.NotContains(t, name, "~")
	}
	require.NoError(t, look(after))
	require.False(t, store.Exist(context.Background(), "abnever"))
}

// killOwners gives records new owners and new IDs, until it is killed. What a record holds
// is its owner.
func killOwners(t *testing.T, root string) {
	ctx := context.Background()
	b := fileOwners(t, root)
	for i := 0; ; i++ {
		sid := fmt.Sprintf("ab%dx%d", os.Getpid(), i)
		ok, err := b.Insert(ctx, sid, ownedRecord("me", "me", ""))
		did(t, ok, err)
		ok, err = b.Swap(ctx, sid, []byte("me"), ownedRecord("you", "you", "me"))
		did(t, ok, err)
		ok, err = b.Rename(ctx, sid, sid+"renamed", []byte("you"), ownedRecord("me", "me", "you"))
		did(t, ok, err)
		if i%4 != 0 {
			require.NoError(t, b.Delete(ctx, sid+"renamed"))
		}
	}
}

// Whenever a process is killed, there is no record without the entry of its owner, though
// GC and lists remove entries meanwhile. What is left of entries without a record GC removes.
func TestFileKillOwners(t *testing.T) {
	if root := os.Getenv("SESSION_TEST_KILL"); root != "" {
		killOwners(t, root)
	}
	if runtime.GOOS == "windows" {
		t.Skip("lock files work on Unix only, as the doc of FileIniter says")
	}
	rounds := 100
	if os.Getenv("STORETEST_FULL") != "" {
		rounds = 1000
	}
	ctx := context.Background()
	root := t.TempDir()
	b := fileOwners(t, root)
	var listed atomic.Int64 // records in all lists
	stop := make(chan struct{})
	var wg sync.WaitGroup
	always := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	always(func() error { _, err := b.Sweep(ctx); return err })
	always(func() error {
		owned, err := b.(session.OwnerIndex).Owned(ctx, "me")
		listed.Add(int64(len(owned)))
		return err
	})
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()

	checked := 0
	for range rounds {
		start := listed.Load()
		child.Start(t, "SESSION_TEST_KILL="+root).Kill(func() bool { return listed.Load() != start || t.Failed() }, 5*time.Millisecond)
		files, err := os.ReadDir(filepath.Join(root, "a/b"))
		require.NoError(t, err)
		for _, f := range files {
			sid := f.Name()
			if strings.HasPrefix(sid, "~") {
				continue
			}
			rec, found, err := b.Load(ctx, sid)
			did(t, found, err)
			require.FileExists(t, filepath.Join(root, map[string]string{"me": meDir, "you": youDir}[string(rec.Data)], sid))
			require.NoError(t, b.Delete(ctx, sid))
			checked++
		}
	}
	end()
	require.Greater(t, checked, rounds)
	sweepAll(t, b) // where the one in the background is
	sweepAll(t, b)
	require.Empty(t, entries(t, root))
}
