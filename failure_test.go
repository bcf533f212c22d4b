package session_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// The app answers where its session could not be loaded or saved.
func TestFailFunc(t *testing.T) {
	type want struct {
		code   int
		body   string
		header string // Content-Type
		errors int
	}
	generic := want{http.StatusInternalServerError, "Internal Server Error\n", "text/plain; charset=utf-8", 1}
	for name, tt := range map[string]struct {
		fail func(w http.ResponseWriter, r *http.Request)
		want want
	}{
		"none": {nil, generic},
		"a page": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			write(w, "<p>sorry, "+r.URL.Path)
		}, want{http.StatusInternalServerError, "<p>sorry, /", "text/html", 1}},
		"a status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			write(w, "later")
			w.WriteHeader(http.StatusOK)
		}, want{http.StatusServiceUnavailable, "later", "text/plain; charset=utf-8", 1}},
		"a status alone": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, want{http.StatusServiceUnavailable, "", "", 1}},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/sorry", http.StatusSeeOther)
		}, want{http.StatusSeeOther, "<a href=\"/sorry\">See Other</a>.\n\n", "text/html; charset=utf-8", 1}},
		"no content": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNoContent)
		}, want{http.StatusNoContent, "", "", 1}},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, generic},
		"a header alone": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "100")
			w.Header().Set("Content-Encoding", "gzip")
		}, generic},
		"a panic": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			write(w, "<p>half")
			panic("secret")
		}, want{generic.code, generic.body, generic.header, 2}},
		"no status": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Set-Cookie", "half=1")
			w.WriteHeader(7777)
		}, want{generic.code, generic.body, generic.header, 2}},
		"errors of net/http": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "sorry", http.StatusInternalServerError)
		}, want{http.StatusInternalServerError, "sorry\n", "text/plain; charset=utf-8", 1}},
	} {
		for _, where := range []string{"load", "save", "hook", "twice"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				a, o := newOutageApp(t, session.Options{FailFunc: tt.fail})
				a.Get("/", func(c flamego.Context, w http.ResponseWriter, s session.Session) {
					c.ResponseWriter().Before(func(w flamego.ResponseWriter) {
						w.Header().Set("X-Request-Id", "1")
						if where == "hook" {
							w.Header().Set("Content-Type", "image/png")
							w.Header().Set("Content-Length", "1")
							w.Header().Set("Cache-Control", "public")
						}
					})
					s.Set("key", 1)
					w.Header().Set("Etag", "1")
					w.Header().Set("Content-Type", "image/png")
					o.on.Store(true)
					write(w, "a page")
					if where == "twice" {
						_, err := io.WriteString(w, "more")
						require.Error(t, err)
						http.NewResponseController(w).Flush()
					}
				})
				server := a.serve(t, false)
				r, err := http.NewRequest(http.MethodGet, server.URL, nil)
				require.NoError(t, err)
				r.Header.Set("Cookie", a.visit(func(s session.Session) { s.Set("key", 0) }))
				o.on.Store(where == "load")
				client := server.Client()
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				resp, err := client.Do(r)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				require.NoError(t, err)
				require.Equal(t, tt.want, want{resp.StatusCode, string(body), resp.Header.Get("Content-Type"), tt.want.errors})
				if tt.want.code != http.StatusNoContent {
					require.EqualValues(t, len(tt.want.body), resp.ContentLength)
				}
				require.Empty(t, resp.Header.Get("Etag"))
				require.Empty(t, resp.Header.Get("Cache-Control"))
				require.Empty(t, resp.Header.Get("Content-Encoding"))
				require.Empty(t, resp.Header.Get("Set-Cookie"))
				require.Equal(t, where != "load", resp.Header.Get("X-Request-Id") == "1")
				errs := a.TakeErrors()
				require.Len(t, errs, tt.want.errors)
				require.NotContains(t, fmt.Sprint(errs), "secret")
			})
		}
	}
}

// What does not fail is answered
// as ever.
func TestFailFuncIsNotCalled(t *testing.T) {
	a := newApp(t, session.Options{FailFunc: func(http.ResponseWriter, *http.Request) { t.Error("called") }})
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return "ok" })
	require.Equal(t, "ok", a.get("/").Body.String())
	a.Get("/error", func() (int, string) { return http.StatusInternalServerError, "mine" })
	require.Equal(t, "mine", a.get("/error").Body.String())
}
