package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// Many requests at once inside TouchInterval write nothing at all.
func TestReadOnlyRequestsWriteNothing(t *testing.T) {
	n := new(counts)
	a := newApp(t, backendOptions(n.backend()))
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/", func(s session.Session, flash session.Flash) string {
		s.Get("key")
		return fmt.Sprint(flash)
	})
	a.get("/set")
	cookie := a.cookie
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			v := a.visitor(cookie)
			for range 10 {
				v.get("/")
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, n.writes.Load())
	require.Zero(t, n.extends.Load())
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

// An error that a handler reports by status 500 is no panic: its changes count.
func TestStatus500IsNoPanic(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session) (int, string) {
		s.Set("key", 1)
		return http.StatusInternalServerError, "sorry"
	})
	require.Equal(t, "sorry", a.get("/").Body.String())
	require.Equal(t, 1, get(t, a.Store(), sidOf(a.cookie), "key"))
}

// What cannot be read is an empty session, and the bytes stay until something
// is set.
func TestUnreadable(t *testing.T) {
	b := mapbackend.New()
	a := newApp(t, session.Options{
		Config: b,
		Initer: session.NewIniter(func(_ context.Context, b *mapbackend.Backend) (session.Backend, session.StoreConfig, error) {
			return b, session.StoreConfig{MaxDataSize: 1000}, nil
		}),
	})
	a.Get("/", func(s session.Session, flash session.Flash) string { return fmt.Sprintf("%v %v", s.Get("key"), flash) })
	a.Get("/set", func(s session.Session) { s.Set("key", "new") })
	for name, raw := range map[string][]byte{
		"nothing":   {},
		"json":      []byte(`{"user": 1}`),
		"cut":       plainEncode(t, map[interface{}]interface{}{"key": "old"})[:20],
		"oversized": plainEncode(t, map[interface{}]interface{}{"key": strings.Repeat("x", 2000)}),
	} {
		t.Run(name, func(t *testing.T) {
			a.get("/set")
			sid := sidOf(a.cookie)
			b.Put(sid, session.Record{Data: raw, TTL: time.Hour})

			w := a.get("/")
			require.Equal(t, "<nil> <nil>", w.Body.String())
			require.Empty(t, w.Header().Values("Set-Cookie"))
			errs := a.TakeErrors()
			require.Len(t, errs, 1)
			require.NotContains(t, errs[0].Error(), sid)
			rec, _, err := b.Load(context.Background(), sid)
			require.NoError(t, err)
			require.Equal(t, raw, rec.Data)

			_, err = a.Store().Read(context.Background(), sid)
			require.Error(t, err)
			require.True(t, a.Store().Exist(context.Background(), sid))

			a.get("/set")
			require.Len(t, a.TakeErrors(), 1)
			require.Equal(t, "new <nil>", a.get("/").Body.String())
			require.Empty(t, a.TakeErrors())
		})
	}
}

// A commit goes on when the client has hung up, with the values of the request's context, as those
// of a trace, until Options.Timeout.
func TestContextOfACommit(t *testing.T) {
	type key struct{}
	backend := mapbackend.New()
	a := newApp(t, session.Options{Timeout: time.Minute, Initer: func(context.Context, ...interface{}) (session.Store, error) {
		return session.NewStore(backend, session.StoreConfig{}), nil
	}})
	ctx, hangUp := context.WithCancel(context.WithValue(context.Background(), key{}, "trace"))
	a.Get("/", func(s session.Session) string {
		s.Set("key", "val")
		hangUp()
		return "ok"
	})
	var methods []string
	backend.Before = func(ctx context.Context, method, sid string) error {
		methods = append(methods, method)
		require.Equal(t, "trace", ctx.Value(key{}))
		require.Nil(t, ctx.Value("other"))
		require.NoError(t, ctx.Err())
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", ctx, ctx, ctx), sid)
		deadline, ok := ctx.Deadline()
		require.True(t, ok)
		require.WithinDuration(t, time.Now().Add(time.Minute), deadline, 10*time.Second)
		return nil
	}
	a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	require.Equal(t, []string{"Insert"}, methods)
	require.Len(t, backend.Records, 1)
}
