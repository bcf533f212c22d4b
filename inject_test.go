package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/flamego/csrf"
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

// csrf, as it is, on top of our sessions.
func TestCSRF(t *testing.T) {
	for name, opts := range map[string]session.Options{
		"memory":      {},
		"file":        {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
		"third party": {Initer: newBlindStore},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, opts)
			a.Use(csrf.Csrfer())
			a.Get("/form", func(x csrf.CSRF) string { return x.Token() })
			a.Get("/login", func(s session.Session) { s.Set("userID", 1) })
			a.Post("/form", csrf.Validate, func() string { return "accepted" })
			post := func(token string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodPost, "/form", nil)
				r.Header.Set("Cookie", a.cookie)
				r.Header.Set("X-CSRF-Token", token)
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				return w
			}

			token := a.get("/form").Body.String()
			require.NotEmpty(t, token)
			require.Equal(t, token, a.get("/form").Body.String())
			require.Equal(t, "accepted", post(token).Body.String())
			require.Equal(t, http.StatusBadRequest, post("x"+token).Code)

			a.get("/login")
			require.NotEqual(t, token, a.get("/form").Body.String(), "the token belongs to the user")
			require.Equal(t, http.StatusBadRequest, post(token).Code)
		})
	}
}
