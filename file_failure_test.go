package session_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// A record that cannot be written leaves no entry that was not there before, and no folder.
func TestFileOwnerOfFailedWrite(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	root := t.TempDir()
	b := fileOwners(t, root)
	inTheWay := func(name string) { // no file can be made there, or renamed to it
		require.NoError(t, os.MkdirAll(filepath.Join(root, name, "full"), 0o700))
	}
	failed := func(ok bool, err error) {
		t.Helper()
		require.ErrorIs(t, err, session.ErrNotApplied)
		require.False(t, ok)
	}

	inTheWay("a/b/abfirst")
	failed(b.Insert(ctx, "abfirst", ownedRecord("one", "me", "")))
	require.Empty(t, entries(t, root), "a failed insert")

	ok, err := b.Insert(ctx, "absecond", ownedRecord("one", "me", ""))
	did(t, ok, err)
	want := []string{meDir, meDir + "/absecond"}
	require.Equal(t, want, entries(t, root))
	inTheWay("a/b/~bsecond")
	failed(b.Swap(ctx, "absecond", []byte("one"), ownedRecord("two", "you", "me")))
	require.Equal(t, want, entries(t, root), "a failed swap to another owner")
	failed(b.Swap(ctx, "absecond", []byte("one"), ownedRecord("two", "me", "me")))
	require.Equal(t, want, entries(t, root), "a failed swap")
	failed(b.Rename(ctx, "absecond", "abthird", []byte("one"), ownedRecord("two", "me", "me")))
	require.Equal(t, want, entries(t, root), "a failed rename")
	require.NoFileExists(t, filepath.Join(root, "a/b/abthird"))
	rec, found, err := b.Load(ctx, "absecond")
	did(t, found, err)
	require.Equal(t, "one", string(rec.Data))
}

// GC says once what it cannot do, though it cannot do it for many sessions.
func TestFileGCSaysItOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store := newFileStore(t, root, time.Minute)
	for i := range 20 {
		sid := fmt.Sprint("abdead", i)
		save(t, store, sid, "key", 1)
		chtimes(t, time.Now().Add(-time.Hour), root, "a/b/"+sid)
		require.NoError(t, os.MkdirAll(filepath.Join(root, "a/b/~"+sid[1:], "full"), 0o700), "in the place of the second file")
	}
	err := store.GC(context.Background())
	require.ErrorContains(t, err, "session: file: gc: RootDir ")
	require.Equal(t, 1, strings.Count(err.Error(), "RootDir"), err)
}
