package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/mapbackend"
)

// bomb is a value whose encoding panics.
type bomb struct{}

func (bomb) GobEncode() ([]byte, error) { panic("secret") }
func (bomb) GobDecode([]byte) error     { return nil }

// An encoder that panics fails the commit like one that returns an error, and
// the session is not locked for good.
func TestEncoderPanics(t *testing.T) {
	a := newApp(t, backendOptions(mapbackend.New()))
	a.Get("/set", func(s session.Session) { s.Set("key", 1); s.SetFlash("hello") })
	a.Get("/bomb", func(s session.Session) string { s.Set("bomb", bomb{}); return "ok" })
	a.Get("/get", func(s session.Session) string { s.Set("key", 2); return "fine" })
	a.get("/set")
	require.Equal(t, http.StatusInternalServerError, a.get("/bomb").Code)
	errs := a.errs.take()
	require.Len(t, errs, 1)
	require.NotContains(t, errs[0].Error(), "secret")
	require.Equal(t, "fine", a.get("/get").Body.String())
}

// panickyBackend panics when it is to swap.
type panickyBackend struct{ *mapbackend.Backend }

func (panickyBackend) Swap(context.Context, string, []byte, session.Record) (bool, error) {
	panic("in the backend")
}

func TestBackendPanics(t *testing.T) {
	b := panickyBackend{mapbackend.New()}
	store := session.NewStore(b, session.StoreConfig{})
	save(t, store, "abcdef", "key", 1)
	s, err := store.Read(context.Background(), "abcdef")
	require.NoError(t, err)
	s.Set("key", 2)
	for range 2 { // the second time nothing is locked
		require.Panics(t, func() { _ = store.Save(context.Background(), s) })
		require.True(t, s.HasChanged())
	}
}

// An app that destroys the old ID by hand after RegenerateID keeps the session.
func TestDestroyOldIDByHand(t *testing.T) {
	for name, opts := range map[string]session.Options{"memory": {}, "backend": backendOptions(mapbackend.New())} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, opts)
			a.Get("/set", func(s session.Session) { s.Set("key", 1) })
			a.Get("/login", func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
				old := s.ID()
				require.NoError(t, s.RegenerateID(w, r))
				require.NoError(t, store.Destroy(r.Context(), old))
				s.Set("user", 2)
			})
			a.get("/set")
			old := sidOf(a.cookie)
			a.get("/login")
			require.NotEqual(t, old, sidOf(a.cookie))
			require.False(t, a.m.Store().Exist(context.Background(), old))
			require.Equal(t, 1, get(t, a.m.Store(), sidOf(a.cookie), "key"))
			require.Equal(t, 2, get(t, a.m.Store(), sidOf(a.cookie), "user"))
		})
	}
}

// A session that a handler saves by hand follows the same rules: it leaves an ID
// that a client made up, and the cookie has the ID under which it is stored.
func TestSaveByHand(t *testing.T) {
	a := newApp(t, session.Options{TouchInterval: -1, Cookie: session.CookieOptions{MaxAge: 60}})
	a.Get("/save", func(s session.Session, store session.Store, r *http.Request) {
		s.Set("key", 1)
		require.NoError(t, store.Save(r.Context(), s))
	})
	a.Get("/login", func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
		require.NoError(t, s.RegenerateID(w, r))
		require.NoError(t, store.Save(r.Context(), s))
	})
	const planted = "attackersession0"
	a.cookie = "flamego_session=" + planted
	a.get("/save")
	require.False(t, a.m.Store().Exist(context.Background(), planted))
	require.Equal(t, 1, get(t, a.m.Store(), sidOf(a.cookie), "key"))

	w := a.get("/login")
	require.Len(t, w.Header().Values("Set-Cookie"), 1)
	require.Equal(t, 1, get(t, a.m.Store(), sidOf(a.cookie), "key"))
}

// A WriteIDFunc may look at the session whose ID it sends.
func TestWriteIDFuncReadsTheSession(t *testing.T) {
	var s session.Session
	var seen string
	a := newApp(t, session.Options{WriteIDFunc: func(_ http.ResponseWriter, _ *http.Request, sid string, _ bool) {
		if s != nil {
			seen = s.ID()
			require.Equal(t, sid, seen)
		}
	}})
	a.Get("/", func(sess session.Session, w http.ResponseWriter, r *http.Request) {
		s = sess
		require.NoError(t, s.RegenerateID(w, r))
		require.Equal(t, s.ID(), seen)
	})
	a.get("/")
}

// ownSession is a session of a third party that embeds BaseSession for its ID
// and does the rest itself.
type ownSession struct {
	*session.BaseSession
	mu   sync.Mutex
	data map[interface{}]interface{}
}

func (s *ownSession) Get(key interface{}) interface{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[key]
}
func (s *ownSession) Set(key, val interface{}) { s.mu.Lock(); defer s.mu.Unlock(); s.data[key] = val }
func (s *ownSession) HasChanged() bool         { s.mu.Lock(); defer s.mu.Unlock(); return len(s.data) > 0 }

// liveStore hands out one live session to all requests with its ID.
type liveStore struct {
	session.Store
	mu    sync.Mutex
	live  map[string]*ownSession
	saves int
	write session.IDWriter
}

func (s *liveStore) Exist(_ context.Context, sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[sid] != nil
}

func (s *liveStore) Read(_ context.Context, sid string) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[sid] == nil {
		s.live[sid] = &ownSession{BaseSession: session.NewBaseSession(sid, session.GobEncoder, s.write), data: map[interface{}]interface{}{}}
	}
	return s.live[sid], nil
}

func (s *liveStore) Save(context.Context, session.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	return nil
}

func (s *liveStore) Touch(context.Context, string) error { return nil }

// A store that keeps the sessions themselves works, requests in parallel too.
func TestThirdPartyLiveSessions(t *testing.T) {
	store := &liveStore{live: map[string]*ownSession{}}
	a := newApp(t, session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) { return store, nil }})
	a.Get("/set", func(s session.Session) string { s.Set("key", 1); return "ok" })
	a.get("/set")
	require.Positive(t, store.saves)
	require.LessOrEqual(t, store.saves, 2, "before the response, and at the end")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "/set", nil)
			r.Header.Set("Cookie", a.cookie)
			a.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	wg.Wait()
}

// wrapper is a store of an app around ours.
type wrapper struct{ session.Store }

// What cannot be read locks nobody out behind a wrapper either.
func TestUnreadableBehindAWrapper(t *testing.T) {
	b := mapbackend.New()
	a := newApp(t, session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) {
		return wrapper{session.NewStore(b, session.StoreConfig{})}, nil
	}})
	a.Get("/", func(s session.Session) string { return "ok" })
	b.Put("attackersession0", session.Record{Data: []byte("no gob"), TTL: 1 << 40})
	a.cookie = "flamego_session=attackersession0"
	require.Equal(t, "ok", a.get("/").Body.String())
	require.Len(t, a.errs.take(), 1)
}
