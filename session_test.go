package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func TestRegenerateIDOnTheFirstRequest(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		s.Set("key", 1)
		require.NoError(t, s.RegenerateID(w, r))
		return s.ID()
	})
	w := a.get("/")
	require.Len(t, w.Header().Values("Set-Cookie"), 1, "never two of them")
	require.Equal(t, w.Body.String(), sidOf(a.cookie))
	require.Equal(t, 1, get(t, a.Store(), sidOf(a.cookie), "key"))
}

func TestRegenerateIDAfterTheHeader(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) {
		s.Set("key", 1)
		_, err := w.Write([]byte("begun"))
		require.NoError(t, err)
		old := s.ID()
		require.Error(t, s.RegenerateID(w, r))
		require.Equal(t, old, s.ID())
	})
	w := a.get("/")
	require.Len(t, w.Header().Values("Set-Cookie"), 1)
	require.True(t, a.Store().Exist(httptest.NewRequest(http.MethodGet, "/", nil).Context(), sidOf(a.cookie)))
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

// A logout of a session that holds nothing yet is one all the same: a request
// that was under way stores nothing under its ID.
func TestDestroyOfAnEmptySession(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(session.Session) {})
		a.once(cookie, func(s session.Session) string {
			a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
				require.NoError(t, session.Destroy(w, r, s))
				return "bye"
			})
			s.Set("user", 1)
			return "ok"
		})
		require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)))
	})
}

// A session that begins and ends in one request is nobody's business.
func TestSetAndDestroyOfANewVisitor(t *testing.T) {
	var calls []string
	a := newApp(t, backendOptions(before(func(_ context.Context, method, _ string) error {
		if method != "Sweep" {
			calls = append(calls, method)
		}
		return nil
	})))
	w := a.once("", func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		s.Set("key", 1)
		require.NoError(t, session.Destroy(w, r, s))
		return "ok"
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, calls)
}

// A session may be encoded while it is saved, also if that fails.
func TestEncodeBesideASave(t *testing.T) {
	ctx := context.Background()
	swaps := 0
	store := session.NewStore(before(func(_ context.Context, method, _ string) error {
		if method == "Swap" {
			if swaps++; swaps%2 == 0 {
				return fmt.Errorf("%w: no connection", session.ErrNotApplied)
			}
		}
		return nil
	}), session.StoreConfig{})
	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("abc", nil, nil, session.Data{"key": 0})))
	s, err := store.Read(ctx, "abc")
	require.NoError(t, err)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := s.Encode(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 2000 {
		s.Set(i%10, i)
		_ = store.Save(ctx, s)
	}
	close(done)
	wg.Wait()
	require.NoError(t, store.Save(ctx, s))
	require.Equal(t, 1999, get(t, store, "abc", 9))
}

// A logout ends the session also if its record was gone before, and another request has
// begun it anew.
func TestDestroyOfAVanishedSession(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("user", 1) })
		w := a.once(cookie, func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) string {
			require.NoError(t, a.Store().Destroy(r.Context(), s.ID()))
			s.Set("user", 2)
			require.NoError(t, store.Save(r.Context(), s))
			save(t, a.Store(), s.ID(), "user", 3)
			require.NoError(t, session.Destroy(w, r, s))
			return "bye"
		})
		require.Len(t, ours(w.Header()), 1)
		require.False(t, a.Store().Exist(t.Context(), sidOf(cookie)))
	})
}

// The zero BaseSession, which a store of one's own may embed, is one without functions.
func TestZeroBaseSession(t *testing.T) {
	var s session.BaseSession
	s.Set("key", "val")
	require.Equal(t, "val", s.Get("key"))
	_, err := s.Encode()
	require.EqualError(t, err, "session: encode: the session has no encoder")
	require.NoError(t, s.RegenerateID(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)))
	require.Len(t, s.ID(), 16)
}
