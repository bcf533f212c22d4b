package redis_test

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/redis"
)

func gobOf(t testing.TB, v interface{}) string {
	var buf bytes.Buffer
	require.NoError(t, gob.NewEncoder(&buf).Encode(v))
	return buf.String()
}

// visitors is an app without a key prefix, on a server where it has keys of its own.
func visitors(t *testing.T, config redis.Config) (*webapp.App, *webapp.Browser) {
	w := webapp.New(t, session.Options{Initer: redis.Initer(), Config: config, TouchInterval: -1})
	w.Get("/read", func(s session.Session) string { return fmt.Sprint(s.Get("n")) })
	w.Get("/set", func(s session.Session) { s.Set("n", 1) })
	w.Get("/flush", func(s session.Session) { s.Flush(); s.Set("n", 1) })
	w.Get("/renew", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return s.RegenerateID(w, r) })
	w.Get("/logout", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return session.Destroy(w, r, s) })
	return w, webapp.NewBrowser(t, w)
}

func TestNoKeyPrefix(t *testing.T) {
	t.Parallel()
	s := testserver.StartRedis(t)
	config := redis.Config{Options: &redis.Options{Addr: s.Addr}, NoKeyPrefix: true}
	c := bare(t, config.Options)
	ctx := t.Context()

	// The session of the old library, with the ID as its key.
	app, b := visitors(t, config)
	const old = "oldsession000000"
	require.NoError(t, c.Set(ctx, old, gobOf(t, map[interface{}]interface{}{"n": 7}), time.Minute).Err())
	b.Cookie = "flamego_session=" + old
	require.Equal(t, "7", b.Get("/read").Body.String())
	require.Greater(t, c.PTTL(ctx, old).Val(), 50*time.Minute, "not extended")
	for _, path := range []string{"/set", "/renew", "/read", "/logout"} {
		require.Equal(t, http.StatusOK, b.Get(path).Code, path)
	}
	require.Zero(t, c.Exists(ctx, strings.TrimPrefix(b.Cookie, "flamego_session=")).Val())

	// Keys of another length are not asked for, whatever they hold.
	for _, name := range []string{"abc", "fifteen00000000", "seventeen00000000"} {
		held := gobOf(t, map[interface{}]interface{}{"n": 7})
		require.NoError(t, c.Set(ctx, name, held, 0).Err())
		b.Cookie = "flamego_session=" + name
		require.Equal(t, "<nil>", b.Get("/read").Body.String())
		require.NotContains(t, b.Cookie, name)
		require.Nil(t, app.TakeErrors())
		store := openStore(t, config)
		_, err := store.Read(ctx, name)
		require.ErrorContains(t, err, "IDLength")
		require.False(t, store.Exist(ctx, name))
		require.Error(t, store.Destroy(ctx, name))
		require.Error(t, store.Touch(ctx, name))
		require.Error(t, store.Save(ctx, session.NewBaseSessionWithData(name, nil, nil, session.Data{"n": 1})))
		require.Equal(t, held, c.Get(ctx, name).Val())
		require.EqualValues(t, -1, c.PTTL(ctx, name).Val())
	}
}

// What is no session is left alone, whatever a visitor does who knows its name.
func TestKeysOfTheApp(t *testing.T) {
	t.Parallel()
	s := testserver.StartRedis(t)
	options := &redis.Options{Addr: s.Addr}
	c := bare(t, options)
	ctx := t.Context()
	for kind, keep := range map[string]func(key string) error{
		"text":   func(key string) error { return c.Set(ctx, key, "hello", 0).Err() },
		"empty":  func(key string) error { return c.Set(ctx, key, "", 0).Err() },
		"number": func(key string) error { return c.Incr(ctx, key).Err() },
		"list":   func(key string) error { return c.LPush(ctx, key, "x").Err() },
		"hash":   func(key string) error { return c.HSet(ctx, key, "k", "v").Err() },
		"gob":    func(key string) error { return c.Set(ctx, key, gobOf(t, []string{"hello"}), 0).Err() },
		"map":    func(key string) error { return c.Set(ctx, key, gobOf(t, map[string]int{"n": 1}), 0).Err() },
		"struct": func(key string) error { return c.Set(ctx, key, gobOf(t, struct{ N int }{1}), 0).Err() },
		"large":  func(key string) error { return c.Set(ctx, key, strings.Repeat("x", 2<<20), 0).Err() },
	} {
		for name, config := range map[string]redis.Config{
			"own":    {Options: options, NoKeyPrefix: true},
			"client": {Client: c, NoKeyPrefix: true},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				key := fmt.Sprintf("%016s", kind+name)
				require.NoError(t, keep(key))
				before := c.Dump(ctx, key).Val()
				app, b := visitors(t, config)
				for path, code := range map[string]int{"/read": 200, "/set": 500, "/flush": 500, "/renew": 500, "/logout": 500} {
					b.Cookie = "flamego_session=" + key
					require.Equal(t, code, b.Get(path).Code, path)
					require.NotNil(t, app.TakeErrors(), path)
				}
				store := app.Store()
				const ours = "is no session of this store"
				require.ErrorContains(t, store.Destroy(ctx, key), ours)
				require.ErrorContains(t, store.Touch(ctx, key), ours)
				require.Error(t, store.Save(ctx, session.NewBaseSessionWithData(key, nil, nil, session.Data{"n": 1})))
				require.Equal(t, before, c.Dump(ctx, key).Val())
				require.EqualValues(t, -1, c.PTTL(ctx, key).Val())
			})
		}
	}
}
