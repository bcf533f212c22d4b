package session_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

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
	require.Len(t, a.TakeErrors(), 1)
}

// stubborn is a session of a third party with nothing of ours that says forever
// that it has changed; its store saves it whole.
type stubborn struct {
	session.Session
	sid     string
	data    map[interface{}]interface{}
	changed bool
}

func (s *stubborn) ID() string                                            { return s.sid }
func (s *stubborn) Get(k interface{}) interface{}                         { return s.data[k] }
func (s *stubborn) Set(k, v interface{})                                  { s.data[k] = v; s.changed = true }
func (s *stubborn) Delete(k interface{})                                  { delete(s.data, k); s.changed = true }
func (s *stubborn) HasChanged() bool                                      { return s.changed }
func (s *stubborn) Encode() ([]byte, error)                               { return session.GobEncoder(s.data) }
func (s *stubborn) RegenerateID(http.ResponseWriter, *http.Request) error { return nil }

type stubbornStore struct {
	session.Store
	mu   sync.Mutex
	data map[string]map[interface{}]interface{}
}

func (s *stubbornStore) Exist(_ context.Context, sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[sid] != nil
}
func (s *stubbornStore) Read(_ context.Context, sid string) (session.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := maps.Clone(s.data[sid])
	if d == nil {
		d = map[interface{}]interface{}{}
	}
	return &stubborn{sid: sid, data: d}, nil
}
func (s *stubbornStore) Save(_ context.Context, sess session.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data[sess.ID()] = maps.Clone(sess.(*stubborn).data)
	return nil
}
func (s *stubbornStore) Touch(context.Context, string) error { return nil }

// Such a session is saved once for each change, or what the next request of the
// browser has stored meanwhile would be undone.
func TestThirdPartyStubbornSessions(t *testing.T) {
	for name, late := range map[string]bool{"nothing late": false, "late change": true} {
		t.Run(name, func(t *testing.T) {
			store := &stubbornStore{data: map[string]map[interface{}]interface{}{}}
			a := newApp(t, session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) { return store, nil }})
			cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
			a.once(cookie, func(s session.Session, w http.ResponseWriter) {
				s.Set("a", 1)
				write(w, "begun")
				if late {
					s.Set("late", 1)
				} else {
					a.once(cookie, func(s session.Session) string { s.Set("b", 2); return "ok" })
				}
			})
			want := map[interface{}]interface{}{"old": 1, "a": 1, "b": 2}
			if late {
				want = map[interface{}]interface{}{"old": 1, "a": 1, "late": 1}
			}
			require.Equal(t, want, store.data[sidOf(cookie)])
		})
	}
}

// lateSetter sets something after the store behind it has saved.
type lateSetter struct {
	session.Store
	late func()
}

func (s *lateSetter) Save(ctx context.Context, sess session.Session) error {
	err := s.Store.Save(ctx, sess)
	if late := s.late; late != nil {
		s.late = nil
		late()
	}
	return err
}

// What is set while a store of another make saves is saved with the next commit, also
// if that store has one of ours behind it.
func TestSetDuringForeignSave(t *testing.T) {
	store := &lateSetter{}
	opts := backendOptions(mapbackend.New())
	inner := opts.Initer
	opts.Initer = func(ctx context.Context, args ...interface{}) (_ session.Store, err error) {
		store.Store, err = inner(ctx, args...)
		return store, err
	}
	a := newApp(t, opts)
	sid := ""
	w := a.once("", func(s session.Session) string {
		sid = s.ID()
		store.late = func() { s.Set("late", 1) }
		s.Set("early", 1)
		return "ok"
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, 1, get(t, store, sid, "early"))
	require.Equal(t, 1, get(t, store, sid, "late"))
}

// blindStore is a store of a third party: the six methods, a session that
// embeds BaseSession, the data in a map, and every call counted.
type blindStore struct {
	mu    sync.Mutex
	data  map[string][]byte
	calls []string
	write session.IDWriter
}

type blindSession struct{ *session.BaseSession }

func newBlindStore(_ context.Context, args ...interface{}) (session.Store, error) {
	s := &blindStore{data: make(map[string][]byte)}
	for _, arg := range args {
		if w, ok := arg.(session.IDWriter); ok {
			s.write = w
		}
	}
	return s, nil
}

func (s *blindStore) call(name string) func() {
	s.mu.Lock()
	s.calls = append(s.calls, name)
	return s.mu.Unlock
}

func (s *blindStore) Exist(_ context.Context, sid string) bool {
	defer s.call("exist")()
	_, ok := s.data[sid]
	return ok
}

func (s *blindStore) Read(_ context.Context, sid string) (session.Session, error) {
	defer s.call("read")()
	raw, ok := s.data[sid]
	if !ok {
		return blindSession{session.NewBaseSession(sid, session.GobEncoder, s.write)}, nil
	}
	data, err := session.GobDecoder(raw)
	return blindSession{session.NewBaseSessionWithData(sid, session.GobEncoder, s.write, data)}, err
}

func (s *blindStore) Destroy(_ context.Context, sid string) error {
	defer s.call("destroy")()
	delete(s.data, sid)
	return nil
}

func (s *blindStore) Touch(context.Context, string) error {
	defer s.call("touch")()
	return nil
}

func (s *blindStore) Save(_ context.Context, sess session.Session) error {
	raw, err := sess.Encode()
	defer s.call("save")()
	s.data[sess.ID()] = raw
	return err
}

func (s *blindStore) GC(context.Context) error { return nil }

func (s *blindStore) take() []string {
	defer s.call("")()
	calls := s.calls[:len(s.calls)-1]
	s.calls = nil
	return calls
}

func TestThirdPartyStore(t *testing.T) {
	a := newApp(t, session.Options{Initer: newBlindStore})
	store := a.Store().(*blindStore)
	a.Get("/set", func(s session.Session) { s.Set("key", 123) })
	a.Get("/get", func(s session.Session) string {
		if session, ok := s.Get("key").(int); ok {
			return strings.Repeat("x", session)
		}
		return "none"
	})
	a.Get("/flash", func(s session.Session) { s.SetFlash("hello") })
	a.Get("/show", func(flash session.Flash) string { text, _ := flash.(string); return text })
	a.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })

	require.Equal(t, "none", a.get("/get").Body.String())
	require.Equal(t, []string{"read"}, store.take())
	a.get("/set")
	require.Equal(t, []string{"exist", "read", "save"}, store.take())
	require.Len(t, a.get("/get").Body.String(), 123)
	require.Equal(t, []string{"exist", "read", "touch"}, store.take())

	a.Get("/body", func(s session.Session) string { s.Set("key", 123); return "ok" })
	a.get("/body")
	require.Equal(t, []string{"exist", "read", "save"}, store.take(), "before the first byte, and not again after it")

	a.get("/flash")
	require.Equal(t, "hello", a.get("/show").Body.String())
	require.Equal(t, "", a.get("/show").Body.String())

	old := a.cookie
	a.get("/renew")
	require.NotEqual(t, old, a.cookie)
	require.Len(t, store.data, 1, "the old session is destroyed")
	require.Len(t, a.get("/get").Body.String(), 123)
	require.Empty(t, a.TakeErrors())
}

// naming is a store of a third party that gives sessions IDs of its own.
type naming struct{ *stubbornStore }

func (s naming) Read(ctx context.Context, sid string) (session.Session, error) {
	return s.stubbornStore.Read(ctx, "own"+sid)
}

// The client is sent the ID that the session has, also by a store that gives it another one
// than it was asked for.
func TestStoreWithIDsOfItsOwn(t *testing.T) {
	store := naming{&stubbornStore{data: make(map[string]map[interface{}]interface{})}}
	a := newApp(t, session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) { return store, nil }})
	a.Get("/", func(s session.Session, r *http.Request) string {
		c, err := r.Cookie("flamego_session")
		require.NoError(t, err)
		require.Equal(t, s.ID(), c.Value)
		return s.ID()
	})
	id := a.get("/").Body.String()
	require.True(t, strings.HasPrefix(id, "own"))
	require.Equal(t, "flamego_session="+id, a.cookie)
}
