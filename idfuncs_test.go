package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

func TestCustomIDFuncs(t *testing.T) {
	var calls []bool
	a := newApp(t, session.Options{
		ReadIDFunc: func(r *http.Request) string { return r.Header.Get("Session-Id") },
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			calls = append(calls, created)
			w.Header().Set("Session-Id", sid)
		},
	})
	a.Get("/", func(s session.Session) string {
		n, _ := session.Value[int](s, "n")
		s.Set("n", n+1)
		return strings.Repeat("x", n)
	})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := range 3 {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		require.Len(t, w.Body.String(), i)
		require.Empty(t, w.Header()["Set-Cookie"])
		require.Empty(t, w.Header()["Vary"])
		require.Empty(t, w.Header()["Cache-Control"])
		r.Header.Set("Session-Id", w.Header().Get("Session-Id"))
	}
	require.Equal(t, []bool{true, false, false}, calls)
}

// With functions of its own for the ID an app says everything itself, also when
// the ID changes.
func TestCustomIDFuncsAddNoHeader(t *testing.T) {
	var sent []string
	custom := session.Options{
		ReadIDFunc: func(r *http.Request) string { return r.Header.Get("Session-Id") },
		WriteIDFunc: func(_ http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				sent = append(sent, sid)
			}
		},
		Cookie: session.CookieOptions{MaxAge: 60}, TouchInterval: -1,
	}
	for name, tt := range map[string]struct {
		opts         session.Options
		vary, cookie bool
	}{
		"both":  {custom, false, false},
		"read":  {session.Options{ReadIDFunc: custom.ReadIDFunc}, false, true},
		"write": {session.Options{WriteIDFunc: custom.WriteIDFunc}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, tt.opts)
			a.Get("/", func(s session.Session, w http.ResponseWriter, r *http.Request) {
				s.Set("key", 1)
				require.NoError(t, s.RegenerateID(w, r))
			})
			a.Get("/end", func(s session.Session, w http.ResponseWriter, r *http.Request) {
				require.NoError(t, session.Destroy(w, r, s))
			})
			for _, path := range []string{"/", "/", "/end"} {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				if len(sent) > 0 {
					r.Header.Set("Session-Id", sent[len(sent)-1])
				}
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, tt.vary, w.Header().Get("Vary") != "")
				require.Equal(t, tt.cookie, len(ours(w.Header())) == 1)
				require.Equal(t, tt.cookie, w.Header().Get("Cache-Control") != "")
			}
		})
	}
}

// A WriteIDFunc may look at the session whose ID it sends.
func TestWriteIDFuncReadsTheSession(t *testing.T) {
	var s session.Session
	var seen string
	a := newApp(t, session.Options{WriteIDFunc: func(_ http.ResponseWriter, _ *http.Request, sid string, _ bool) {
		if s != nil {
			seen = s.ID()
			require.Equal(t, sid, seen)
		}
	}})
	a.Get("/", func(sess session.Session, w http.ResponseWriter, r *http.Request) {
		s = sess
		require.NoError(t, s.RegenerateID(w, r))
		require.Equal(t, s.ID(), seen)
	})
	a.get("/")
}

// WriteIDFunc may begin the response, even while the session is saved.
func TestWriteIDBeginsTheResponse(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		for _, byHand := range []bool{false, true} {
			sid := ""
			opts.ReadIDFunc = func(*http.Request) string { return "0123456789abcdef" } // nobody knows it
			opts.WriteIDFunc = func(w http.ResponseWriter, _ *http.Request, id string, created bool) {
				if sid = id; created {
					w.WriteHeader(http.StatusAccepted)
				}
			}
			a := newApp(t, opts)
			w := a.once("", func(s session.Session, store session.Store, r *http.Request) string {
				s.Set("key", 1)
				if byHand {
					require.NoError(t, store.Save(r.Context(), s))
				}
				return "ok"
			})
			require.Equal(t, http.StatusAccepted, w.Code)
			require.Equal(t, 1, get(t, a.Store(), sid, "key"))
		}
	})
}
