package session_test

import (
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
