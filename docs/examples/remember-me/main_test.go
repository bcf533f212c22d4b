package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/users"
	"github.com/flamego/session/internal/testing/webapp"
)

// A visitor who wants to be remembered is, for 30 days from the last request and 90 in all.
func TestRememberedFor30Days(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := options()
		opts.GCInterval = 24 * time.Hour // 90 days have 25,920 times 5 minutes
		sessions, err := session.New(opts)
		require.NoError(t, err)
		defer sessions.Close()
		app := newApp(sessions, users.NewWithHash(users.Plain))
		plain, remembered := webapp.NewBrowser(t, app), webapp.NewBrowser(t, app)
		login := "name=alice&password=" + users.Password
		plain.Do(webapp.Form("/login", login))
		remembered.Do(webapp.Form("/login", login+"&remember=on"))
		begin := time.Now()
		isIn := func(v *webapp.Browser) bool { return strings.Contains(v.Get("/").Body.String(), "Logged in") }

		time.Sleep(59 * time.Minute)
		assert.True(t, isIn(plain))
		time.Sleep(61 * time.Minute)
		assert.False(t, isIn(plain))
		assert.True(t, isIn(remembered))
		for time.Since(begin) < 90*24*time.Hour-time.Minute {
			require.True(t, isIn(remembered), "after %v", time.Since(begin))
			time.Sleep(min(29*24*time.Hour, 90*24*time.Hour-time.Minute-time.Since(begin)))
		}
		assert.True(t, isIn(remembered))
		time.Sleep(time.Minute)
		assert.False(t, isIn(remembered), "90 days after the login")

		remembered.Do(webapp.Form("/login", login+"&remember=on"))
		assert.True(t, isIn(remembered))
		time.Sleep(30 * 24 * time.Hour)
		assert.False(t, isIn(remembered), "30 days without a request")
	})
}
