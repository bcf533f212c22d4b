package session_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// needsSpares skips a test where no spare file is kept: outside of Linux each save removes
// the one that it makes.
func needsSpares(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("spare files are kept on Linux only")
	}
}

// statFile returns what file a session or its spare is.
func statFile(t *testing.T, elem ...string) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(filepath.Join(elem...))
	require.NoError(t, err)
	return info
}

func chtimes(t *testing.T, at time.Time, elem ...string) {
	t.Helper()
	require.NoError(t, os.Chtimes(filepath.Join(elem...), at, at))
}

// A session that is saved now and then has the same two files for ever, whichever process
// runs GC, and whatever times its files have: the time of a file is that of an access, and
// in the past or the future if the session has a time to live of its own.
func TestFileGCKeepsSpares(t *testing.T) {
	t.Parallel()
	needsSpares(t)
	ctx := context.Background()
	const lifetime = 30 * 24 * time.Hour
	root := t.TempDir()
	b := session.BackendOf(newFileStore(t, root, lifetime))
	other := newFileStore(t, root, lifetime) // as another process would have it
	save := func(old, data string, ttl time.Duration) {
		ok, err := b.Swap(ctx, "abcdef", []byte(old), session.Record{Data: []byte(data), TTL: ttl})
		did(t, ok, err)
	}
	ok, err := b.Insert(ctx, "abcdef", session.Record{Data: []byte("0"), TTL: lifetime})
	did(t, ok, err)
	save("0", "1", lifetime)
	file, spare := statFile(t, root, "a/b/abcdef"), statFile(t, root, "a/b/~bcdef")

	for i, ttl := range []time.Duration{lifetime, time.Hour, 2 * lifetime, lifetime - time.Minute, time.Minute, lifetime} {
		for _, at := range []time.Time{time.Now(), time.Unix(0, 0), time.Now().Add(-lifetime), time.Now().Add(20 * lifetime)} {
			chtimes(t, at, root, "a/b/~bcdef")
			require.NoError(t, other.GC(ctx))
			require.FileExists(t, filepath.Join(root, "a/b/~bcdef"), "save %d, with a spare of %v", i, at)
		}
		data := string(rune('1' + i))
		save(data, string(rune('2'+i)), ttl)
		file, spare = spare, file
		require.True(t, os.SameFile(file, statFile(t, root, "a/b/abcdef")), "save %d wrote over the spare", i)
		require.True(t, os.SameFile(spare, statFile(t, root, "a/b/~bcdef")), "save %d kept the other file", i)
	}
}

// GC removes the spare files of sessions that are dead or gone, whatever time the spare has.
func TestFileGCRemovesSparesOfTheDead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store := newFileStore(t, root, time.Minute)
	for _, sid := range []string{"abdead", "abgone", "ablive"} {
		save(t, store, sid, "key", 1)
		save(t, store, sid, "key", 2)
		if runtime.GOOS == "linux" {
			require.FileExists(t, filepath.Join(root, "a/b/~"+sid[1:]))
		}
	}
	chtimes(t, time.Now().Add(-time.Hour), root, "a/b/abdead")
	require.NoError(t, os.Remove(filepath.Join(root, "a/b/abgone")))
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/b/~bnever"), []byte("by half"), 0o600), "left by an insert that was killed")
	chtimes(t, time.Now().Add(time.Hour), root, "a/b/~bnever")
	require.NoError(t, store.GC(context.Background()))

	entries, err := os.ReadDir(filepath.Join(root, "a/b"))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"ablive"}
	if runtime.GOOS == "linux" {
		want = append(want, "~blive")
	}
	require.Equal(t, want, names)
}

// GC removes the spare file of a session that has not been saved for long, though it is
// read, and leaves the session as it is.
func TestFileGCRemovesSparesLongUnused(t *testing.T) {
	t.Parallel()
	needsSpares(t)
	ctx := context.Background()
	root := t.TempDir()
	store := newFileStore(t, root, time.Hour)
	save(t, store, "abcdef", "key", 1)
	save(t, store, "abcdef", "key", 2)
	file := statFile(t, root, "a/b/abcdef")
	chtimes(t, time.Unix(0, 0), root, "a/b/~bcdef")
	require.NoError(t, store.GC(ctx))
	require.FileExists(t, filepath.Join(root, "a/b/~bcdef"))

	session.SetKeepSpare(store, 0)
	chtimes(t, time.Now().Add(time.Hour), root, "a/b/~bcdef")
	require.NoError(t, store.Touch(ctx, "abcdef"))
	require.NoError(t, store.GC(ctx))
	require.NoFileExists(t, filepath.Join(root, "a/b/~bcdef"))
	require.True(t, os.SameFile(file, statFile(t, root, "a/b/abcdef")))
	require.Equal(t, 2, get(t, store, "abcdef", "key"))

	save(t, store, "abcdef", "key", 3)
	require.Equal(t, 3, get(t, store, "abcdef", "key"))
	require.True(t, os.SameFile(file, statFile(t, root, "a/b/~bcdef")), "what the session was before is the spare again")
}
