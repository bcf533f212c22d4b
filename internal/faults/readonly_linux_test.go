package faults

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flamego/session/internal/testing/webapp"
)

// nobody is the user that root becomes where permissions must count.
const nobody = 65534

// beNobody makes this process that of an ordinary user. It does so in the process, and not
// when it starts, as nobody may not be allowed to enter the folder of the program.
func beNobody(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	require.NoError(t, syscall.Setgroups(nil))
	require.NoError(t, syscall.Setgid(nobody))
	require.NoError(t, syscall.Setuid(nobody))
	dir, err := os.MkdirTemp("", "faults")
	require.NoError(t, err, "an ordinary user needs a temporary folder: see TMPDIR")
	require.NoError(t, os.Chmod(dir, 0o500))
	defer func() { require.NoError(t, os.Remove(dir)) }()
	require.ErrorIs(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700), fs.ErrPermission, "permissions do not count")
}

// folders calls f for a folder and all folders in it, the innermost first.
func folders(t *testing.T, place string, f func(dir string) error) {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(place, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			all = append(all, path)
		}
		return err
	}))
	slices.Reverse(all)
	for _, dir := range all {
		require.NoError(t, f(dir))
	}
}

// TestReadOnlyFolder takes the permission to write in a folder, and gives it back. The database of
// SQLite has its files open, and goes on.
func TestReadOnlyFolder(t *testing.T) {
	each(t, subject.onDisk, func(t *testing.T, s subject) {
		inChild(t, nil, func() string {
			beNobody(t)
			place := t.TempDir()
			chmod := func(mode fs.FileMode) {
				folders(t, place, func(dir string) error { return os.Chmod(dir, mode) })
			}
			t.Cleanup(func() { chmod(0o700) })
			tr := trouble{
				begin: func(int) { chmod(0o500) }, end: func() { chmod(0o700) },
				fails: s.name == "file", reads: true,
				texts: []string{"permission denied"},
			}
			a := onDiskApp(t, s, place)
			return takesNoWrites(t, s, a, tr, place)
		})
	})
}

// takesNoWrites hits an app and GC with trouble that lets nobody write.
func takesNoWrites(t *testing.T, s subject, a *app, tr trouble, place string) string {
	t.Helper()
	failed := tr.hit(t, a, place)
	if s.name == "sqlite" {
		notStarted(t, s, a, tr, place) // which ends the app
	}
	swept := tr.sweep(t, s, place)
	require.Equal(t, tr.fails, swept > 0, "GC says that it cannot remove anything")
	return fmt.Sprintf("%d requests that write failed, each with one error, none that only reads; the next one succeeds", failed)
}

// notStarted ends an app of SQLite and starts it while there is trouble. The error says what is
// wrong, and when the trouble is over the app starts.
func notStarted(t *testing.T, s subject, a *app, tr trouble, place string) {
	t.Helper()
	v := a.visitor(t)
	v.ok(set("a", secret))
	require.NoError(t, a.Close())
	opts := s.at(place, "")
	tr.begin(0)
	_, err := webapp.Open(opts)
	tr.end()
	require.Error(t, err)
	require.Regexp(t, "^sqlite: connect: path, or mode: (unable to open database file|attempt to write a readonly database)", err.Error())
	require.NotContains(t, err.Error(), place)
	require.Equal(t, secret, newApp(t, opts).with(t, v.id).see()["a"])
}

// TestReadOnlyDisk has the disk of a folder take no writes any more, as one does that has errors,
// and then take them again.
func TestReadOnlyDisk(t *testing.T) {
	each(t, subject.onDisk, func(t *testing.T, s subject) {
		inChild(t, mounting, func() string {
			place := filepath.Join(newSmall(t).dir, "sessions")
			require.NoError(t, os.Mkdir(place, 0o700))
			tr := trouble{
				begin: func(int) { // what is open stays so, and writable
					require.NoError(t, unix.Mount(place, place, "", unix.MS_BIND, ""))
					require.NoError(t, unix.Mount("", place, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
				},
				end:   func() { require.NoError(t, unix.Unmount(place, unix.MNT_DETACH)) },
				fails: s.name == "file", reads: true,
				texts: []string{"read-only file system"},
			}
			a := onDiskApp(t, s, place)
			text := takesNoWrites(t, s, a, tr, place)
			if s.name == "file" {
				extendOnReadOnly(t, s, place, tr)
			}
			return text
		})
	})
}

// extendOnReadOnly has each visit extend the session, which a disk that is read-only does not let
// it do. The visitor sees the page all the same, and ErrorFunc is told once.
func extendOnReadOnly(t *testing.T, s subject, place string, tr trouble) {
	t.Helper()
	opts := s.at(place, "")
	opts.TouchInterval = -1
	a := newApp(t, opts)
	v := a.visitor(t)
	v.ok(set("a", "1"))
	tr.begin(0)
	status, _ := v.visit("/get")
	errs := a.TakeErrors()
	tr.end()
	require.Equal(t, http.StatusOK, status)
	require.Len(t, errs, 1)
	tr.clear(t, errs[0], place, v.id)
	require.Equal(t, "1", v.see()["a"])
	require.Empty(t, a.TakeErrors())
}
