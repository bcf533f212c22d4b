package session_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/child"
)

func fileBackend(t testing.TB, root string) session.Backend {
	return session.BackendOf(newFileStore(t, root, time.Minute))
}

func fileOwners(t testing.TB, root string) session.Backend {
	t.Helper()
	b := fileBackend(t, root)
	require.NoError(t, b.(session.OwnerIniter).InitOwners(context.Background()))
	return b
}

func TestFileOwners(t *testing.T) {
	t.Parallel()
	backendtest.Owners(t, fileBackend(t, t.TempDir()), "owners")
}

func TestFileOwnedBesideRenewals(t *testing.T) {
	t.Parallel()
	b := fileBackend(t, t.TempDir())
	for i := range 20 { // what goes wrong once in a thousand lists has to be seen
		backendtest.OwnedBesideRenewals(t, b, fmt.Sprintf("renewals%dx", i))
	}
}

func TestFileEndOwnedBesideRenewals(t *testing.T) {
	t.Parallel()
	backendtest.EndOwnedBesideRenewals(t, fileBackend(t, t.TempDir()), "end", 2, 40)
}

const (
	meDir  = ".owner/2744ccd10c7533bd736ad890f9dd5cab" // of "me"
	youDir = ".owner/bb0347a468d97e98a9c00e37cebec1ab"
)

func ownedRecord(data, owner, former string) session.Record {
	return session.Record{Data: []byte(data), TTL: time.Minute, Owner: owner, Former: former}
}

func did(t testing.TB, ok bool, err error) {
	t.Helper()
	require.NoError(t, err)
	require.True(t, ok)
}

// entries are the names below .owner.
func entries(t *testing.T, root string) (names []string) {
	t.Helper()
	for name := range tree(t, root) {
		if strings.HasPrefix(name, ".owner"+string(filepath.Separator)) {
			names = append(names, filepath.ToSlash(name))
		}
	}
	slices.Sort(names)
	return names
}

func sweepAll(t testing.TB, b session.Backend) (steps int) {
	t.Helper()
	for more := true; more; steps++ {
		var err error
		more, err = b.Sweep(context.Background())
		require.NoError(t, err)
	}
	return steps
}

// What is made for an owner, and when: an entry before each new ID, and nothing more.
func TestFileOwnerEntries(t *testing.T) {
	ctx := context.Background()
	root := filepath.Join(t.TempDir(), "root")
	b := fileOwners(t, root)
	require.NoDirExists(t, root)
	ok, err := b.Insert(ctx, "abcdef", ownedRecord("one", "me", ""))
	did(t, ok, err)
	found := tree(t, root)
	require.Equal(t, os.ModeDir|0o700, found[".owner"])
	require.Equal(t, os.ModeDir|0o700, found[filepath.FromSlash(meDir)])
	require.Equal(t, os.FileMode(0o600), found[filepath.FromSlash(meDir+"/abcdef")])
	require.Equal(t, []string{meDir, meDir + "/abcdef"}, entries(t, root))
	for _, name := range entries(t, root) {
		require.NotContains(t, name, "me")
	}

	// A swap with the entry there writes nothing but the record, and an extend, which has the
	// same bytes, only the time of it.
	info := func(name string) os.FileInfo {
		info, err := os.Lstat(filepath.Join(root, name))
		require.NoError(t, err)
		return info
	}
	old := time.Now().Add(-30 * time.Second)
	for _, name := range []string{meDir, meDir + "/abcdef", "a/b/abcdef"} {
		require.NoError(t, os.Chtimes(filepath.Join(root, name), old, old))
	}
	before := info("a/b/abcdef")
	folder := info("a/b")
	ok, err = b.Swap(ctx, "abcdef", []byte("one"), ownedRecord("one", "me", "me"))
	did(t, ok, err)
	require.True(t, os.SameFile(before, info("a/b/abcdef")))
	require.Equal(t, folder.ModTime(), info("a/b").ModTime())
	require.WithinDuration(t, time.Now(), info("a/b/abcdef").ModTime(), 5*time.Second)
	ok, err = b.Swap(ctx, "abcdef", []byte("one"), ownedRecord("two", "me", "me"))
	did(t, ok, err)
	for _, name := range []string{meDir, meDir + "/abcdef"} {
		require.WithinDuration(t, old, info(name).ModTime(), time.Second, name)
	}

	// An extend makes the entry that somebody has removed.
	require.NoError(t, os.RemoveAll(filepath.Join(root, ".owner")))
	ok, err = b.Swap(ctx, "abcdef", []byte("two"), ownedRecord("two", "me", "me"))
	did(t, ok, err)
	require.Equal(t, []string{meDir, meDir + "/abcdef"}, entries(t, root))

	ok, err = b.Swap(ctx, "abcdef", []byte("two"), ownedRecord("two", "you", "me"))
	did(t, ok, err)
	require.Equal(t, []string{meDir, youDir, youDir + "/abcdef"}, entries(t, root))
	ok, err = b.Rename(ctx, "abcdef", "ghijkl", []byte("two"), ownedRecord("two", "me", "you"))
	did(t, ok, err)
	require.Equal(t, []string{meDir, meDir + "/ghijkl", youDir}, entries(t, root))
	require.NoError(t, b.Delete(ctx, "ghijkl"))
	sweepAll(t, b)
	require.Empty(t, entries(t, root))
}

// Without InitOwners nothing of .owner is made or looked at: what is in its place, where it
// makes each operation of a store with owners fail, makes no difference.
func TestFileWithoutOwners(t *testing.T) {
	ctx := context.Background()
	operations := map[string]func(b session.Backend, owner string) error{
		"insert": func(b session.Backend, owner string) error {
			ok, err := b.Insert(ctx, "abnew", ownedRecord("one", owner, ""))
			require.Equal(t, err == nil, ok)
			return err
		},
		"swap": func(b session.Backend, owner string) error {
			ok, err := b.Swap(ctx, "abone", []byte("one"), ownedRecord("two", owner, owner))
			require.Equal(t, err == nil, ok)
			return err
		},
		"same": func(b session.Backend, owner string) error {
			ok, err := b.Swap(ctx, "abone", []byte("one"), ownedRecord("one", owner, owner))
			require.Equal(t, err == nil, ok)
			return err
		},
		"rename": func(b session.Backend, owner string) error {
			ok, err := b.Rename(ctx, "abone", "abnew", []byte("one"), ownedRecord("two", owner, owner))
			require.Equal(t, err == nil, ok)
			return err
		},
		"owned": func(b session.Backend, owner string) error {
			owned, err := b.(session.OwnerIndex).Owned(ctx, owner)
			require.Empty(t, owned)
			return err
		},
	}
	for name, op := range operations {
		root := t.TempDir()
		without, with := fileBackend(t, root), fileOwners(t, root)
		ok, err := without.Insert(ctx, "abone", session.Record{Data: []byte("one"), TTL: time.Minute})
		did(t, ok, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, ".owner"), nil, 0o600))
		err = op(with, "me")
		require.ErrorContains(t, err, "not a plain file or folder", name)
		require.NotContains(t, err.Error(), "2744ccd1", name)
		if name != "owned" { // which writes nothing
			require.ErrorIs(t, err, session.ErrNotApplied, name)
		}
		require.NoError(t, op(without, ""), name)
		require.Empty(t, entries(t, root))
	}

	// Nor does its GC take what is there.
	root := t.TempDir()
	with, without := fileOwners(t, root), fileBackend(t, root)
	ok, err := with.Insert(ctx, "abdead", session.Record{Data: []byte("one"), TTL: -time.Second, Owner: "me"})
	did(t, ok, err)
	before := entries(t, root)
	require.Equal(t, 1, sweepAll(t, without), "a step for the one folder")
	require.Equal(t, before, entries(t, root))
	require.NotEmpty(t, before)
	sweepAll(t, with)
	require.Empty(t, entries(t, root))
}

// GC takes the entries of dead sessions, and leaves alone whatever else somebody keeps
// there.
func TestFileOwnersGC(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	b := fileOwners(t, root)
	ok, err := b.Insert(ctx, "ablive", ownedRecord("one", "me", ""))
	did(t, ok, err)
	for i := range 300 { // more than one step takes, in folders and in one folder
		for _, owner := range []string{"me", fmt.Sprint("owner", i)} {
			ok, err := b.Insert(ctx, fmt.Sprintf("ab%d%s", i, owner), ownedRecord("one", owner, ""))
			did(t, ok, err)
			require.NoError(t, b.Delete(ctx, fmt.Sprintf("ab%d%s", i, owner)))
		}
	}
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "abtheirs"), nil, 0o600))
	theirs := []string{
		"README", "notes/abdead", strings.Repeat("AB", 16) + "/abdead", strings.Repeat("ab", 15) + "/abdead", meDir[7:] + "/READ ME",
		meDir[7:] + "/~bdead", meDir[7:] + "/abfolder/abdead",
	}
	for _, name := range theirs {
		name = filepath.Join(root, ".owner", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
	for _, name := range []string{"EMPTY", strings.Repeat("CD", 16)} {
		require.NoError(t, os.Mkdir(filepath.Join(root, ".owner", name), 0o700))
		theirs = append(theirs, name)
	}
	links := []string{strings.Repeat("cd", 16), meDir[7:] + "/ablink"}
	for _, name := range links {
		require.NoError(t, os.Symlink(outside, filepath.Join(root, ".owner", name)))
	}
	require.NoError(t, os.Symlink("ablive", filepath.Join(root, meDir, "abdeadlink")))

	steps := sweepAll(t, b)
	require.Greater(t, steps, 6)
	for _, name := range append(append(theirs, links...), meDir[7:]+"/ablive", meDir[7:]+"/abdeadlink") {
		_, err := os.Lstat(filepath.Join(root, ".owner", name))
		require.NoError(t, err, name)
	}
	require.FileExists(t, filepath.Join(outside, "abtheirs"))
	folders, err := os.ReadDir(filepath.Join(root, ".owner"))
	require.NoError(t, err)
	require.Len(t, folders, 8, "ours is one, the others are theirs")
	left, err := os.ReadDir(filepath.Join(root, meDir))
	require.NoError(t, err)
	require.Len(t, left, 6)

	// In place of an owner's folder, nothing is written through a link.
	require.NoError(t, os.RemoveAll(filepath.Join(root, meDir)))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, meDir)))
	_, err = b.Insert(ctx, "abnew", ownedRecord("one", "me", ""))
	require.ErrorContains(t, err, "not a plain file or folder")
	require.ErrorIs(t, err, session.ErrNotApplied)
	_, err = b.(session.OwnerIndex).Owned(ctx, "me")
	require.ErrorContains(t, err, "not a plain file or folder")
	require.NoFileExists(t, filepath.Join(outside, "abnew"))

	// A list and a GC that are called off end, and GC goes on another time.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	ok, err = b.Insert(ctx, "abyou", ownedRecord("one", "you", ""))
	did(t, ok, err)
	_, err = b.(session.OwnerIndex).Owned(gone, "you")
	require.ErrorIs(t, err, context.Canceled)
	for range 3 {
		_, err = b.Sweep(gone)
	}
	require.ErrorIs(t, err, context.Canceled)
	sweepAll(t, b)
}

// The list of an owner removes the entries of sessions that are gone, and never that of one
// which is just being made, nor does GC: each record that is live is found.
func TestFileOwnersBesideSweep(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	b, other := fileOwners(t, root), fileOwners(t, root)
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for _, f := range []func() error{
		func() error { _, err := other.Sweep(ctx); return err },
		func() error { _, err := other.(session.OwnerIndex).Owned(ctx, "me"); return err },
	} {
		wg.Go(func() {
			for !stop.Load() {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 1000 {
		sid := fmt.Sprintf("ab%d", i%3)
		ok, err := b.Insert(ctx, sid, ownedRecord("one", "me", ""))
		did(t, ok, err)
		require.FileExists(t, filepath.Join(root, meDir, sid))
		owned, err := b.(session.OwnerIndex).Owned(ctx, "me")
		require.NoError(t, err)
		require.Len(t, owned, 1)
		require.NoError(t, b.Delete(ctx, sid))
	}
}

// Two processes share a folder: one gives new IDs, and what it renames the other one always
// finds, and can end.
func TestFileOwnersTwoProcesses(t *testing.T) {
	ctx := context.Background()
	const rounds, length = 60, 40
	name := func(round, n int) string { return fmt.Sprintf("ab%dx%d", round, n) }
	if root := os.Getenv("SESSION_TEST_ROOT"); root != "" {
		b := fileOwners(t, root)
		for round := range rounds {
			ok, err := b.Insert(ctx, name(round, 0), ownedRecord("one", "me", ""))
			did(t, ok, err)
			for n := range length {
				if ok, err = b.Rename(ctx, name(round, n), name(round, n+1), []byte("one"), ownedRecord("one", "me", "me")); !ok {
					require.NoError(t, err)
					break
				}
			}
		}
		ok, err := b.Insert(ctx, "zzdone", ownedRecord("done", "me", ""))
		did(t, ok, err)
		return
	}
	if runtime.GOOS == "windows" {
		t.Skip("lock files work on Unix only, as the doc of FileIniter says")
	}
	root := t.TempDir()
	b := fileOwners(t, root)
	process := child.Start(t, "SESSION_TEST_ROOT="+root)
	ended := 0
	for end := time.Now().Add(time.Minute); ; {
		owned, err := b.(session.OwnerIndex).Owned(ctx, "me")
		require.NoError(t, err)
		if slices.ContainsFunc(owned, func(r session.OwnedRecord) bool { return r.ID == "zzdone" }) || time.Now().After(end) {
			break
		}
		for _, rec := range owned {
			require.NoError(t, b.Delete(ctx, rec.ID))
			ended++
		}
		_, err = b.Sweep(ctx)
		require.NoError(t, err)
	}
	process.Wait()
	require.NotZero(t, ended)
	owned, err := b.(session.OwnerIndex).Owned(ctx, "me")
	require.NoError(t, err)
	live := 0
	for name, mode := range tree(t, root) {
		if mode.IsRegular() && !strings.HasPrefix(name, ".") && !strings.Contains(name, "~") {
			live++
		}
	}
	require.Len(t, owned, live)
}

// GC leaves nothing open, whenever the store is closed.
func TestFileOwnersClose(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted in /proc, which is on Linux only")
	}
	ctx := context.Background()
	root := t.TempDir()
	open := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		for _, fd := range fds {
			if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, root) {
				n++
			}
		}
		return n
	}
	m := newApp(t, session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: root}})
	b := session.BackendOf(m.Store())
	require.NoError(t, b.(session.OwnerIniter).InitOwners(ctx))
	for i := range 300 {
		ok, err := b.Insert(ctx, fmt.Sprint("ab", i), ownedRecord("one", "me", ""))
		did(t, ok, err)
	}
	_, err := b.(session.OwnerIndex).Owned(ctx, "me")
	require.NoError(t, err)
	idle := open()
	for range 2 {
		more, err := b.Sweep(ctx)
		did(t, more, err)
	}
	require.Equal(t, idle+2, open(), "GC is in the middle of a folder")
	sweepAll(t, b)
	require.Equal(t, idle, open())
	for range 2 {
		_, err = b.Sweep(ctx)
		require.NoError(t, err)
	}
	require.NoError(t, m.Close())
	require.Zero(t, open())
}
