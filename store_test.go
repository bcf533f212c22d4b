package session_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

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
			require.False(t, a.Store().Exist(context.Background(), old))
			require.Equal(t, 1, get(t, a.Store(), sidOf(a.cookie), "key"))
			require.Equal(t, 2, get(t, a.Store(), sidOf(a.cookie), "user"))
		})
	}
}

// Destroying the old ID by hand after RegenerateID loses nothing that another
// request has saved meanwhile.
func TestDestroyOldIDByHandBesideSave(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
		var sid string
		a.once(cookie, func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) string {
			a.once(cookie, func(s session.Session) string { s.Set("beside", 2); return "ok" })
			old := s.ID()
			require.NoError(t, s.RegenerateID(w, r))
			require.NoError(t, store.Destroy(r.Context(), old))
			sid = s.ID()
			return "ok"
		})
		require.Equal(t, 1, get(t, a.Store(), sid, "old"))
		require.Equal(t, 2, get(t, a.Store(), sid, "beside"))
	})
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
	require.False(t, a.Store().Exist(context.Background(), planted))
	require.Equal(t, 1, get(t, a.Store(), sidOf(a.cookie), "key"))

	w := a.get("/login")
	require.Len(t, w.Header().Values("Set-Cookie"), 1)
	require.Equal(t, 1, get(t, a.Store(), sidOf(a.cookie), "key"))
}

// A session may be saved by hand while the handler responds.
func TestSaveByHandBesideTheResponse(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		for range 200 {
			var wg sync.WaitGroup
			sid := ""
			w := a.once("", func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
				sid = s.ID()
				s.Set("key", 1)
				wg.Go(func() {
					s.Set("more", 2)
					if err := store.Save(r.Context(), s); err != nil {
						t.Error(err)
					}
				})
				_, _ = w.Write([]byte("ok"))
				wg.Wait()
			})
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, 1, get(t, a.Store(), sid, "key"))
			require.Equal(t, 2, get(t, a.Store(), sid, "more"))
		}
	})
}

// A handler may save its session from several goroutines.
func TestParallelSavesByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		var sid string
		w := a.once("", func(s session.Session, store session.Store, r *http.Request) string {
			sid = s.ID()
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					s.Set(i, i)
					if err := store.Save(r.Context(), s); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return "ok"
		})
		require.Equal(t, http.StatusOK, w.Code)
		for i := range 8 {
			require.Equal(t, i, get(t, a.Store(), sid, i))
		}
	})
}

// Saving the session to another store too makes a copy there: it stays one of its
// own store, and takes part in its merging.
func TestSaveToAnotherStore(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		other := session.NewStore(mapbackend.New(), session.StoreConfig{})
		cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
		a.once(cookie, func(s session.Session) string {
			s.Set("before", 1)
			require.NoError(t, other.Save(context.Background(), s))
			a.once(cookie, func(s session.Session) string { s.Set("beside", 2); return "ok" })
			s.Set("after", 3)
			return "ok"
		})
		for key, want := range map[string]int{"old": 1, "before": 1, "beside": 2, "after": 3} {
			require.Equal(t, want, get(t, a.Store(), sidOf(cookie), key), key)
		}
		require.Equal(t, 1, get(t, other, sidOf(cookie), "old"))
		require.Equal(t, 1, get(t, other, sidOf(cookie), "before"))
	})
}
