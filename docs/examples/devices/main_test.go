package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/users"
	"github.com/flamego/session/internal/testing/webapp"
)

// A login that has checked the old password, and is committed after all sessions of the user
// were ended, logs nobody in.
func TestLateLogin(t *testing.T) {
	var slow atomic.Bool
	checked, goOn := make(chan struct{}), make(chan struct{})
	people := users.NewWithHash(func(password string, salt []byte) []byte {
		if slow.CompareAndSwap(true, false) {
			close(checked)
			<-goOn
		}
		return users.Plain(password, salt)
	})
	sessions, err := session.New(options())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sessions.Close()) })
	server := httptest.NewServer(newApp(sessions, people))
	t.Cleanup(server.Close)
	owner, thief := webapp.Connect(t, server.URL), webapp.Connect(t, server.URL)

	login := "name=alice&password=" + users.Password
	require.Equal(t, "/", owner.Do(webapp.Form("/login", login)).Header().Get("Location"))

	// The login of the thief has read the row of the user.
	slow.Store(true)
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- thief.Do(webapp.Form("/login", login)) }()
	<-checked
	require.Equal(t, "/", owner.Do(webapp.Form("/password", "password="+users.Password+"&new=battery")).Header().Get("Location"))
	close(goOn)
	require.Equal(t, "/", (<-done).Header().Get("Location"), "the password was right when it was checked")

	owned, err := session.Owned(context.Background(), sessions.Store(), 7)
	require.NoError(t, err)
	require.Len(t, owned, 2, "the login is committed after the others were ended")
	assert.Equal(t, "/login", thief.Get("/").Header().Get("Location"))
	assert.Equal(t, http.StatusOK, owner.Get("/").Code)
}
