package sessiontest_test

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/sessiontest"
)

// newApp returns an app with the routes that most tests need, and its Manager.
func newApp(t testing.TB, opts session.Options) (*flamego.Flame, *session.Manager) {
	t.Helper()
	if opts.ErrorFunc == nil {
		opts.ErrorFunc = func(err error) { t.Errorf("told to ErrorFunc: %v", err) }
	}
	m, err := session.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })

	f := flamego.NewWithLogger(io.Discard)
	f.Use(m.Handler())
	f.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("user_id")) })
	f.Get("/id", func(s session.Session) string { return s.ID() })
	f.Get("/visit", func(s session.Session) {
		session.Update(s, "visits", func(n int) int { return n + 1 })
	})
	f.Post("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) (int, string) {
		if err := s.RegenerateID(w, r); err != nil {
			return http.StatusInternalServerError, err.Error()
		}
		s.Set("user_id", 7)
		return http.StatusOK, s.ID()
	})
	f.Post("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		return session.Destroy(w, r, s)
	})
	f.Post("/save", func(c flamego.Context, s session.Session) {
		s.SetFlash("saved")
		c.Redirect("/message", http.StatusSeeOther)
	})
	f.Get("/message", func(flash session.Flash) string { return fmt.Sprint(flash) })
	return f, m
}

func get(v *sessiontest.Visitor, h http.Handler, path string) string {
	return v.Do(h, httptest.NewRequest(http.MethodGet, path, nil)).Body.String()
}

func post(v *sessiontest.Visitor, h http.Handler, path string) *httptest.ResponseRecorder {
	return v.Do(h, httptest.NewRequest(http.MethodPost, path, nil))
}

// onBackend are the options of an app with a store on the backend.
func onBackend(b session.Backend) session.Options {
	return session.Options{
		Initer: session.NewIniter(func(context.Context, struct{}) (session.Backend, session.StoreConfig, error) {
			return b, session.StoreConfig{}, nil
		}),
		Config: struct{}{},
	}
}

// sixMethods is a store of another make. It keeps what its sessions are encoded to, or the sessions
// themselves, which requests then share.
type sixMethods struct {
	mu       sync.Mutex
	encode   bool
	raw      map[string][]byte
	sessions map[string]session.Session
	write    session.IDWriter
}

func newSixMethods(encode bool) session.Initer {
	return func(_ context.Context, args ...interface{}) (session.Store, error) {
		return &sixMethods{
			encode: encode, raw: map[string][]byte{}, sessions: map[string]session.Session{}, write: args[1].(session.IDWriter),
		}, nil
	}
}

func (s *sixMethods) Exist(_ context.Context, sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw[sid] != nil || s.sessions[sid] != nil
}

func (s *sixMethods) Read(_ context.Context, sid string) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess, ok := s.sessions[sid]; ok {
		return sess, nil
	}
	var data session.Data
	if raw, ok := s.raw[sid]; ok {
		data, _ = session.GobDecoder(raw)
	}
	return session.NewBaseSessionWithData(sid, session.GobEncoder, s.write, data), nil
}

func (s *sixMethods) Destroy(_ context.Context, sid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.raw, sid)
	delete(s.sessions, sid)
	return nil
}

func (s *sixMethods) Save(_ context.Context, sess session.Session) error {
	raw, err := sess.Encode()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.encode {
		s.raw[sess.ID()] = raw
	} else {
		s.sessions[sess.ID()] = sess
	}
	return nil
}

func (s *sixMethods) Touch(context.Context, string) error { return nil }
func (s *sixMethods) GC(context.Context) error            { return nil }

// onEach runs a test on the memory store, the portable one, and on two of another make.
func onEach(t *testing.T, f func(t *testing.T, opts session.Options)) {
	for name, opts := range map[string]session.Options{
		"memory":               {},
		"backend":              onBackend(mapbackend.New()),
		"file":                 {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
		"another make":         {Initer: newSixMethods(true)},
		"another make, shared": {Initer: newSixMethods(false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, opts)
		})
	}
}

func TestVisitor(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		app, m := newApp(t, opts)
		v := sessiontest.New(t, m, session.Data{"user_id": 123, 4: "four"})
		require.Equal(t, "123", get(v, app, "/"))
		require.Equal(t, "four", v.Get(4))
		require.Nil(t, v.Get("visits"))
		get(v, app, "/visit")
		get(v, app, "/visit")
		require.Equal(t, 2, v.Get("visits"))
		require.True(t, m.Store().Exist(t.Context(), v.ID()))

		v.Change(func(s session.Session) {
			require.Equal(t, 2, s.Get("visits"))
			s.Set("user_id", 456)
			s.Delete("visits")
		})
		require.Equal(t, "456", get(v, app, "/"))
		require.Nil(t, v.Get("visits"))

		w := post(v, app, "/save")
		require.Equal(t, http.StatusSeeOther, w.Code, "the redirect is not followed")
		require.Equal(t, "saved", v.Flash())
		require.Nil(t, v.Flash())
		require.Equal(t, "<nil>", get(v, app, "/message"))

		w2 := sessiontest.New(t, m, session.Data{"user_id": 1})
		require.Equal(t, "1", get(w2, app, "/"))
		require.Equal(t, "456", get(v, app, "/"), "another visitor")
	})
}

// A visitor who has not been here leaves no trace, whatever is asked.
func TestNobody(t *testing.T) {
	var calls []string
	b := mapbackend.New()
	b.Before = func(_ context.Context, method, _ string) error {
		calls = append(calls, method)
		return nil
	}
	app, m := newApp(t, onBackend(b))
	for _, data := range []session.Data{nil, {}} {
		v := sessiontest.New(t, m, data)
		require.Nil(t, v.Get("user_id"))
		require.Nil(t, v.Flash())
		require.Empty(t, v.ID())
		require.Empty(t, v.Cookies())
		require.Empty(t, calls)

		require.Equal(t, "<nil>", get(v, app, "/"))
		require.Len(t, v.Cookies(), 1, "as a browser has after the first response")
		require.Empty(t, v.ID(), "nothing is stored")
		require.Empty(t, b.Records)
		post(v, app, "/login")
		require.Equal(t, 7, v.Get("user_id"))
		calls, b.Records = nil, map[string]mapbackend.Rec{}
	}

	v := sessiontest.New(t, m, nil)
	v.Change(func(s session.Session) { s.Set("user_id", 5) })
	require.Equal(t, "5", get(v, app, "/"))
}

func TestLoginAndLogout(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		app, m := newApp(t, opts)
		v := sessiontest.New(t, m, session.Data{"cart": "a book"})
		before := v.ID()
		require.Equal(t, v.Cookies()[0].Value, before)
		sid := post(v, app, "/login").Body.String()
		require.NotEqual(t, before, sid)
		require.Equal(t, sid, v.ID())
		require.Equal(t, "a book", v.Get("cart"))
		require.Equal(t, "7", get(v, app, "/"))
		require.False(t, m.Store().Exist(t.Context(), before))

		post(v, app, "/logout")
		require.Empty(t, v.Cookies())
		require.Nil(t, v.Get("user_id"))
		require.Empty(t, v.ID())
		require.Equal(t, "<nil>", get(v, app, "/"))
		v.Change(func(s session.Session) { s.Set("user_id", 9) })
		require.Equal(t, "9", get(v, app, "/"))

		require.NoError(t, m.Store().Destroy(t.Context(), v.ID()))
		require.Nil(t, v.Get("user_id"), "ended from elsewhere")
	})
}

// A flash that a test only looks past stays, whatever FlashFor says, and Flash finds it.
func TestFlashFor(t *testing.T) {
	for name, flashFor := range map[string]func(*http.Request) bool{
		"default": nil,
		"pages":   func(r *http.Request) bool { return r.Header.Get("Accept") == "text/html" },
		"never":   func(*http.Request) bool { return false },
		"always":  func(*http.Request) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, opts session.Options) {
				opts.FlashFor = flashFor
				app, m := newApp(t, opts)
				v := sessiontest.New(t, m, session.Data{"user_id": 1})
				post(v, app, "/save")
				for range 2 {
					require.Equal(t, 1, v.Get("user_id"))
					require.NotEmpty(t, v.ID())
					v.Change(func(s session.Session) { s.Set("user_id", 1) })
					v.Change(func(session.Session) {})
				}
				require.Equal(t, "saved", v.Flash())
				require.Nil(t, v.Flash())
				require.Equal(t, 1, v.Get("user_id"))

				post(v, app, "/save")
				v.Change(func(s session.Session) { s.SetFlash("newer") })
				require.Equal(t, "newer", v.Flash())
			})
		})
	}
}

// Many requests of one visitor at a time, as a browser makes them.
func TestParallelRequests(t *testing.T) {
	for _, opts := range []session.Options{{}, onBackend(mapbackend.New()), inHeader("X-Session-ID")} {
		app, m := newApp(t, opts)
		v := sessiontest.New(t, m, session.Data{"user_id": 1})
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() { get(v, app, "/visit") })
			all.Go(func() { get(v, echo("lang=de"), "/") })
			all.Go(func() {
				v.Change(func(s session.Session) { session.Update(s, "changes", func(n int) int { return n + 1 }) })
			})
			all.Go(func() { _, _, _ = v.Get("visits"), v.Cookies(), v.ID() })
		}
		all.Wait()
		require.Equal(t, 12, v.Get("visits"))
		require.Equal(t, 12, v.Get("changes"))
	}
}

type basket struct{ Items []string }

func init() { gob.Register(basket{}) }

// What Get returns is what a handler gets: in memory the value itself, elsewhere what was decoded.
func TestTypes(t *testing.T) {
	_, m := newApp(t, session.Options{})
	b := &basket{Items: []string{"a book"}}
	require.Same(t, b, sessiontest.New(t, m, session.Data{"basket": b}).Get("basket"))

	_, m = newApp(t, onBackend(mapbackend.New()))
	require.Equal(t, *b, sessiontest.New(t, m, session.Data{"basket": b}).Get("basket"))
}

// The app gets the request of the test, and the test keeps it as it was.
func TestRequestOfTheTest(t *testing.T) {
	app, m := newApp(t, session.Options{})
	var seen *http.Request
	app.Post("/form", func(r *http.Request) string { seen = r; return r.PostFormValue("name") })
	v := sessiontest.New(t, m, session.Data{"user_id": 1})
	r := httptest.NewRequest(http.MethodPost, "https://shop.example/form", http.NoBody)
	r.RemoteAddr = "192.0.2.7:1"
	r.Header.Set("X-Test", "1")
	for range 2 {
		v.Do(app, r)
		require.Equal(t, http.Header{"X-Test": {"1"}}, r.Header)
		cookie := "flamego_session=" + v.ID()
		require.Equal(t, http.Header{"X-Test": {"1"}, "Cookie": {cookie}}, seen.Header)
		require.Equal(t, "192.0.2.7:1", seen.RemoteAddr)
		require.Equal(t, "shop.example", seen.Host)
		post(v, app, "/login")
	}
}

// Protection against requests of other sites stands in the way of no test.
func TestCrossOriginProtection(t *testing.T) {
	app, m := newApp(t, session.Options{})
	v := sessiontest.New(t, m, nil)
	protected := http.NewCrossOriginProtection().Handler(app)
	require.Equal(t, http.StatusOK, post(v, protected, "/login").Code)
	r := httptest.NewRequest(http.MethodPost, "/login", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, v.Do(protected, r).Code)
	require.Equal(t, 7, v.Get("user_id"))
}

// A response in pieces is recorded as one, and what comes after its first byte is stored, too.
func TestFlushAndHijack(t *testing.T) {
	app, m := newApp(t, session.Options{})
	app.Get("/stream", func(w http.ResponseWriter, s session.Session) {
		s.Set("before", 1)
		_, _ = io.WriteString(w, "one ")
		_ = http.NewResponseController(w).Flush()
		s.Set("after", 2)
		_, _ = io.WriteString(w, "two")
	})
	app.Get("/websocket", func(w http.ResponseWriter) (int, string) {
		_, _, err := http.NewResponseController(w).Hijack()
		return http.StatusNotImplemented, fmt.Sprint(err)
	})
	v := sessiontest.New(t, m, nil)
	require.Equal(t, "one two", get(v, app, "/stream"))
	require.Equal(t, 1, v.Get("before"))
	require.Equal(t, 2, v.Get("after"))
	require.Contains(t, get(v, app, "/websocket"), "Hijacker")
}
