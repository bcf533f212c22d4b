package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/with/internal/visitor"
)

func TestForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stored := func() int {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
		require.NoError(t, err)
		return len(files)
	}
	server := visitor.Serve(t, newApp(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: dir},
		Cookie: session.CookieOptions{WhenStored: true},
	}))

	bot := visitor.New(t, server)
	for range 3 {
		answer := bot.Get(server, "/")
		assert.Equal(t, http.StatusOK, answer.StatusCode)
		assert.Empty(t, answer.Cookies())
	}
	assert.Zero(t, stored(), "of somebody who looks at the home page")

	alice := visitor.New(t, server)
	token := tokenOf(t, alice.Get(server, "/profile").Body)
	assert.Equal(t, 1, stored())
	post := func(v *visitor.Visitor, token string) visitor.Answer {
		return v.Post(server, "/profile", url.Values{"name": {"Alice"}, "_csrf": {token}}.Encode())
	}

	without := alice.Post(server, "/profile", "name=Mallory")
	assert.Equal(t, http.StatusBadRequest, without.StatusCode)
	assert.Equal(t, http.StatusBadRequest, post(alice, "x"+token).StatusCode)
	mallory := visitor.New(t, server)
	foreign := tokenOf(t, mallory.Get(server, "/profile").Body)
	assert.Equal(t, http.StatusBadRequest, post(alice, foreign).StatusCode, "a token that somebody else got")
	assert.Contains(t, alice.Get(server, "/profile").Body, "Who are you?")

	// As another site makes her browser post, without her cookie.
	held := visitor.New(t, server).Post(server, "/profile", "name=Mallory")
	assert.Equal(t, http.StatusBadRequest, held.StatusCode)
	assert.Empty(t, held.Cookies(), "it would replace the one that she has")
	assert.Equal(t, 2, stored(), "alice's and mallory's")

	saved := post(alice, token)
	assert.Equal(t, http.StatusOK, saved.StatusCode)
	assert.Contains(t, saved.Body, "Hello, Alice.")
	assert.Equal(t, token, tokenOf(t, saved.Body), "one token for the session, so that several forms can be open")
	assert.Contains(t, visitor.New(t, server).Get(server, "/profile").Body, "Who are you?")
}

// With the secret of the environment a token is good in the next process, too.
func TestSecret(t *testing.T) {
	t.Setenv("CSRF_SECRET", "of all processes")
	opts := session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: t.TempDir()}}
	before, now := visitor.Serve(t, newApp(opts)), visitor.Serve(t, newApp(opts))
	v := visitor.New(t, before)
	form := url.Values{"name": {"Alice"}, "_csrf": {tokenOf(t, v.Get(before, "/profile").Body)}}.Encode()
	assert.Equal(t, http.StatusOK, v.Post(now, "/profile", form).StatusCode)

	require.NoError(t, os.Unsetenv("CSRF_SECRET"))
	assert.Equal(t, http.StatusBadRequest, v.Post(visitor.Serve(t, newApp(opts)), "/profile", form).StatusCode)
}

func tokenOf(t *testing.T, page string) string {
	t.Helper()
	match := regexp.MustCompile(`name="_csrf" value="([^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, match, page)
	return match[1]
}
