//go:build unix

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// folder is what all kinds of Dir have.
type folder interface {
	Close()
	Load(name string, limit int64) (File, error)
	ModTime(name string) (time.Time, error)
	Touch(name string, at time.Time) error
	Put(name string, data []byte, at time.Time) error
	Replace(name string, data []byte, at time.Time) error
	Remove(name string) error
	RemoveSpare(name string) error
	SpareSince(name string) (time.Time, error)
	Create(name string) (made bool, err error)
	Unlink(name string) error
	RemoveDir(name string) error
	Names() (*os.File, error)
}

// impl is one way to do it.
type impl struct {
	name string
	main bool // the one that is used where nothing is missing
	open func(root, path string) (folder, error)
	load func(root, path string, limit int64) (File, error)
	lack []*atomic.Bool // what it goes without
}

// use makes the process go without what i lacks, until the test ends.
func (i impl) use(t *testing.T) {
	for _, feature := range i.lack {
		old := feature.Swap(true)
		t.Cleanup(func() { feature.Store(old) })
	}
}

var portable = impl{
	name: "portable",
	open: func(root, path string) (folder, error) { return openPathDir(root, path) },
	load: loadPath,
}

// impls returns all ways, or the one of that name.
func impls(name string) (found []impl) {
	for _, i := range append(native(), portable) {
		if name == "" || name == i.name {
			found = append(found, i)
		}
	}
	return found
}

func each(t *testing.T, f func(t *testing.T, i impl, root string)) {
	for _, i := range impls("") {
		t.Run(i.name, func(t *testing.T) {
			i.use(t)
			root := t.TempDir()
			must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o700))
			f(t, i, root)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, not %v", err, want)
	}
}

func (i impl) dir(t *testing.T, root string) folder {
	t.Helper()
	dir, err := i.open(root, root+"/a/b")
	must(t, err)
	t.Cleanup(dir.Close)
	return dir
}

func wantData(t *testing.T, dir folder, name, want string) {
	t.Helper()
	f, err := dir.Load(name, limit)
	must(t, err)
	if string(f.Data) != want {
		t.Fatalf("%s holds %q, not %q", name, f.Data, want)
	}
}

func TestReplace(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		wantErr(t, dir.Replace("abc", []byte("none"), time.Time{}), fs.ErrNotExist)
		_, err := dir.Load("abc", limit)
		wantErr(t, err, fs.ErrNotExist)
		entries, err := os.ReadDir(filepath.Join(root, "a/b"))
		must(t, err)
		if len(entries) > 0 {
			t.Fatalf("the failure left %v", entries)
		}

		must(t, dir.Put("abc", []byte("first"), time.Time{}))
		wantData(t, dir, "abc", "first")
		must(t, dir.Put("abc", []byte("again"), time.Time{}))
		wantData(t, dir, "abc", "again")
		for _, data := range []string{"a", strings.Repeat("long", 5000), "short", "", "", "b", "c", ""} {
			old := time.Now().Add(-time.Hour)
			must(t, dir.Touch("abc", old))
			must(t, dir.Replace("abc", []byte(data), time.Time{}))
			wantData(t, dir, "abc", data)
			at, err := dir.ModTime("abc")
			must(t, err)
			if time.Since(at) > time.Minute {
				t.Fatalf("the file with %d bytes was changed at %v", len(data), at)
			}
			f, err := i.load(root, root+"/a/b/abc", 3)
			must(t, err)
			if string(f.Data) != data[:min(3, len(data))] || !f.ModTime.Equal(at) {
				t.Fatalf("the first bytes are %q, changed at %v", f.Data, f.ModTime)
			}
			info, err := os.Lstat(filepath.Join(root, "a/b/abc"))
			must(t, err)
			if info.Mode() != 0o600 {
				t.Fatalf("the mode is %v", info.Mode())
			}
		}

		must(t, dir.Remove("abc"))
		wantErr(t, dir.Remove("abc"), fs.ErrNotExist)
		wantErr(t, dir.Touch("abc", time.Now()), fs.ErrNotExist)
		entries, err = os.ReadDir(filepath.Join(root, "a/b"))
		must(t, err)
		if len(entries) > 0 {
			t.Fatalf("there is still %v", entries)
		}
	})
}

// The root is what somebody has configured, and need not be a clean path.
func TestRootIsNotClean(t *testing.T) {
	for _, root := range []string{"r", "./r", "r/", "r//", "x//r", "x/../r", "./x/./r/", ".", "./", "..", "../r/"} {
		t.Run(root, func(t *testing.T) {
			each(t, func(t *testing.T, i impl, abs string) {
				must(t, os.MkdirAll(filepath.Join(abs, "cwd/x"), 0o700))
				t.Chdir(filepath.Join(abs, "cwd"))
				must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o700))
				dir := i.dir(t, root)
				must(t, dir.Put("abc", []byte("first"), time.Time{}))
				must(t, dir.Replace("abc", []byte("data"), time.Time{}))

				f, err := i.load(root, root+"/a/b/abc", limit)
				must(t, err)
				if string(f.Data) != "data" {
					t.Fatalf("read %q", f.Data)
				}
				data, err := os.ReadFile(filepath.Join(abs, "cwd", root, "a/b/abc"))
				must(t, err)
				if string(data) != "data" {
					t.Fatalf("the file holds %q", data)
				}
				_, err = i.load(root, root+"/a/c/abc", limit)
				wantErr(t, err, fs.ErrNotExist)
			})
		})
	}
}

// Whatever is in the place of the spare, it is not written to.
func TestSpareOfSomebodyElse(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		name := func(base string) string { return filepath.Join(root, "a/b", base) }
		theirs := filepath.Join(root, "theirs")
		must(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
		for kind, make := range map[string]func() error{
			"symbolic link": func() error { return os.Symlink(theirs, name("~bc")) },
			"hard link":     func() error { return os.Link(theirs, name("~bc")) },
			"other mode":    func() error { return os.WriteFile(name("~bc"), []byte("open to all"), 0o644) },
			"no write":      func() error { return os.WriteFile(name("~bc"), []byte("read only"), 0o400) },
			"empty folder":  func() error { return os.Mkdir(name("~bc"), 0o700) },
		} {
			must(t, os.RemoveAll(name("~bc")))
			must(t, dir.Put("abc", []byte("old"), time.Time{}))
			must(t, make())
			err := dir.Replace("abc", []byte("new"), time.Time{})
			if kind != "empty folder" { // which may be an error, but no loss
				must(t, err)
			}
			if f, _ := dir.Load("abc", limit); err == nil && string(f.Data) != "new" || err != nil && string(f.Data) != "old" {
				t.Fatalf("%s: %v, and the file holds %q", kind, err, f.Data)
			}
			info, err := os.Lstat(name("abc"))
			must(t, err)
			if info.Mode() != 0o600 {
				t.Fatalf("%s: the mode is %v", kind, info.Mode())
			}
		}
		data, err := os.ReadFile(theirs)
		must(t, err)
		if string(data) != "theirs" {
			t.Fatalf("their file holds %q", data)
		}
	})
}

// A spare that is left behind was so since this test began, or, where none is kept, since
// always. Its own time does not count.
func TestSpareLeftBehind(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		begun := time.Now().Add(-time.Second) // the clock of a file system is a little behind
		_, err := dir.SpareSince("abc")
		wantErr(t, err, fs.ErrNotExist)
		spare := filepath.Join(root, "a/b/~bc")
		must(t, os.WriteFile(spare, []byte("by half"), 0o600))
		must(t, dir.Touch("~bc", begun.Add(-time.Hour)))
		since, err := dir.SpareSince("abc")
		must(t, err)
		if kept := i.name != portable.name; kept == since.IsZero() || kept && since.Before(begun) {
			t.Fatalf("since %v, and this test began at %v", since, begun)
		}

		// Put and Replace make do without it.
		must(t, dir.Put("abc", []byte("first"), time.Time{}))
		must(t, os.WriteFile(spare, []byte("by half"), 0o600))
		must(t, dir.Replace("abc", []byte("second"), time.Time{}))
		wantData(t, dir, "abc", "second")

		must(t, dir.RemoveSpare("abc"))
		must(t, os.Symlink("abc", spare))
		_, err = dir.SpareSince("abc")
		wantErr(t, err, ErrNotPlain)
	})
}

func TestNotPlain(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		must(t, dir.Put("abc", []byte("data"), time.Time{}))
		must(t, os.Symlink("abc", filepath.Join(root, "a/b/abl")))
		must(t, os.Mkdir(filepath.Join(root, "a/b/abd"), 0o700))
		must(t, os.Symlink("b", filepath.Join(root, "a/l")))
		must(t, os.Symlink("a", filepath.Join(root, "l")))
		must(t, os.WriteFile(filepath.Join(root, "f"), nil, 0o600))
		must(t, os.WriteFile(filepath.Join(root, "a/f"), nil, 0o600))
		for _, path := range []string{"a/l/abc", "l/b/abc", "f/b/abc", "a/f/abc", "a/b/abl", "a/b/abd"} {
			_, err := i.load(root, root+"/"+path, limit)
			wantErr(t, err, ErrNotPlain)
		}
		for _, path := range []string{"a/l", "l/b", "f/b", "a/f"} {
			_, err := i.open(root, root+"/"+path)
			wantErr(t, err, ErrNotPlain)
		}
		for _, name := range []string{"abl", "abd"} {
			_, err := dir.ModTime(name)
			wantErr(t, err, ErrNotPlain)
		}

		// The root itself may be a link, or reached through one.
		link := filepath.Join(t.TempDir(), "link")
		must(t, os.Symlink(root, link))
		f, err := i.load(link, link+"/a/b/abc", limit)
		must(t, err)
		if string(f.Data) != "data" {
			t.Fatalf("read %q", f.Data)
		}
		_, err = i.load(link, link+"/a/l/abc", limit)
		wantErr(t, err, ErrNotPlain)

		// A root that is no folder is an error of its own.
		_, err = i.load(root+"/f", root+"/f/a/b/abc", limit)
		if err == nil || errors.Is(err, ErrNotPlain) || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the error is %v", err)
		}
	})
}

// Remove takes the file last, so an error never means that it is gone.
func TestRemoveFails(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		must(t, dir.Put("abc", []byte("data"), time.Time{}))
		must(t, os.MkdirAll(filepath.Join(root, "a/b/~bc/full"), 0o700))
		if dir.Remove("abc") == nil {
			t.Fatal("a folder in place of the spare was removed")
		}
		wantData(t, dir, "abc", "data")
	})
}

// An empty file is made where nothing is, and nothing is followed or removed that is
// something else.
func TestEmptyFiles(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		name := func(base string) string { return filepath.Join(root, "a/b", base) }
		names := func() string {
			f, err := dir.Names()
			must(t, err)
			defer func() { must(t, f.Close()) }()
			names, err := f.Readdirnames(-1)
			must(t, err)
			slices.Sort(names)
			return strings.Join(names, " ")
		}
		wantNames := func(want string) {
			t.Helper()
			if got := names(); got != want {
				t.Fatalf("the folder has %q, not %q", got, want)
			}
		}
		wantNames("")
		wantMade := func(name string, want bool) {
			t.Helper()
			made, err := dir.Create(name)
			must(t, err)
			if made != want {
				t.Fatalf("%s is made: %t", name, made)
			}
		}
		wantMade("abc", true)
		info, err := os.Lstat(name("abc"))
		must(t, err)
		if info.Mode() != 0o600 || info.Size() != 0 {
			t.Fatalf("mode %v, %d bytes", info.Mode(), info.Size())
		}
		old := time.Now().Add(-time.Hour).Truncate(time.Second)
		must(t, os.WriteFile(name("abc"), []byte("data"), 0o600))
		must(t, dir.Touch("abc", old))
		must(t, os.Mkdir(name("abd"), 0o700))
		must(t, os.Symlink(name("nowhere"), name("abl")))
		for _, n := range []string{"abc", "abd", "abl"} {
			wantMade(n, false)
		}
		wantData(t, dir, "abc", "data")
		at, err := dir.ModTime("abc")
		must(t, err)
		if !at.Equal(old) {
			t.Fatalf("changed at %v", at)
		}
		wantNames("abc abd abl")

		wantErr(t, dir.Unlink("abd"), ErrNotPlain)
		wantErr(t, dir.RemoveDir("abc"), ErrNotPlain)
		wantErr(t, dir.RemoveDir("abl"), ErrNotPlain)
		must(t, os.WriteFile(name("abd/full"), nil, 0o600))
		wantErr(t, dir.RemoveDir("abd"), fs.ErrExist)
		must(t, os.Remove(name("abd/full")))
		wantNames("abc abd abl")
		must(t, dir.RemoveDir("abd"))
		must(t, dir.Unlink("abl"))
		must(t, os.WriteFile(name("~bc"), nil, 0o600))
		must(t, dir.Unlink("abc"))
		wantNames("~bc")
		wantErr(t, dir.Unlink("abc"), fs.ErrNotExist)
		wantErr(t, dir.RemoveDir("abd"), fs.ErrNotExist)

		must(t, os.RemoveAll(filepath.Join(root, "a/b")))
		_, err = dir.Create("abc")
		wantErr(t, err, fs.ErrNotExist)
		_, err = os.Lstat(filepath.Join(root, "a/b"))
		wantErr(t, err, fs.ErrNotExist)
	})
}

// Readers see whole files, never older than the one before, as many as they are.
func TestReadersAndWriter(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		dir := i.dir(t, root)
		must(t, dir.Put("abone", content("abone", 1), time.Time{}))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for last := 0; ; {
					select {
					case <-stop:
						return
					default:
					}
					f, err := i.load(root, root+"/a/b/abone", limit)
					n := 0
					if err == nil {
						n, err = check("abone", f.Data)
					}
					if err != nil || n < last {
						t.Errorf("change %d after change %d: %v", n, last, err)
						return
					}
					last = n
				}
			})
		}
		for n, begun := 2, time.Now(); time.Since(begun) < 300*time.Millisecond; n++ {
			must(t, dir.Replace("abone", content("abone", n), time.Time{}))
		}
		close(stop)
		wg.Wait()
	})
}

// take is Take of either kind of Dir.
func take(to folder, name string, from folder, old string, data []byte, at time.Time) error {
	if d, ok := to.(pathDir); ok {
		return d.Take(name, from.(pathDir), old, data, at)
	}
	return to.(Dir).Take(name, from.(Dir), old, data, at)
}

// A file is moved to another folder with a new content, and nothing else is left in either.
func TestTake(t *testing.T) {
	each(t, func(t *testing.T, i impl, root string) {
		must(t, os.MkdirAll(filepath.Join(root, "x/y"), 0o700))
		from := i.dir(t, root)
		to, err := i.open(root, root+"/x/y")
		must(t, err)
		defer to.Close()
		must(t, from.Put("abc", []byte("first"), time.Time{}))
		must(t, from.Replace("abc", []byte("second, and longer"), time.Time{}))

		at := time.Now().Add(-time.Hour).Truncate(time.Second)
		must(t, take(to, "xyz", from, "abc", []byte("third"), at))
		wantData(t, to, "xyz", "third")
		modTime, err := to.ModTime("xyz")
		must(t, err)
		if !modTime.Equal(at) {
			t.Fatalf("it was changed at %v, not %v", modTime, at)
		}
		wantErr(t, take(to, "xnone", from, "abc", []byte("fourth"), at), fs.ErrNotExist)
		must(t, take(to, "xzz", to, "xyz", []byte("fifth"), time.Time{}))
		wantData(t, to, "xzz", "fifth")
		for dir, want := range map[string]int{"a/b": 0, "x/y": 1} {
			entries, err := os.ReadDir(filepath.Join(root, dir))
			must(t, err)
			if len(entries) != want {
				t.Errorf("%s holds %v", dir, entries)
			}
		}
	})
}
