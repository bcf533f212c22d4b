package session_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/child"
)

func newFileStore(t testing.TB, root string, lifetime time.Duration) session.Store {
	t.Helper()
	return newApp(t, session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: root, Lifetime: lifetime},
	}).Store()
}

// tree returns all names below a folder, with their modes.
func tree(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	found := make(map[string]fs.FileMode)
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		found[name] = info.Mode()
		return nil
	}))
	return found
}

func TestFileLayout(t *testing.T) {
	root := filepath.Join(t.TempDir(), "made", "when needed")
	store := newFileStore(t, root, time.Hour)
	require.False(t, store.Exist(context.Background(), "abcdef"))
	require.NoError(t, store.GC(context.Background()))
	require.NoDirExists(t, root, "nothing is made before something is saved")

	save(t, store, "abcdef", "key", 1)
	found := tree(t, root)
	for name, mode := range map[string]fs.FileMode{".": fs.ModeDir | 0o700, "a": fs.ModeDir | 0o700, "a/b": fs.ModeDir | 0o700, "a/b/abcdef": 0o600} {
		require.Equal(t, mode, found[name], name)
	}

	// What plain gob wrote is read, and what we write plain gob reads.
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/b/abcdef"), plainEncode(t, map[interface{}]interface{}{"key": "plain"}), 0o600))
	require.Equal(t, "plain", get(t, store, "abcdef", "key"))
	save(t, store, "abcdef", "more", 2)
	raw, err := os.ReadFile(filepath.Join(root, "a/b/abcdef"))
	require.NoError(t, err)
	require.Equal(t, map[interface{}]interface{}{"key": "plain", "more": 2}, plainDecode(t, raw))
}

func TestFileDefaultRootDir(t *testing.T) {
	t.Chdir(t.TempDir())
	store := newFileStore(t, "", time.Hour)
	save(t, store, "abcdef", "key", 1)
	require.FileExists(t, "sessions/a/b/abcdef")
}

// However RootDir is written, all that is made of it agrees.
func TestFileRootDirNotClean(t *testing.T) {
	for _, root := range []string{"./r", "r/", "x//r", ".", "x/../r", "link/../r"} {
		t.Run(root, func(t *testing.T) {
			t.Chdir(t.TempDir())
			require.NoError(t, os.MkdirAll("elsewhere/deep", 0o700))
			require.NoError(t, os.Symlink("elsewhere/deep", "link"))
			store := newFileStore(t, root, time.Hour)
			for i := range 3 {
				save(t, store, "abcdef", "key", i)
				require.Equal(t, i, get(t, store, "abcdef", "key"))
			}
			require.FileExists(t, filepath.Join(root, "a/b/abcdef"))
			require.NoError(t, store.GC(context.Background()))
			require.NoError(t, store.Destroy(context.Background(), "abcdef"))
			require.False(t, store.Exist(context.Background(), "abcdef"))
		})
	}
}

// The time of the last change is the time of the last access, as it always was.
func TestFileExpiry(t *testing.T) {
	root := t.TempDir()
	store := newFileStore(t, root, time.Minute)
	path := filepath.Join(root, "a/b/abcdef")
	save(t, store, "abcdef", "key", 1)
	age := func(d time.Duration) {
		at := time.Now().Add(-d)
		require.NoError(t, os.Chtimes(path, at, at))
	}

	age(59 * time.Second)
	require.Equal(t, 1, get(t, store, "abcdef", "key"))
	require.NoError(t, store.Touch(context.Background(), "abcdef"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), info.ModTime(), 5*time.Second)

	age(time.Minute)
	require.False(t, store.Exist(context.Background(), "abcdef"))
	require.Nil(t, get(t, store, "abcdef", "key"))
	require.NoError(t, store.Touch(context.Background(), "abcdef"))
	require.False(t, store.Exist(context.Background(), "abcdef"), "the dead are not touched to life")
	save(t, store, "abcdef", "new", 2)
	require.Nil(t, get(t, store, "abcdef", "key"))
	require.Equal(t, 2, get(t, store, "abcdef", "new"))
}

// GC takes dead sessions in their own place and the spare files of dead ones, and leaves
// alone whatever else somebody keeps there.
func TestFileGC(t *testing.T) {
	root := t.TempDir()
	store := newFileStore(t, root, time.Minute)
	for _, sid := range []string{"abdead", "zzdead", "09dead", "ablive"} {
		save(t, store, sid, "key", 1)
		save(t, store, sid, "key", 2)
	}
	outside := filepath.Join(t.TempDir(), "abdeadlink")
	others := []string{
		"README", "a/notes.txt", "a/b/notes.txt", "a/b/ABC", "a/b/zzelsewhere", "a/b/~b.txt", "a/b/~b", "a/b/~zelsewhere", "a/b/~", "a/b/.hidden", "a/x/y/abdeep", "ab/c/abwrong",
	}
	for _, name := range others {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), nil, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "a/b/~bleftbehind"), nil, 0o600))
	require.NoError(t, os.WriteFile(outside, nil, 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "a/b/abdeadlink")))
	require.NoError(t, os.Symlink(filepath.Dir(outside), filepath.Join(root, "q")))

	old := time.Now().Add(-2 * time.Hour)
	for name := range tree(t, root) {
		if name != "a/b/ablive" && name != "a/b/abdeadlink" {
			require.NoError(t, os.Chtimes(filepath.Join(root, name), old, old))
		}
	}
	require.NoError(t, os.Chtimes(outside, old, old))
	require.NoError(t, store.GC(context.Background()))

	for _, name := range append(others, "a/b/ablive") {
		require.FileExists(t, filepath.Join(root, name))
	}
	require.FileExists(t, outside)
	for _, name := range []string{"a/b/abdead", "z/z/zzdead", "0/9/09dead", "a/b/~bleftbehind", "a/b/~bdead", "z/z/~zdead"} {
		require.NoFileExists(t, filepath.Join(root, name))
	}
}

// No ID makes the store touch a file that is not the session of that ID.
func TestFileHostileIDs(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, "root")
	store := newFileStore(t, root, time.Hour)
	save(t, store, "abcdef", "key", 1)
	require.NoError(t, os.WriteFile(filepath.Join(parent, "xyz"), []byte("theirs"), 0o600))
	before := tree(t, parent)
	ctx := context.Background()
	for _, sid := range []string{"", "a", "ab", "../xyz", "a/../../xyz", "..", "/etc/hostname", "abc\x00def", "ABCDEF", strings.Repeat("a", 256), strings.Repeat("a", 4096), ".lock", "a/b"} {
		require.False(t, store.Exist(ctx, sid))
		_, err := store.Read(ctx, sid)
		require.Error(t, err)
		require.Error(t, store.Touch(ctx, sid))
		require.Error(t, store.Destroy(ctx, sid))
		require.Error(t, store.Save(ctx, session.NewBaseSessionWithData(sid, session.GobEncoder, nil, session.Data{"a": 1})))
	}
	require.Equal(t, before, tree(t, parent))
	save(t, store, strings.Repeat("a", 255), "the longest", 1)
}

func TestFileFollowsNoSymlinks(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, "root")
	store := newFileStore(t, root, time.Hour)
	ctx := context.Background()
	theirs := filepath.Join(parent, "abtheirs")
	content := plainEncode(t, map[interface{}]interface{}{"key": "theirs"})
	require.NoError(t, os.WriteFile(theirs, content, 0o600))

	// In place of the file of a session: it is no session, and replaced as such.
	save(t, store, "abcdef", "key", 1)
	link := filepath.Join(root, "a/b/abtheirs")
	require.NoError(t, os.Symlink(theirs, link))
	require.False(t, store.Exist(ctx, "abtheirs"))
	require.NoError(t, store.Touch(ctx, "abtheirs"))
	save(t, store, "abtheirs", "key", "ours")
	require.Equal(t, "ours", get(t, store, "abtheirs", "key"))
	raw, err := os.ReadFile(theirs)
	require.NoError(t, err)
	require.Equal(t, content, raw)

	// In place of a folder: nothing is read or written through it.
	require.NoError(t, os.Symlink(parent, filepath.Join(root, "a/x")))
	require.NoError(t, os.WriteFile(filepath.Join(parent, "axtheirs"), content, 0o600))
	require.False(t, store.Exist(ctx, "axtheirs"))
	require.NoError(t, store.Destroy(ctx, "axtheirs"))
	require.FileExists(t, filepath.Join(parent, "axtheirs"))
	s, err := store.Read(ctx, "axours")
	require.NoError(t, err)
	s.Set("key", 1)
	require.ErrorContains(t, store.Save(ctx, s), "not a plain file or folder")
	require.NoFileExists(t, filepath.Join(parent, "axours"))
}

// Errors name the folder and never the session.
func TestFileErrors(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.WriteFile(root, nil, 0o600), "a file where the folder should be")
	store := newFileStore(t, root, time.Hour)
	s := session.NewBaseSessionWithData("abcdef", session.GobEncoder, nil, session.Data{"key": "secret"})
	err := store.Save(context.Background(), s)
	require.ErrorContains(t, err, "session: file: save: ")
	require.ErrorContains(t, err, root)
	require.NotContains(t, err.Error(), "abcdef")
	require.NotContains(t, err.Error(), "secret")
}

// A session has one file, and one more while it is saved again and again; both
// are gone when it is.
func TestFileSpareFiles(t *testing.T) {
	root := t.TempDir()
	store := newFileStore(t, root, time.Hour)
	files := func() (names []string) {
		for name, mode := range tree(t, root) {
			if mode.IsRegular() && !strings.HasPrefix(name, ".lock") {
				require.Equal(t, fs.FileMode(0o600), mode)
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	longest := strings.Repeat("a", 255)
	for _, sid := range []string{"abcdef", longest} {
		save(t, store, sid, "key", 0)
		require.Equal(t, []string{filepath.Join(sid[:1], sid[1:2], sid)}, files())
		for i := range 20 {
			save(t, store, sid, "key", i)
			require.LessOrEqual(t, len(files()), 2)
		}
		require.Equal(t, 19, get(t, store, sid, "key"))
		require.NoError(t, store.Destroy(context.Background(), sid))
		require.Empty(t, files())
	}

	s, err := store.Read(context.Background(), "abcdef")
	require.NoError(t, err)
	for i := range 3 {
		s.Set("key", i)
		require.NoError(t, store.Save(context.Background(), s))
	}
	require.NoError(t, s.RegenerateID(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)))
	require.NoError(t, store.Save(context.Background(), s))
	require.NoError(t, store.Destroy(context.Background(), "abcdef")) // what says that it was renewed
	require.Equal(t, []string{filepath.Join(s.ID()[:1], s.ID()[1:2], s.ID())}, files(), "nothing is left of the old ID")
}

// Two processes that share a folder lose no update. The other one is this test
// binary, started again.
func TestFileTwoProcesses(t *testing.T) {
	const keys = 100
	if root := os.Getenv("SESSION_TEST_ROOT"); root != "" {
		store := newFileStore(t, root, time.Hour)
		for i := range keys {
			save(t, store, "shared", "theirs"+strconv.Itoa(i), i)
		}
		return
	}
	if runtime.GOOS == "windows" {
		t.Skip("lock files work on Unix only, as the doc of FileIniter says")
	}

	root := t.TempDir()
	store := newFileStore(t, root, time.Hour)
	other := child.Start(t, "SESSION_TEST_ROOT="+root)
	for i := range keys {
		save(t, store, "shared", fmt.Sprintf("ours%d", i), i)
	}
	other.Wait()

	s, err := store.Read(context.Background(), "shared")
	require.NoError(t, err)
	for i := range keys {
		require.Equal(t, i, s.Get(fmt.Sprintf("ours%d", i)))
		require.Equal(t, i, s.Get(fmt.Sprintf("theirs%d", i)))
	}
}

func TestFileUnknownTypes(t *testing.T) {
	t.Parallel()
	backendtest.UnknownTypes(t, session.BackendOf(newFileStore(t, t.TempDir(), time.Minute)), "unknown")
}

// Records of different times to live die in their own time.
func TestFileTimesToLive(t *testing.T) {
	t.Parallel()
	backendtest.TimesToLive(t, session.BackendOf(newFileStore(t, t.TempDir(), time.Minute)), "ttl")
}
