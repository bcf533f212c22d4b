package session_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func TestHandlersReceiveTheServices(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(c flamego.Context, s session.Session, store session.Store, w http.ResponseWriter) {
		require.NotNil(t, store)
		require.Implements(t, (*flamego.ResponseWriter)(nil), w)
		require.False(t, c.ResponseWriter().Written())
		require.False(t, store.Exist(c.Request().Context(), s.ID()))
		_, err := w.Write([]byte("text"))
		require.NoError(t, err)
		require.True(t, c.ResponseWriter().Written())
		require.Equal(t, http.StatusOK, c.ResponseWriter().Status())
		require.Equal(t, 4, c.ResponseWriter().Size())
	})
	require.Equal(t, "text", a.get("/").Body.String())
}

// An app may ask for the session by the type that its store makes, which is BaseSession
// for all of ours, and for a store of its own by the type of that.
func TestHandlersReceiveConcreteTypes(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		a.Get("/set", func(b *session.BaseSession) string { b.Set("key", "val"); return "ok" })
		a.Get("/", func(b *session.BaseSession, s session.Session) string {
			require.Same(t, b, s)
			return b.Get("key").(string)
		})
		a.get("/set")
		require.Equal(t, "val", a.get("/").Body.String())
	})
	t.Run("third party", func(t *testing.T) {
		a := newApp(t, session.Options{Initer: newBlindStore})
		a.Get("/set", func(b blindSession) string { b.Set("key", "val"); return "ok" })
		a.Get("/", func(store *blindStore, b blindSession) string {
			require.True(t, store.Exist(context.Background(), b.ID()))
			return b.Get("key").(string)
		})
		a.get("/set")
		require.Equal(t, "val", a.get("/").Body.String())
	})
}
