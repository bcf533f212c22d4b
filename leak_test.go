package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/webapp"
)

// After Close nothing runs any more, and no file is open.
func TestCloseLeavesNothing(t *testing.T) {
	for name, opts := range map[string]session.Options{
		"memory":      {},
		"file":        {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
		"third party": {Initer: newBlindStore},
	} {
		t.Run(name, func(t *testing.T) {
			opts.ErrorFunc = func(err error) { t.Error(err) }
			var files int
			left := counting.Goroutines(t, func() {
				files = openFiles(t)
				w, err := webapp.Open(opts)
				require.NoError(t, err)
				a := &app{App: w, t: t}
				a.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
				a.Get("/set", func(s session.Session) { s.Set("key", 1) })
				a.Get("/flash", func(s session.Session) { s.SetFlash("hello") })
				a.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })
				a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
					return session.Destroy(w, r, s)
				})
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						v := a.visitor("")
						for range 2 {
							for _, path := range []string{"/read", "/set", "/flash", "/read", "/renew", "/set", "/end"} {
								require.Equal(t, http.StatusOK, v.get(path).Code)
							}
						}
					})
				}
				wg.Wait()
				require.NoError(t, a.Close())
				require.NoError(t, a.Close(), "closing again does nothing")
			})
			counting.Eventually(t, left)
			counting.Eventually(t, func() string {
				if n := openFiles(t); n > files {
					return fmt.Sprintf("%d files are open, there were %d", n, files)
				}
				return ""
			})
		})
	}
}

// openFiles counts the open files of this process, where that can be told.
func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// New that fails leaves nothing either.
func TestFailedNewLeavesNothing(t *testing.T) {
	counting.Eventually(t, counting.Goroutines(t, func() {
		for range 10 {
			_, err := session.New(session.Options{TouchInterval: time.Hour})
			require.Error(t, err)
		}
	}))
}

// 20,000 visitors for whom nothing is stored leave an empty store, and all that
// was ever allocated for them, what remembers the IDs that they were given
// included, is less than 1 MB.
func TestVisitorsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	for name, opts := range map[string]session.Options{
		"memory": {},
		"file":   {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: dir}},
	} {
		t.Run(name, func(t *testing.T) {
			warm := newApp(t, session.Options{})
			warm.Get("/", func(s session.Session) string { return "ok" })
			warm.get("/")
			before := heap()
			a := newApp(t, opts)
			var first string
			a.Get("/", func(s session.Session, flash session.Flash) string { s.Get("key"); return "ok" })
			a.Get("/set", func(s session.Session) string { s.Set("key", 1); return s.ID() })
			for n := range 20_000 {
				a.cookie = ""
				a.get("/")
				if n == 19_999 {
					first = a.cookie
				}
			}
			require.Less(t, heap()-before, int64(1_000_000))
			if name == "memory" {
				require.Zero(t, session.MemoryLen(a.Store()))
			} else {
				require.Empty(t, filesIn(t, dir))
			}
			a.cookie = first
			require.Equal(t, sidOf(first), a.get("/set").Body.String(), "the last IDs are still known")
			require.Equal(t, first, a.cookie)
		})
	}
}

func filesIn(t testing.TB, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && len(d.Name()) == 16 {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// Once the body has begun a session cannot have a new ID, through whatever
// writer it is asked for; but it can end.
func TestEndsAfterTheBodyBegan(t *testing.T) {
	for name, wrap := range map[string]func(c flamego.Context, w http.ResponseWriter) http.ResponseWriter{
		"injected": func(_ flamego.Context, w http.ResponseWriter) http.ResponseWriter { return w },
		"context":  func(c flamego.Context, _ http.ResponseWriter) http.ResponseWriter { return c.ResponseWriter() },
		"wrapped": func(_ flamego.Context, w http.ResponseWriter) http.ResponseWriter {
			return struct{ http.ResponseWriter }{w}
		},
		"none": func(flamego.Context, http.ResponseWriter) http.ResponseWriter { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			stores := []session.Options{{}}
			if name == "injected" || name == "context" {
				// A session of another store knows no request, only what the writer says.
				stores = append(stores, session.Options{Initer: newBlindStore})
			}
			for _, opts := range stores {
				a := newApp(t, opts)
				store, ctx := a.Store(), context.Background()
				a.Get("/set", func(s session.Session) { s.Set("key", 1) })
				a.Get("/renew", func(c flamego.Context, s session.Session, w http.ResponseWriter, r *http.Request) {
					write(w, "begun")
					old := s.ID()
					require.ErrorContains(t, s.RegenerateID(wrap(c, w), r), "already sent")
					require.Equal(t, old, s.ID())
					s.Set("key", 2)
				})
				a.Get("/end", func(c flamego.Context, s session.Session, w http.ResponseWriter, r *http.Request) {
					write(w, "begun")
					require.ErrorContains(t, session.Destroy(wrap(c, w), r, s), "already sent")
					s.Set("key", 3)
					require.Nil(t, s.Get("key"))
				})
				a.get("/set")
				sid := sidOf(a.cookie)
				w := a.get("/renew")
				require.Equal(t, http.StatusOK, w.Code)
				require.Empty(t, w.Result().Cookies())
				require.Equal(t, 2, get(t, store, sid, "key"))
				w = a.get("/end")
				require.Equal(t, http.StatusOK, w.Code)
				require.Empty(t, w.Result().Cookies())
				require.False(t, store.Exist(ctx, sid))
				require.Empty(t, a.TakeErrors())
			}
		})
	}
}

// After RegenerateID nothing that happens to the old ID in memory touches the
// session, and nothing is left at its end.
func TestMemoryOldIDAfterRegenerateID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, session.Options{Config: session.MemoryConfig{Lifetime: time.Minute}, TouchInterval: -1})
		store, ctx := a.Store(), t.Context()
		a.Get("/set", func(s session.Session) { s.Set("key", 1) })
		a.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })
		for _, after := range []time.Duration{0, 30 * time.Second, time.Minute - 1} {
			a.cookie = ""
			a.get("/set")
			old := sidOf(a.cookie)
			stale, err := store.Read(ctx, old)
			require.NoError(t, err)
			time.Sleep(after)
			a.get("/renew")
			renewed := sidOf(a.cookie)
			require.NotEqual(t, old, renewed)
			require.Equal(t, 1, session.MemoryLen(store))

			time.Sleep(time.Minute - 1) // the old life is over
			require.NoError(t, store.GC(ctx))
			require.NoError(t, store.Touch(ctx, old))
			require.NoError(t, store.Destroy(ctx, old))
			stale.Set("key", "stale")
			require.NoError(t, store.Save(ctx, stale))
			require.False(t, store.Exist(ctx, old))
			require.Equal(t, 1, get(t, store, renewed, "key"))

			time.Sleep(1)
			require.False(t, store.Exist(ctx, renewed))
			require.NoError(t, store.Destroy(ctx, renewed))
			require.NoError(t, store.GC(ctx))
			require.Zero(t, session.MemoryLen(store))
		}
	})
}

// A session that was read under an ID which dies, and is renewed after that, in
// the order that once ended in a panic.
func TestMemoryRenewAfterExpiry(t *testing.T) {
	for name, end := range map[string]func(store session.Store, sid string) error{
		"expired":   func(session.Store, string) error { return nil },
		"collected": func(store session.Store, _ string) error { return store.GC(context.Background()) },
		"destroyed": func(store session.Store, sid string) error { return store.Destroy(context.Background(), sid) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newMemoryStore(t, time.Minute)
				save(t, store, "abcdef", "key", "old")
				s, err := store.Read(t.Context(), "abcdef")
				require.NoError(t, err)
				time.Sleep(time.Minute)
				require.NoError(t, end(store, "abcdef"))
				require.NoError(t, s.RegenerateID(httptest.NewRecorder(), nil))
				s.Set("mine", 1)
				require.NoError(t, store.Save(t.Context(), s))
				require.Nil(t, get(t, store, s.ID(), "key"), "old data is dead")
				require.Equal(t, 1, get(t, store, s.ID(), "mine"))
				require.False(t, store.Exist(t.Context(), "abcdef"))
				require.NoError(t, store.GC(t.Context()))
				time.Sleep(time.Minute)
				require.NoError(t, store.GC(t.Context()))
				require.Zero(t, session.MemoryLen(store))
			})
		})
	}
}

// The store of a third party is asked to destroy what session.Destroy ends.
func TestDestroyOfAThirdParty(t *testing.T) {
	a := newApp(t, session.Options{Initer: newBlindStore})
	store := a.Store().(*blindStore)
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
		s.Set("late", 1)
		return session.Destroy(w, r, s)
	})
	a.get("/set")
	sid := sidOf(a.cookie)
	require.True(t, store.Exist(context.Background(), sid))
	store.take()
	w := a.get("/end")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, []string{"exist", "read", "destroy"}, store.take())
	require.Empty(t, store.data)
	require.Equal(t, []string{"flamego_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"}, w.Header()["Set-Cookie"])
	require.Empty(t, a.TakeErrors())
}

// foreignSession has nothing of this module.
type foreignSession struct{ session.Session }

type foreignStore struct{ *blindStore }

func (s foreignStore) Read(ctx context.Context, sid string) (session.Session, error) {
	sess, err := s.blindStore.Read(ctx, sid)
	return foreignSession{sess}, err
}

// Of a session that is wholly foreign nobody but its store knows how it ends.
func TestDestroyOfAForeignSession(t *testing.T) {
	a := newApp(t, session.Options{Initer: func(ctx context.Context, args ...interface{}) (session.Store, error) {
		store, err := newBlindStore(ctx, args...)
		return foreignStore{store.(*blindStore)}, err
	}})
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) {
		require.ErrorContains(t, session.Destroy(w, r, s), "session_test.foreignSession is for its own store to destroy")
	})
	a.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	a.get("/set")
	w := a.get("/end")
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, w.Header()["Set-Cookie"])
	require.Equal(t, "1", a.get("/read").Body.String(), "nothing has happened")
	require.ErrorContains(t, session.Destroy(w, nil, nil), "destroy")
	require.ErrorContains(t, session.Destroy(w, nil, blindSession{}), "destroy")
}
