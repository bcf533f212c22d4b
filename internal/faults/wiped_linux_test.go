package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFolderMoved has the folder of the sessions replaced by nothing, by a file and by links, and
// put back. What was stored is there at once. SQLite rests on sqlite/watch.go, which looks whether the
// file is still in its place.
func TestFolderMoved(t *testing.T) {
	each(t, subject.onDisk, func(t *testing.T, s subject) {
		failed := 0
		const same, none, fail = "what is stored", "no session", "an error"
		for name, tr := range map[string]struct {
			replace func(place, moved string) error
			file    [2]string // what requests that read and that write of the file store see
			sqlite  string
			texts   []string
		}{
			"nothing": {
				func(string, string) error { return nil },
				[2]string{none, none}, fail, []string{"the file of the database is gone"},
			},
			"a file": {
				func(place, _ string) error { return os.WriteFile(place, nil, 0o600) },
				[2]string{fail, fail}, fail, []string{"open: not a directory", "the file of the database is gone"},
			},
			"a link to it": {
				func(place, moved string) error { return os.Symlink(moved, place) },
				[2]string{same, same}, same, nil,
			},
			"a link to nowhere": {
				func(place, _ string) error { return os.Symlink(place+".nowhere", place) },
				[2]string{none, fail}, fail, []string{"mkdir: file exists", "the file of the database is gone"},
			},
		} {
			reads, writes := tr.sqlite, tr.sqlite
			if s.name == "file" {
				reads, writes = tr.file[0], tr.file[1]
			}
			t.Run(name, func(t *testing.T) {
				place := filepath.Join(t.TempDir(), "place")
				require.NoError(t, os.Mkdir(place, 0o700))
				a := onDiskApp(t, s, place)
				v, reader := a.visitor(t), a.visitor(t)
				v.ok(set("a", "1"))
				reader.ok(set("a", secret))
				id := reader.id

				require.NoError(t, os.Rename(place, place+".moved"))
				require.NoError(t, tr.replace(place, place+".moved"))
				time.Sleep(2 * time.Millisecond) // until a read of SQLite looks again
				for _, visit := range []struct {
					v          *visitor
					path, want string
				}{{v, set("b", secret), writes}, {a.visitor(t), set("b", secret), writes}, {reader, "/get", reads}} {
					status, body := visit.v.visit(visit.path)
					errs := a.TakeErrors()
					if visit.want == fail {
						failed++
						require.Equal(t, http.StatusInternalServerError, status, visit.path)
						require.Len(t, errs, 1)
						trouble{texts: tr.texts}.clear(t, errs[0], place, v.id, id)
						continue
					}
					require.Equal(t, http.StatusOK, status, "%s: %v", visit.path, errs)
					require.Empty(t, errs)
					if visit.path == "/get" {
						require.Equal(t, map[string]string{same: `{"a":"` + secret + `"}`, none: "{}"}[visit.want], body)
					}
				}
				require.NoError(t, os.RemoveAll(place))
				require.NoError(t, os.Rename(place+".moved", place))
				require.Equal(t, secret, a.with(t, id).see()["a"])
				reader.id = id
				reader.ok(set("b", "2"))
				require.Equal(t, map[string]string{"a": secret, "b": "2"}, reader.see())
				a.visitor(t).ok(set("a", "1"))
				require.Empty(t, a.TakeErrors())
			})
		}
		figure(t, "%d requests failed, each with one error; what was stored is there when the folder is back", failed)
	})
}

// TestFolderWiped has somebody remove RootDir again and again while visitors write. Sessions end,
// but no request fails, and what is written after that stays. It rests on folders that are made again
// where one is gone meanwhile.
func TestFolderWiped(t *testing.T) {
	each(t, func(s subject) bool { return s.name == "file" }, func(t *testing.T, s subject) {
		place := filepath.Join(t.TempDir(), "place")
		a := onDiskApp(t, s, place)
		a.visitor(t).ok(set("a", "1"))
		var requests atomic.Int64
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range 4 {
			wg.Go(func() {
				v := a.visitor(t)
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					path := []string{set("a", "1"), "/get", set("b", strconv.Itoa(n)), "/renew", set("c", "me"), "/flash?f", "/logout"}[(n+i)%7]
					if status, body := v.visit(path); status != http.StatusOK {
						t.Errorf("%s: status %d: %s", path, status, body)
					}
					requests.Add(1)
					time.Sleep(time.Millisecond) // else most of the time goes into removing their files
				}
			})
		}
		wipes := 0
		for begun := time.Now(); time.Since(begun) < time.Duration(rounds(2, 15))*time.Second; wipes++ {
			time.Sleep(5 * time.Millisecond)
			require.NoError(t, os.Rename(place, place+".away"), "else it is never empty, and removing it has no end")
			for os.RemoveAll(place+".away") != nil { // who was in it may still make a file
				continue
			}
			require.Eventually(t, func() bool { _, err := os.Stat(place); return err == nil }, 20*time.Second, time.Millisecond, "nobody writes any more")
		}
		close(stop)
		wg.Wait()
		require.Empty(t, a.TakeErrors())
		v := a.visitor(t)
		v.ok(set("a", "1"))
		require.Equal(t, "1", v.see()["a"])
		figure(t, "removed %d times under %d requests; no request failed", wipes, requests.Load())
	})
}
