package sessiontest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/sessiontest"
)

// inHeader are the options of an app that sends and reads the ID in a header.
func inHeader(name string) session.Options {
	return session.Options{
		ReadIDFunc: func(r *http.Request) string { return r.Header.Get(name) },
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				w.Header().Set(name, sid)
			}
		},
	}
}

func bearer(r *http.Request) string {
	sid, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return sid
}

// nothing is the WriteIDFunc of an app whose handlers hand out the ID.
func nothing(http.ResponseWriter, *http.Request, string, bool) {}

const signature = ".signed"

// Ways to carry the ID that Do finds by itself.
var carriers = map[string]session.Options{
	"header": inHeader("X-Session-ID"),
	"header, always": {
		ReadIDFunc:  func(r *http.Request) string { return r.Header.Get("X-Session-ID") },
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, _ bool) { w.Header().Set("X-Session-ID", sid) },
	},
	"header with a prefix": {
		ReadIDFunc: func(r *http.Request) string {
			sid, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Token ")
			return sid
		},
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				w.Header().Set("Authorization", "Token "+sid)
			}
		},
	},
	"one header there, another one back": {
		ReadIDFunc: bearer,
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				w.Header().Set("X-Auth-Token", sid)
			}
		},
	},
	"in the body of a response": {ReadIDFunc: bearer, WriteIDFunc: nothing},
	"signed cookie": {
		ReadIDFunc: func(r *http.Request) string {
			c, err := r.Cookie("signed")
			if err != nil {
				return ""
			}
			sid, _ := strings.CutSuffix(c.Value, signature)
			return sid
		},
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				http.SetCookie(w, &http.Cookie{Name: "signed", Value: sid + signature})
			}
		},
	},
	"read from cookie or header": {
		ReadIDFunc: func(r *http.Request) string {
			if c, err := r.Cookie("flamego_session"); err == nil {
				return c.Value
			}
			return bearer(r)
		},
	},
}

func TestTokens(t *testing.T) {
	for name, custom := range carriers {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, opts session.Options) {
				opts.ReadIDFunc, opts.WriteIDFunc = custom.ReadIDFunc, custom.WriteIDFunc
				app, m := newApp(t, opts)

				v := sessiontest.New(t, m, session.Data{"user_id": 123})
				require.Equal(t, "123", get(v, app, "/"))
				get(v, app, "/visit")
				require.Equal(t, 1, v.Get("visits"))
				v.Change(func(s session.Session) { s.Set("user_id", 4) })
				require.Equal(t, "4", get(v, app, "/"))
				post(v, app, "/save")
				require.Equal(t, "saved", v.Flash())

				before := v.ID()
				sid := post(v, app, "/login").Body.String()
				require.NotEqual(t, before, sid)
				require.Equal(t, sid, v.ID(), "the new one")
				require.Equal(t, "7", get(v, app, "/"))
				post(v, app, "/logout")
				require.Nil(t, v.Get("user_id"))
				require.Empty(t, v.ID())
				require.Equal(t, "<nil>", get(v, app, "/"))
				require.Equal(t, get(v, app, "/id"), get(v, app, "/id"), "the visitor has what came last")
				post(v, app, "/login")
				require.Equal(t, "7", get(v, app, "/"))

				v = sessiontest.New(t, m, nil)
				require.Nil(t, v.Get("user_id"))
				post(v, app, "/login")
				require.Equal(t, "7", get(v, app, "/"))
				require.Equal(t, 7, v.Get("user_id"))
			})
		})
	}
}

// Where Do cannot put the ID, the test does, and a request without it costs the visitor nothing.
func TestIDInQueryOrPath(t *testing.T) {
	opts := session.Options{
		ReadIDFunc: func(r *http.Request) string {
			if sid, ok := strings.CutPrefix(r.URL.Path, "/t/"); ok {
				return sid
			}
			return r.FormValue("token")
		},
		WriteIDFunc: nothing,
	}
	app, m := newApp(t, opts)
	app.Get("/t/{token}", func(s session.Session) string { return s.ID() })

	v := sessiontest.New(t, m, session.Data{"user_id": 123})
	require.Equal(t, "<nil>", get(v, app, "/"))
	require.Equal(t, "123", get(v, app, "/?token="+v.ID()))
	require.Equal(t, v.ID(), get(v, app, "/t/"+v.ID()))
	require.Equal(t, 123, v.Get("user_id"))
	sid := post(v, app, "/login?token="+v.ID()).Body.String()
	require.Equal(t, sid, v.ID())
	require.Equal(t, 7, v.Get("user_id"))

	sid = post(v, app, "/login").Body.String() // without the token it is another session
	require.Equal(t, sid, v.ID())
}

// What a request carries itself is sent as it is.
func TestTokenOfTheRequest(t *testing.T) {
	app, m := newApp(t, carriers["one header there, another one back"])
	v, other := sessiontest.New(t, m, session.Data{"user_id": 1}), sessiontest.New(t, m, session.Data{"user_id": 2})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+other.ID())
	require.Equal(t, "2", v.Do(app, r).Body.String())
	r.Header.Set("Authorization", "Basic x")
	require.Equal(t, "<nil>", v.Do(app, r).Body.String())
	require.Equal(t, "1", get(v, app, "/"))
}

// An app with the cookie is sent no token.
func TestNoTokenWithCookies(t *testing.T) {
	app, m := newApp(t, session.Options{})
	app.Get("/header", func(r *http.Request) string { return r.Header.Get("Authorization") })
	require.Empty(t, get(sessiontest.New(t, m, session.Data{"user_id": 1}), app, "/header"))
}

// An app may have several Managers. A visitor has a session of the one it was made for.
func TestTwoManagers(t *testing.T) {
	_, site := newApp(t, inHeader("X-Site"))
	_, admin := newApp(t, inHeader("X-Admin"))
	f := flamego.NewWithLogger(io.Discard)
	show := func(s session.Session) string { return s.Get("who").(string) }
	f.Get("/both", site.Handler(), func(s session.Session, c flamego.Context) { s.Set("seen", true) }, admin.Handler(), show)
	f.Get("/site", site.Handler(), show)

	v := sessiontest.New(t, site, session.Data{"who": "a visitor"})
	a := sessiontest.New(t, admin, session.Data{"who": "an admin"})
	require.Equal(t, "an admin", get(a, f, "/both"))
	require.Equal(t, "an admin", a.Get("who"))
	require.Nil(t, a.Get("seen"))
	require.Equal(t, "a visitor", get(v, f, "/site"))
	require.Equal(t, "a visitor", v.Get("who"))

	set := func(s session.Session) { s.Set("who", "new") }
	f.Get("/first", admin.Handler(), set, site.Handler(), set)
	a = sessiontest.New(t, admin, nil)
	get(a, f, "/first")
	require.Equal(t, "new", a.Get("who"))
}

// RegenerateID takes no request, too.
func TestRegenerateIDWithoutRequest(t *testing.T) {
	_, m := newApp(t, inHeader("X-Session-ID"))
	v := sessiontest.New(t, m, session.Data{"user_id": 1})
	v.Change(func(s session.Session) { require.NoError(t, s.RegenerateID(httptest.NewRecorder(), nil)) })
}
