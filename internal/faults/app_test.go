package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
)

// app is what visitors visit.
//
//	/set?key=value&...  sets values, "" deletes the key
//	/add?key            adds one to a number, by Update
//	/flush, /renew, /logout, /flash?text
//	/get                answers with the values and the flash
//
// The keys are those of keys.
type app struct {
	*webapp.App
}

// keys are those that /get answers with.
var keys = []string{"a", "b", "c", "n"}

func newApp(t testing.TB, opts session.Options) *app {
	t.Helper()
	a := &app{webapp.New(t, opts)}
	a.Get("/set", func(r *http.Request, s session.Session) string {
		for key, vals := range r.URL.Query() {
			if vals[0] == "" {
				s.Delete(key)
			} else {
				s.Set(key, vals[0])
			}
		}
		return "ok"
	})
	a.Get("/add", func(r *http.Request, s session.Session) string {
		session.Update(s, r.URL.RawQuery, func(n int) int { return n + 1 })
		return "ok"
	})
	a.Get("/flush", func(s session.Session) string { s.Flush(); return "ok" })
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) (int, string) {
		if err := s.RegenerateID(w, r); err != nil {
			return http.StatusConflict, err.Error()
		}
		return http.StatusOK, "ok"
	})
	a.Get("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) (int, string) {
		if err := session.Destroy(w, r, s); err != nil {
			return http.StatusConflict, err.Error()
		}
		return http.StatusOK, "ok"
	})
	a.Get("/flash", func(r *http.Request, s session.Session) string { s.SetFlash(r.URL.RawQuery); return "ok" })
	a.Get("/get", func(s session.Session, flash session.Flash) (string, error) {
		seen := make(map[string]any)
		for _, key := range keys {
			if val := s.Get(key); val != nil {
				seen[key] = val
			}
		}
		if flash != nil {
			seen["flash"] = flash
		}
		text, err := json.Marshal(seen)
		return string(text), err
	})
	return a
}

// visitor makes one request after the other, and keeps the cookie that the app has sent.
type visitor struct {
	t   testing.TB
	app http.Handler
	id  string // "" without a cookie
}

func (a *app) visitor(t testing.TB) *visitor { return &visitor{t: t, app: a} }

const cookieName = "flamego_session"

// visit makes a request, takes or drops the cookie as the response says, and returns the status
// and the body.
func (v *visitor) visit(path string) (status int, body string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if v.id != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: v.id})
	}
	w := httptest.NewRecorder()
	v.app.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name != cookieName {
			continue
		}
		if v.id = c.Value; c.MaxAge < 0 {
			v.id = ""
		}
	}
	return w.Code, w.Body.String()
}

// ok is visit for a request that must succeed.
func (v *visitor) ok(path string) (body string) {
	v.t.Helper()
	status, body := v.visit(path)
	require.Equal(v.t, http.StatusOK, status, "%s: %s", path, body)
	return body
}

// see returns what /get answers, by key; numbers are text, too.
func (v *visitor) see() map[string]string {
	v.t.Helper()
	texts, err := v.look()
	require.NoError(v.t, err)
	return texts
}

// look is see for a goroutine that is not that of the test.
func (v *visitor) look() (map[string]string, error) {
	status, body := v.visit("/get")
	if status != http.StatusOK {
		return nil, fmt.Errorf("/get: status %d", status)
	}
	var seen map[string]any
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		return nil, err
	}
	texts := make(map[string]string)
	for key, val := range seen {
		texts[key] = fmt.Sprint(val)
	}
	return texts, nil
}

// with returns a visitor of an app who sends the given ID.
func (a *app) with(t testing.TB, id string) *visitor { return &visitor{t: t, app: a, id: id} }

// set returns the path that sets one key.
func set(key, val string) string { return "/set?" + url.QueryEscape(key) + "=" + url.QueryEscape(val) }

// noSecrets looks for what no error may show.
func noSecrets(t testing.TB, errs []error, secrets ...string) {
	t.Helper()
	for _, err := range errs {
		for _, secret := range secrets {
			if secret != "" && strings.Contains(err.Error(), secret) {
				t.Errorf("an error shows %q: %v", secret, err)
			}
		}
	}
}
