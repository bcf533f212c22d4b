package sessiontest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/sessiontest"
)

// t is what the examples have for the *testing.T of a test: a failure ends them.
var t exampleT

type exampleT struct{ testing.TB }

func (exampleT) Helper()                           {}
func (exampleT) FailNow()                          { panic("the example has failed") }
func (exampleT) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (exampleT) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// app and sessions are those of the examples that do not make their own.
var app, sessions = newExampleApp()

func newExampleApp() (*flamego.Flame, *session.Manager) {
	m, err := session.New()
	if err != nil {
		panic(err)
	}
	f := flamego.NewWithLogger(io.Discard)
	f.Use(m.Handler())
	f.Get("/", func(s session.Session, flash session.Flash) (int, string) {
		name, ok := session.Value[string](s, "name")
		switch {
		case !ok:
			return http.StatusUnauthorized, "Please log in"
		case flash != nil:
			return http.StatusOK, fmt.Sprintf("%v. Hello, %s", flash, name)
		}
		return http.StatusOK, "Hello, " + name
	})
	f.Post("/login", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if r.PostFormValue("password") != "secret" {
			http.Error(w, "Wrong password", http.StatusUnauthorized)
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			panic(err)
		}
		s.Set("name", r.PostFormValue("name"))
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/save", func(c flamego.Context, s session.Session) {
		s.SetFlash("Your changes are saved")
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		return session.Destroy(w, r, s)
	})
	return f, m
}

// The expiry of the package comment, in three lines.
func TestThreeLinesOfFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, sessions := newExampleApp()
		defer func() { _ = sessions.Close() }()

		v := sessiontest.New(t, sessions, session.Data{"name": "alice"})
		time.Sleep(time.Hour)
		if w := v.Do(app, httptest.NewRequest(http.MethodGet, "/", nil)); w.Code != http.StatusUnauthorized {
			t.Errorf("an hour later: %d %s", w.Code, w.Body)
		}
	})
}
