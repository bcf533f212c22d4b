package session_test

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// To delete a key that is not there is no change: nothing is written, and a visitor stays
// one for whom nothing is stored.
func TestDeleteOfNothing(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		sid := ""
		a.once("", func(s session.Session) string {
			s.Delete("none")
			require.False(t, s.HasChanged())
			sid = s.ID()
			return "ok"
		})
		require.False(t, a.Store().Exist(t.Context(), sid))

		cookie := a.visit(func(s session.Session) { s.Set("key", 1); s.Set("other", 1) })
		a.once(cookie, func(s session.Session) string {
			s.Delete("none")
			require.False(t, s.HasChanged())
			s.Delete("key")
			require.True(t, s.HasChanged())
			require.Nil(t, s.Get("key"))
			return "ok"
		})
		require.Nil(t, get(t, a.Store(), sidOf(cookie), "key"))
		a.once(cookie, func(s session.Session) string {
			s.Set("key", 2)
			s.Delete("key")
			s.Delete("key")
			return "ok"
		})
		require.Nil(t, get(t, a.Store(), sidOf(cookie), "key"))
		require.Equal(t, 1, get(t, a.Store(), sidOf(cookie), "other"))
	})
}

// keeper is a store of another make that keeps the data it has made its sessions of. Its
// Save has nothing to do.
type keeper struct {
	session.Store
	mu    sync.Mutex
	data  map[string]session.Data
	write session.IDWriter
	saved []session.Data // what the data was when Save was called
	busy  bool           // other requests use the data at the same time, so Save must not look
}

func newKeeper(_ context.Context, args ...interface{}) (session.Store, error) {
	k := &keeper{data: make(map[string]session.Data)}
	for _, arg := range args {
		if w, ok := arg.(session.IDWriter); ok {
			k.write = w
		}
	}
	return k, nil
}

func (k *keeper) Exist(_ context.Context, sid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.data[sid] != nil
}

func (k *keeper) Read(_ context.Context, sid string) (session.Session, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.data[sid] == nil {
		k.data[sid] = make(session.Data)
	}
	return session.NewBaseSessionWithData(sid, session.GobEncoder, k.write, k.data[sid]), nil
}

func (k *keeper) Save(_ context.Context, s session.Session) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.busy {
		k.saved = append(k.saved, maps.Clone(k.data[s.ID()]))
	}
	return nil
}

func (k *keeper) Touch(context.Context, string) error { return nil }

// Changes are in that data before Save is called.
func TestStoreThatKeepsTheData(t *testing.T) {
	a := newApp(t, session.Options{Initer: newKeeper})
	k := a.Store().(*keeper)
	cookie := a.visit(func(s session.Session) { s.Set("a", 1); s.Set("b", 1) })
	require.Equal(t, session.Data{"a": 1, "b": 1}, k.saved[len(k.saved)-1])
	a.once(cookie, func(s session.Session) string {
		require.Equal(t, 1, s.Get("a"))
		s.Set("a", 2)
		s.Delete("b")
		s.SetFlash("hello")
		return "ok"
	})
	require.Equal(t, session.Data{"a": 2, "flamego::session::flash": "hello"}, k.saved[len(k.saved)-1])
	a.once(cookie, func(s session.Session, flash session.Flash) string {
		require.Equal(t, "hello", flash)
		s.Flush()
		s.Set("c", 3)
		return "ok"
	})
	require.Equal(t, session.Data{"c": 3}, k.data[sidOf(cookie)])
	n := len(k.saved)
	a.once(cookie, func(s session.Session) string { require.Equal(t, 3, s.Get("c")); return "ok" })
	require.Len(t, k.saved, n, "nothing is saved that has not changed")

	// A handler that panics has changed nothing.
	a.once(cookie, func(c flamego.Context) string {
		func() {
			defer func() { _ = recover() }()
			c.Next()
		}()
		return "ok"
	}, func(s session.Session) { s.Set("c", 4); panic("in the handler") })
	require.Equal(t, session.Data{"c": 3}, k.data[sidOf(cookie)])
	require.Empty(t, a.TakeErrors())
}

// Requests of one session at once use one map. That is safe as far as the sessions go.
func TestStoreThatKeepsTheDataInParallel(t *testing.T) {
	a := newApp(t, session.Options{Initer: newKeeper})
	k := a.Store().(*keeper)
	cookie := a.visit(func(s session.Session) { s.Set("a", 1) })
	k.busy = true
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				a.once(cookie, func(s session.Session) string {
					_ = s.Get("a")
					_, _ = s.Encode()
					s.Set(g, i)
					return "ok"
				})
			}
		})
	}
	wg.Wait()
	want := session.Data{"a": 1}
	for g := range 8 {
		want[g] = 49
	}
	require.Equal(t, want, k.data[sidOf(cookie)])
}

// Handlers may ask for the session and the store by their own types.
func TestConcreteTypes(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		w := a.once("", func(s session.Session, base *session.BaseSession) string {
			base.Set("key", 1)
			require.Equal(t, 1, s.Get("key"))
			return "ok"
		})
		require.Equal(t, http.StatusOK, w.Code)
		require.Len(t, ours(w.Header()), 1)
		require.Equal(t, "ok", w.Body.String())
	})
	a := newApp(t, session.Options{Initer: newBlindStore})
	w := a.once("", func(s session.Session, own blindSession, store session.Store, ownStore *blindStore) string {
		require.Equal(t, s, own)
		require.Equal(t, store, ownStore)
		return "ok"
	})
	require.Equal(t, "ok", w.Body.String())
	a = newApp(t, session.Options{Initer: newKeeper})
	w = a.once("", func(s session.Session, own *session.BaseSession) string {
		require.Same(t, s, own)
		return "ok"
	})
	require.Equal(t, "ok", w.Body.String())
}
