package webapp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

func TestBrowser(t *testing.T) {
	a := webapp.New(t, session.Options{})
	a.Get("/set", func(s session.Session) (int, string) { s.Set("key", 1); return http.StatusCreated, s.ID() })
	a.Get("/get", func(s session.Session) string { return s.ID() })
	a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
		return session.Destroy(w, r, s)
	})
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	for name, b := range map[string]*webapp.Browser{"called": webapp.NewBrowser(t, a), "connected": webapp.Connect(t, server.URL)} {
		t.Run(name, func(t *testing.T) {
			w := b.Get("/set")
			require.Equal(t, http.StatusCreated, w.Code)
			require.Len(t, w.Header()["Set-Cookie"], 1)
			sid := w.Body.String()
			require.Equal(t, "flamego_session="+sid, b.Cookie)
			require.Equal(t, sid, b.Get("/get").Body.String())
			b.Get("/end")
			require.Empty(t, b.Cookie)
			require.NotEqual(t, sid, b.Get("/get").Body.String())
		})
	}
}

func TestErrors(t *testing.T) {
	_, err := webapp.Open(session.Options{IDLength: 1000})
	require.Error(t, err)

	opts := session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}}
	a := webapp.New(t, opts)
	var told error
	opts.ErrorFunc = func(err error) { told = errors.Join(told, err) }
	b := webapp.New(t, opts)
	for _, a := range []*webapp.App{a, b} {
		a.Get("/", func(s session.Session) { s.Set("key", func() {}) })
		require.Equal(t, http.StatusInternalServerError, webapp.NewBrowser(t, a).Get("/").Code)
	}
	require.Len(t, a.TakeErrors(), 1)
	require.Empty(t, a.TakeErrors())
	require.Error(t, told)
	require.Empty(t, b.TakeErrors())
}
