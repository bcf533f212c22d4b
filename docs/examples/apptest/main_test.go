package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/sessiontest"
)

func TestProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time is fake in here
		f, sessions := newApp()
		defer sessions.Close()

		// Alice is logged in.
		alice := sessiontest.New(t, sessions, session.Data{"user_id": 123})
		w := alice.Do(f, httptest.NewRequest(http.MethodPost, "/profile", nil))
		if flash := alice.Flash(); w.Code != http.StatusSeeOther || flash != "Saved" {
			t.Errorf("save: status %d, flash %v", w.Code, flash)
		}

		// Bob has not been here, and logs in.
		bob := sessiontest.New(t, sessions, nil)
		login := httptest.NewRequest(http.MethodPost, "/login", nil)
		login.PostForm = map[string][]string{"password": {"secret"}}
		bob.Do(f, login)
		if id := bob.Get("user_id"); id != 456 {
			t.Errorf("login: user %v", id)
		}

		// The Lifetime is an hour.
		time.Sleep(time.Hour)
		w = alice.Do(f, httptest.NewRequest(http.MethodGet, "/profile", nil))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("after an hour: status %d", w.Code)
		}
	})
}
