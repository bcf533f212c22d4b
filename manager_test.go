package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/counting"
	"github.com/flamego/session/internal/testing/webapp"
)

func TestGCRunsUntilClose(t *testing.T) { synctest.Test(t, gcRunsUntilClose) }

func gcRunsUntilClose(t *testing.T) {
	calls := make(chan struct{}, 10)
	store := gcStore{calls: calls, err: errors.New("gc failed")}
	errs := make(chan error, 10)
	m, err := session.New(session.Options{
		Initer:     func(context.Context, ...interface{}) (session.Store, error) { return store, nil },
		GCInterval: time.Second,
		ErrorFunc:  func(err error) { errs <- err },
	})
	require.NoError(t, err)
	<-calls
	require.EqualError(t, <-errs, "gc failed")
	require.NoError(t, m.Close())
	require.NoError(t, m.Close(), "closing again does nothing")
	select {
	case <-calls:
		t.Error("GC ran after Close")
	case <-time.After(time.Hour):
	}
}

// The first GC is soon after the start, and those of instances that start together are not
// at the same time.
func TestFirstGC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for interval, soon := range map[time.Duration]time.Duration{
			0: time.Minute, time.Hour: time.Minute, 10 * time.Second: 10 * time.Second,
		} {
			times := make(map[time.Duration]bool)
			for range 10 {
				calls := make(chan struct{}, 1)
				m, err := session.New(session.Options{
					Initer:     func(context.Context, ...interface{}) (session.Store, error) { return gcStore{calls: calls}, nil },
					GCInterval: interval,
				})
				require.NoError(t, err)
				start := time.Now()
				<-calls
				first := time.Since(start)
				require.GreaterOrEqual(t, first, soon/2)
				require.Less(t, first, soon)
				times[first] = true

				start = time.Now()
				<-calls
				want := interval
				if want == 0 {
					want = 5 * time.Minute
				}
				require.Equal(t, want, time.Since(start))
				require.NoError(t, m.Close())
			}
			require.Greater(t, len(times), 5)
		}
	})
}

type gcStore struct {
	session.Store
	calls chan struct{}
	err   error
}

func (s gcStore) GC(context.Context) error {
	s.calls <- struct{}{}
	return s.err
}

func TestBadOptions(t *testing.T) {
	for want, opts := range map[string]session.Options{
		"__Host-":                         {Cookie: session.CookieOptions{Name: "__Host-s"}},
		`"__Host-" needs Secure, Path`:    {Cookie: session.CookieOptions{Name: "__Host-s", Secure: true, Path: "/a"}},
		"no Domain":                       {Cookie: session.CookieOptions{Name: "__Host-s", Secure: true, Domain: "example.com"}},
		"__Secure-":                       {Cookie: session.CookieOptions{Name: "__Secure-s"}},
		"SameSite=None needs Secure":      {Cookie: session.CookieOptions{SameSite: http.SameSiteNoneMode}},
		"artitioned":                      {Cookie: session.CookieOptions{Partitioned: true}},
		"MaxAge is -1":                    {Cookie: session.CookieOptions{MaxAge: -1}},
		"invalid Cookie.Name":             {Cookie: session.CookieOptions{Name: "a b"}},
		"in Cookie.Path":                  {Cookie: session.CookieOptions{Path: "/a;b"}},
		`"__Http-" and`:                   {Cookie: session.CookieOptions{Name: "__Http-s"}},
		"forbid AllowScript":              {Cookie: session.CookieOptions{Name: "__hTTP-s", Secure: true, AllowScript: true}},
		`and "__Host-Http-" need`:         {Cookie: session.CookieOptions{Name: "__host-http-s", Secure: true, AllowScript: true}},
		`"__Host-" needs`:                 {Cookie: session.CookieOptions{Name: "__HOST-s"}},
		`"__Secure-" needs`:               {Cookie: session.CookieOptions{Name: "__secure-s"}},
		"argument of type *session.Memor": {Config: (*session.MemoryConfig)(nil)},
		"IDLength is 256":                 {IDLength: 256},
		"want a config of type session.MemoryConfig and an IDWriter: do Options.Initer and Options.Config belong together?": {Config: session.FileConfig{}},
		"want a config of type session.FileConfig and an IDWriter: the config must not be a pointer":                        {Initer: session.FileIniter(), Config: &session.FileConfig{}},
		"refused by the database": {Initer: failingIniter},
		"returned no store":       {Initer: func(context.Context, ...interface{}) (session.Store, error) { return nil, nil }},
	} {
		m, err := session.New(opts)
		require.Nil(t, m)
		require.ErrorContains(t, err, want)
		require.PanicsWithValue(t, "session: "+err.Error(), func() { session.Sessioner(opts) })
	}
}

func failingIniter(context.Context, ...interface{}) (session.Store, error) {
	return nil, errors.New("refused by the database")
}

func TestIniterArgs(t *testing.T) {
	ctx := context.Background()
	writer := session.IDWriter(func(http.ResponseWriter, *http.Request, string) {})
	for _, initer := range []session.Initer{session.MemoryIniter(), session.FileIniter()} {
		_, err := initer(ctx)
		require.EqualError(t, err, "IDWriter not given")
		_, err = initer(ctx, nil, writer)
		require.NoError(t, err)
		_, err = initer(ctx, writer, "a string")
		require.ErrorContains(t, err, "string")
	}
	_, err := session.FileIniter()(ctx, writer, session.FileConfig{RootDir: t.TempDir()})
	require.NoError(t, err, "any order will do")

	type config struct{ A int }
	initer := session.NewIniter(func(context.Context, config) (session.Backend, session.StoreConfig, error) {
		return nil, session.StoreConfig{}, errors.New("cannot open")
	})
	_, err = initer(ctx, writer)
	require.EqualError(t, err, "config of type session_test.config not given")
	_, err = initer(ctx, writer, &config{})
	require.ErrorContains(t, err, "want a config of type session_test.config")
	_, err = initer(ctx, writer, config{})
	require.EqualError(t, err, "cannot open")
}

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
