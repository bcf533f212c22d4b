package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/users"
	"github.com/flamego/session/internal/testing/webapp"
)

// The password is asked for when it was given five minutes ago.
func TestFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions, err := session.New(options())
		require.NoError(t, err)
		defer sessions.Close()
		v := webapp.NewBrowser(t, newApp(sessions, users.NewWithHash(users.Plain)))
		v.Do(webapp.Form("/login", "name=alice&password="+users.Password))

		for range 2 {
			time.Sleep(4 * time.Minute)
			assert.Equal(t, "The keys of your account", v.Get("/keys").Body.String())
			time.Sleep(time.Minute)
			assert.Equal(t, "/confirm", v.Get("/keys").Header().Get("Location"))
			v.Do(webapp.Form("/confirm", "password=wrong"))
			assert.Equal(t, "/confirm", v.Get("/keys").Header().Get("Location"))
			assert.Equal(t, "Logged in as alice", v.Get("/").Body.String())
			assert.Equal(t, "/keys", v.Do(webapp.Form("/confirm", "password="+users.Password)).Header().Get("Location"))
		}

		time.Sleep(5 * time.Minute)
		v.Get("//keys")
		assert.Equal(t, "/keys", v.Do(webapp.Form("/confirm", "password="+users.Password)).Header().Get("Location"), "no other host")
	})
}
