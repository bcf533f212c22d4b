package apps_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/flamego/binding"
	"github.com/flamego/cors"
	"github.com/flamego/flamego"
	"github.com/flamego/gzip"
	"github.com/flamego/i18n"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/webapp"
)

// inBothOrders runs a test of an app where the other middleware stands before the
// sessions, and of one where it stands after them.
func inBothOrders(t *testing.T, other flamego.Handler, test func(t *testing.T, f *flamego.Flame, b *webapp.Browser)) {
	for name, handlers := range map[string][]flamego.Handler{
		"before the sessions": {other, session.Sessioner()},
		"after the sessions":  {session.Sessioner(), other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := flamego.NewWithLogger(io.Discard)
			f.Use(handlers...)
			f.Get("/set", func(s session.Session) string { s.Set("name", "alice"); return "Succeed" })
			f.Get("/name", func(s session.Session) string { return s.Get("name").(string) })
			test(t, f, webapp.Connect(t, apps.Serve(t, f)))
		})
	}
}

// flamego/binding: a form that is checked, kept in the session and shown by the next page.
func TestBinding(t *testing.T) {
	type form struct {
		Name string `json:"name" validate:"required"`
	}
	f := apps.New()
	f.Post("/name", binding.JSON(form{}), func(c flamego.Context, s session.Session, form form, errs binding.Errors) {
		if len(errs) > 0 {
			s.SetFlash("No name")
			c.Redirect("/message")
			return
		}
		s.Set("name", form.Name)
		c.Redirect("/name")
	})
	f.Get("/name", func(s session.Session) string { return s.Get("name").(string) })
	b := webapp.Connect(t, apps.Serve(t, f))
	post := func(body string) string {
		w := b.Do(httptest.NewRequest(http.MethodPost, "/name", strings.NewReader(body)))
		require.Equal(t, http.StatusFound, w.Code)
		return w.Header().Get("Location")
	}
	apps.Get(t, b, post(`{"name": "alice"}`), "alice")
	apps.Get(t, b, post(`{}`), "No name")
	apps.Get(t, b, "/name", "alice")
}

// flamego/cors sets headers just before the first byte, as the sessions do. With a list
// of domains it replaces the Vary of whatever stands after it.
func TestCORS(t *testing.T) {
	options := cors.Options{AllowDomain: []string{"example.com"}, AllowCredentials: true}
	inBothOrders(t, cors.CORS(options), func(t *testing.T, _ *flamego.Flame, b *webapp.Browser) {
		do := func(method, path string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, path, nil)
			r.Header.Set("Origin", "http://example.com")
			return b.Do(r)
		}
		require.Equal(t, "GET,OPTIONS,POST", do(http.MethodOptions, "/set").Header().Get("Access-Control-Allow-Methods"))
		require.Equal(t, "Succeed", do(http.MethodGet, "/set").Body.String())
		w := do(http.MethodGet, "/name")
		require.Equal(t, "alice", w.Body.String())
		require.Equal(t, "http://example.com", w.Header().Get("Access-Control-Allow-Origin"))
		if strings.HasSuffix(t.Name(), "after_the_sessions") {
			require.Equal(t, []string{"Origin", "Cookie"}, w.Header()["Vary"])
		} else {
			require.Equal(t, []string{"Origin"}, w.Header()["Vary"])
		}
	})
}

// flamego/gzip puts a writer of its own in place of the response. The handlers ask for
// that writer: what they return passes it by in Flamego 1.13.0, without sessions too.
func TestGzip(t *testing.T) {
	inBothOrders(t, gzip.Gzip(), func(t *testing.T, f *flamego.Flame, b *webapp.Browser) {
		page := strings.Repeat("page", 1<<16)
		f.Get("/early", func(w http.ResponseWriter, s session.Session) {
			s.Set("name", "bob")
			_, _ = io.WriteString(w, page)
		})
		f.Get("/late", func(w http.ResponseWriter, s session.Session) {
			_, _ = io.WriteString(w, page)
			s.Set("name", "carol")
		})
		visit := func(path string) {
			t.Helper()
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Accept-Encoding", "gzip")
			w := b.Do(r) // which unpacks it
			require.Equal(t, "gzip", w.Header().Get("Content-Encoding"))
			require.Equal(t, page, w.Body.String())
		}
		visit("/early")
		apps.Get(t, b, "/name", "bob")
		visit("/late")
		apps.Get(t, b, "/name", "carol")
	})
}

// flamego/i18n keeps the language in a cookie beside that of the session.
func TestI18n(t *testing.T) {
	locales := i18n.I18n(i18n.Options{
		FileSystem: http.FS(fstest.MapFS{
			"locale_en-US.ini": {Data: []byte("hello = Hello %s")},
			"locale_de-DE.ini": {Data: []byte("hello = Hallo %s")},
		}),
		Languages: []i18n.Language{{Name: "en-US", Description: "English"}, {Name: "de-DE", Description: "Deutsch"}},
	})
	inBothOrders(t, locales, func(t *testing.T, f *flamego.Flame, b *webapp.Browser) {
		f.Get("/hello", func(l i18n.Locale, s session.Session) string { return l.Translate("hello", s.Get("name")) })
		names := func(w *httptest.ResponseRecorder) (names []string) {
			for _, c := range w.Result().Cookies() {
				names = append(names, c.Name)
			}
			return names
		}
		w := b.Get("/set?lang=de-DE")
		require.ElementsMatch(t, []string{"flamego_session", "lang"}, names(w))
		for _, c := range w.Result().Cookies() {
			if c.Name == "flamego_session" {
				b.Cookie = "lang=de-DE; " + c.Name + "=" + c.Value
			}
		}
		w = b.Get("/hello")
		require.Equal(t, "Hallo alice", w.Body.String())
		require.Empty(t, names(w))
	})
}
