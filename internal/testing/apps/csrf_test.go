package apps_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/flamego/csrf"
	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/sessiontest"
)

// flamego/csrf, as it is, on top of the sessions.
func TestCSRF(t *testing.T) {
	for name, opts := range map[string]session.Options{
		"memory":       {},
		"file":         {Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}},
		"of the app":   {Initer: docIniter(), Config: docConfig{Lifetime: time.Minute}},
		"session type": {Initer: plainIniter},
	} {
		t.Run(name, func(t *testing.T) { // not in parallel: Csrfer draws secrets from one source without a lock
			f := apps.New(opts)
			f.Use(csrf.Csrfer())
			f.Get("/form", func(x csrf.CSRF) string { return x.Token() })
			f.Get("/user", func(s session.Session) { s.Set("userID", 1) })
			f.Post("/form", csrf.Validate, func() string { return "accepted" })
			b := webapp.Connect(t, apps.Serve(t, f))
			post := func(r *http.Request, code int, body string) {
				t.Helper()
				w := b.Do(r)
				require.Equal(t, code, w.Code)
				require.Equal(t, body, w.Body.String())
			}
			byHeader := func(token string) *http.Request {
				r := httptest.NewRequest(http.MethodPost, "/form", nil)
				r.Header.Set("X-CSRF-Token", token)
				return r
			}
			byForm := func(token string) *http.Request {
				r := httptest.NewRequest(http.MethodPost, "/form", strings.NewReader(url.Values{"_csrf": {token}}.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				return r
			}
			const invalid = "Bad Request: invalid CSRF token\n"

			token := b.Get("/form").Body.String()
			require.NotEmpty(t, token)
			apps.Get(t, b, "/form", token)
			post(byHeader(token), http.StatusOK, "accepted")
			post(byForm(token), http.StatusOK, "accepted")
			post(byHeader("x"+token), http.StatusBadRequest, invalid)
			post(byForm("x"+token), http.StatusBadRequest, invalid)

			apps.Get(t, b, "/login", "")
			apps.Get(t, b, "/form", token)

			apps.Get(t, b, "/user", "")
			require.NotEqual(t, token, b.Get("/form").Body.String(), "the token belongs to the user")
			post(byHeader(token), http.StatusBadRequest, invalid)
		})
	}
}

// The test of an app with flamego/csrf: the token is in the form.
func TestCSRFInTestsOfApps(t *testing.T) {
	sessions, err := session.New()
	require.NoError(t, err)
	defer func() { _ = sessions.Close() }()
	f := flamego.NewWithLogger(io.Discard)
	f.Use(sessions.Handler(), csrf.Csrfer())
	f.Get("/form", func(x csrf.CSRF) string { return x.Token() })
	f.Post("/form", csrf.Validate, func(s session.Session) { s.Set("sent", true) })

	v := sessiontest.New(t, sessions, session.Data{"user_id": 123})
	require.Equal(t, http.StatusBadRequest, v.Do(f, httptest.NewRequest(http.MethodPost, "/form", nil)).Code)
	form := v.Do(f, httptest.NewRequest(http.MethodGet, "/form", nil))
	r := httptest.NewRequest(http.MethodPost, "/form", nil)
	r.Header.Set("X-CSRF-Token", form.Body.String())
	require.Equal(t, http.StatusOK, v.Do(f, r).Code)
	require.Equal(t, true, v.Get("sent"))
}
