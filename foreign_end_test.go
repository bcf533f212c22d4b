package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

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

// failingDestroy is such a store that does not destroy the first time.
type failingDestroy struct {
	*blindStore
	tries int
}

func (s *failingDestroy) Destroy(ctx context.Context, sid string) error {
	if s.tries++; s.tries == 1 {
		return errors.New("not today")
	}
	return s.blindStore.Destroy(ctx, sid)
}

// A logout that fails has ended nothing: the session lives, and keeps what requests set.
func TestFailedDestroyOfAThirdParty(t *testing.T) {
	a := newApp(t, session.Options{Initer: func(ctx context.Context, args ...interface{}) (session.Store, error) {
		s, err := newBlindStore(ctx, args...)
		return &failingDestroy{blindStore: s.(*blindStore)}, err
	}})
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/again", func(s session.Session) string { s.Set("again", s.Get("key")); return "" })
	a.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("again")) })
	a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
		return session.Destroy(w, r, s)
	})
	a.get("/set")
	before := a.cookie
	require.Equal(t, http.StatusInternalServerError, a.get("/end").Code)
	require.Len(t, a.TakeErrors(), 1)
	require.Equal(t, before, a.cookie)
	a.get("/again")
	require.Equal(t, "1", a.get("/read").Body.String())
	require.Equal(t, http.StatusOK, a.get("/end").Code)
	require.Empty(t, a.Store().(*failingDestroy).data)
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
