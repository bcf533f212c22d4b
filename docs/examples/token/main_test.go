package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/users"
	"github.com/flamego/session/internal/testing/webapp"
)

func TestToken(t *testing.T) {
	sessions, err := session.New(options())
	require.NoError(t, err)
	defer sessions.Close()
	app := newApp(sessions, users.NewWithHash(users.Plain))

	do := func(r *http.Request, token string) *httptest.ResponseRecorder {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		assert.Empty(t, w.Header().Get("Set-Cookie"))
		return w
	}
	login := func(token string) string {
		w := do(webapp.Form("/login", "name=alice&password="+users.Password), token)
		require.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		var got struct{ Token string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Len(t, got.Token, 25)
		return got.Token
	}
	me := func(token string) int { return do(httptest.NewRequest(http.MethodGet, "/me", nil), token).Code }

	for _, wrong := range []string{"", "wrong", strings.Repeat("a", 25)} {
		assert.Equal(t, http.StatusUnauthorized, me(wrong))
	}
	assert.Equal(t, http.StatusUnauthorized, do(webapp.Form("/login", "name=alice&password=wrong"), "").Code)

	phone, tablet := login(""), login("")
	assert.NotEqual(t, phone, tablet)
	assert.Equal(t, http.StatusOK, me(phone))
	for header, status := range map[string]int{"bearer " + phone: http.StatusOK, phone: http.StatusUnauthorized, "Basic " + phone: http.StatusUnauthorized} {
		r := httptest.NewRequest(http.MethodGet, "/me", nil)
		r.Header.Set("Authorization", header)
		assert.Equal(t, status, do(r, "").Code, header)
	}

	again := login(phone)
	assert.Equal(t, http.StatusUnauthorized, me(phone), "the old token")
	assert.Equal(t, http.StatusOK, me(again))

	assert.Equal(t, http.StatusNoContent, do(webapp.Form("/logout", ""), again).Code)
	assert.Equal(t, http.StatusUnauthorized, me(again))
	assert.Equal(t, http.StatusOK, me(tablet))
}
