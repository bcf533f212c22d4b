package sessiontest_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/sessiontest"
)

// inBubble runs a test in fake time, on the memory store and on the portable one.
func inBubble(t *testing.T, f func(t *testing.T, opts session.Options)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, session.Options{}) })
	})
	t.Run("backend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, onBackend(mapbackend.New())) })
	})
}

func TestExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, opts session.Options) {
		app, m := newApp(t, opts)
		v := sessiontest.New(t, m, session.Data{"user_id": 123})
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, "123", get(v, app, "/"), "an access")
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, 123, v.Get("user_id"), "no access")
		require.NotEmpty(t, v.ID(), "no access")
		require.Nil(t, v.Flash(), "no access")
		time.Sleep(time.Second)
		require.Nil(t, v.Get("user_id"))
		require.Equal(t, "<nil>", get(v, app, "/"))
	})
}

// To look takes no time from a session and gives it none, whatever FlashFor does.
func TestLookIsNoAccess(t *testing.T) {
	inBubble(t, func(t *testing.T, opts session.Options) {
		opts.TouchInterval = -1
		_, m := newApp(t, opts)
		v := sessiontest.New(t, m, session.Data{"user_id": 123})
		for range 4 {
			time.Sleep(15 * time.Minute)
			v.Get("user_id")
		}
		require.Nil(t, v.Get("user_id"))

		v = sessiontest.New(t, m, session.Data{"user_id": 123})
		for range 10 {
			time.Sleep(15 * time.Minute)
			v.Change(func(session.Session) {})
		}
		require.Equal(t, 123, v.Get("user_id"), "Change is an access")
	})
}

// New is a login, as far as lifetimes and owners are concerned.
func TestNewIsALogin(t *testing.T) {
	inBubble(t, func(t *testing.T, opts session.Options) {
		opts.OwnerKey, opts.MaxOwned, opts.MaxLifetime = "user_id", 2, 3*time.Hour
		app, m := newApp(t, opts)
		owned := func() int {
			list, err := session.Owned(context.Background(), m.Store(), 123)
			require.NoError(t, err)
			return len(list)
		}
		time.Sleep(time.Hour)
		first := sessiontest.New(t, m, session.Data{"user_id": 123})
		first.Change(func(s session.Session) { require.Equal(t, time.Now(), session.IssuedAt(s)) })
		require.Equal(t, 1, owned())
		time.Sleep(time.Second)
		second := sessiontest.New(t, m, session.Data{"user_id": 123})
		require.Equal(t, 2, owned())
		time.Sleep(time.Second)
		third := sessiontest.New(t, m, session.Data{"user_id": 123})
		require.Equal(t, 2, owned())
		require.Nil(t, first.Get("user_id"), "the oldest one has ended")
		require.Equal(t, "123", get(second, app, "/"))

		n, err := session.EndOwned(context.Background(), m.Store(), 123, nil)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, "<nil>", get(third, app, "/"))

		v := sessiontest.New(t, m, session.Data{"user_id": 5})
		for range 5 {
			time.Sleep(30 * time.Minute)
			require.Equal(t, "5", get(v, app, "/"))
		}
		time.Sleep(30 * time.Minute)
		require.Equal(t, "<nil>", get(v, app, "/"), "MaxLifetime")
	})
}

// A visitor that New has made has not come back yet.
func TestFirstLifetime(t *testing.T) {
	inBubble(t, func(t *testing.T, opts session.Options) {
		opts.FirstLifetime = time.Minute
		app, m := newApp(t, opts)
		v, bot := sessiontest.New(t, m, session.Data{"user_id": 1}), sessiontest.New(t, m, session.Data{"user_id": 2})
		time.Sleep(59 * time.Second)
		require.Equal(t, "1", get(v, app, "/"))
		require.Equal(t, 2, bot.Get("user_id"))
		time.Sleep(time.Second)
		require.Equal(t, 1, v.Get("user_id"))
		require.Nil(t, bot.Get("user_id"))
	})
}

func TestSetLifetime(t *testing.T) {
	inBubble(t, func(t *testing.T, opts session.Options) {
		app, m := newApp(t, opts)
		v := sessiontest.New(t, m, session.Data{"user_id": 1})
		v.Change(func(s session.Session) { require.NoError(t, session.SetLifetime(s, 48*time.Hour)) })
		require.Equal(t, int((48 * time.Hour).Seconds()), v.Cookies()[0].MaxAge)
		time.Sleep(47 * time.Hour)
		require.Equal(t, "1", get(v, app, "/"))
		time.Sleep(48 * time.Hour)
		require.Empty(t, v.Cookies())
		require.Nil(t, v.Get("user_id"))
	})
}

// TouchFor and a path that the app does not have.
func TestTouchFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, m := newApp(t, session.Options{TouchFor: func(r *http.Request) bool { return r.URL.Path != "/poll" }})
		v := sessiontest.New(t, m, session.Data{"user_id": 1})
		time.Sleep(50 * time.Minute)
		get(v, app, "/poll")
		time.Sleep(50 * time.Minute)
		require.Nil(t, v.Get("user_id"))
	})
}
