package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
	"github.com/flamego/session/internal/testing/webapp"
)

// onClocks runs a test on the memory store and on the portable one, on a clock of its own.
func onClocks(t *testing.T, f func(t *testing.T, opts session.Options)) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		synctest.Test(t, func(t *testing.T) {
			if opts.Initer != nil {
				opts = backendOptions(mapbackend.New()) // made on that clock
			}
			f(t, opts)
		})
	})
}

// lifeApp is an app whose visitor can do to the session what has to do with how long it lives.
func lifeApp(t *testing.T, opts session.Options) *app {
	t.Helper()
	a := newApp(t, opts)
	a.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	a.Get("/poll", func(s session.Session) string { return fmt.Sprint(s.Get("key")) })
	a.Get("/set", func(s session.Session) { s.Set("key", 1) })
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		require.NoError(t, s.RegenerateID(w, r))
	})
	a.Get("/flush", func(s session.Session) { s.Flush(); s.Set("key", 1) })
	a.Get("/remember", func(s session.Session) {
		require.NoError(t, session.SetLifetime(s, 30*24*time.Hour))
		s.Set("key", 1)
	})
	a.Get("/short", func(s session.Session) { require.NoError(t, session.SetLifetime(s, 5*time.Minute)); s.Set("key", 1) })
	a.Get("/forget", func(s session.Session) { require.NoError(t, session.SetLifetime(s, 0)) })
	a.Get("/issued", func(s session.Session) string { return fmt.Sprint(session.IssuedAt(s).UnixMilli()) })
	return a
}

func (a *app) requireKey(want string) {
	a.t.Helper()
	require.Equal(a.t, want, a.get("/").Body.String())
}

func TestMaxLifetime(t *testing.T) {
	const most = 3 * time.Hour
	for _, path := range []string{"/", "/set", "/flush", "/remember"} {
		onClocks(t, func(t *testing.T, opts session.Options) {
			opts.MaxLifetime = most
			a := lifeApp(t, opts)
			a.get("/set")
			end := time.Now().Add(most)
			for time.Until(end) > 5*time.Minute {
				time.Sleep(4 * time.Minute)
				a.get(path)
				a.requireKey("1")
			}
			time.Sleep(time.Until(end) - time.Millisecond)
			a.requireKey("1")
			time.Sleep(time.Millisecond)
			sid := sidOf(a.cookie)
			require.False(t, a.Store().Exist(t.Context(), sid))
			a.requireKey("<nil>")

			// A new ID begins anew.
			a.get("/set")
			time.Sleep(30 * time.Minute)
			a.get("/renew")
			begun := time.Now()
			for time.Since(begun) < most-30*time.Minute {
				a.requireKey("1")
				time.Sleep(20 * time.Minute)
			}
			a.requireKey("1")
			time.Sleep(most - time.Since(begun))
			a.requireKey("<nil>")
		})
	}
}

// The record ends when the session does, whatever writes it.
func TestMaxLifetimeEndsTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mapbackend.New()
		opts := backendOptions(b)
		opts.MaxLifetime = 90 * time.Minute
		a := lifeApp(t, opts)
		a.get("/set")
		end := time.Now().Add(opts.MaxLifetime)
		for _, path := range []string{"/", "/set", "/remember", "/", "/flush", "/forget"} {
			time.Sleep(10 * time.Minute)
			a.get(path)
			want := min(time.Hour, time.Until(end))
			if path == "/remember" || path == "/flush" {
				want = time.Until(end)
			}
			b.Mu.Lock()
			left := time.Until(b.Records[sidOf(a.cookie)].Expiry)
			b.Mu.Unlock()
			require.GreaterOrEqual(t, left, want, path)
			require.LessOrEqual(t, left, time.Until(end), path)
		}
	})
}

// Where MaxLifetime ends the session there is nothing to extend, however often the session is
// to be extended.
func TestMaxLifetimeExtendsNothing(t *testing.T) {
	for _, interval := range []time.Duration{-1, 0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var writes atomic.Int64
			opts := backendOptions(before(func(_ context.Context, method, _ string) error {
				if method == "Swap" || method == "Extend" {
					writes.Add(1)
				}
				return nil
			}))
			opts.MaxLifetime, opts.TouchInterval = 30*time.Minute, interval
			a := lifeApp(t, opts)
			a.get("/set")
			for range 29 {
				time.Sleep(time.Minute)
				a.requireKey("1")
			}
			require.Zero(t, writes.Load(), "writes with the interval %v", interval)
		})
	}
}

// A session from before MaxLifetime is counted from its next extension.
func TestMaxLifetimeOfOlderSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mapbackend.New()
		old := lifeApp(t, backendOptions(b))
		old.get("/set")
		opts := backendOptions(b)
		opts.MaxLifetime = 2 * time.Hour
		a := lifeApp(t, opts)
		a.cookie = old.cookie
		time.Sleep(30 * time.Second)
		require.Equal(t, "-62135596800000", a.get("/issued").Body.String(), "nothing is due")
		time.Sleep(30 * time.Second)
		a.requireKey("1")
		begun := time.Now()
		require.Equal(t, "-62135596800000", a.get("/issued").Body.String(), "nobody knows when it was issued")
		require.Equal(t, "1", old.get("/").Body.String(), "an older process reads it")
		for time.Since(begun) < 110*time.Minute {
			time.Sleep(10 * time.Minute)
			a.requireKey("1")
		}
		// An older process extends it beyond its end, and the next new one ends it.
		old.requireKey("1")
		time.Sleep(20 * time.Minute)
		old.requireKey("1")
		require.False(t, a.Store().Exist(t.Context(), sidOf(old.cookie)))
		time.Sleep(time.Second)
		old.requireKey("<nil>")
	})
}

func TestIssuedAt(t *testing.T) {
	onClocks(t, func(t *testing.T, opts session.Options) {
		opts.MaxLifetime = 24 * time.Hour
		a := lifeApp(t, opts)
		issued := func() string { return a.get("/issued").Body.String() }
		now := func() string { return fmt.Sprint(time.Now().UnixMilli()) }
		require.Equal(t, "-62135596800000", issued(), "nothing is stored")
		a.get("/set")
		first := now()
		time.Sleep(10 * time.Minute)
		for _, path := range []string{"/", "/set", "/flush", "/remember"} {
			a.get(path)
			require.Equal(t, first, issued(), path)
		}
		var within time.Time
		a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) {
			require.NoError(t, s.RegenerateID(w, r))
			within = session.IssuedAt(s)
		})
		a.get("/login")
		require.Equal(t, now(), issued())
		require.Equal(t, now(), fmt.Sprint(within.UnixMilli()))
		a.Get("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) {
			require.NoError(t, session.Destroy(w, r, s))
			require.Zero(t, session.IssuedAt(s))
			require.Error(t, session.SetLifetime(s, time.Hour))
		})
		a.get("/logout")
	})
	require.Zero(t, session.IssuedAt(session.NewBaseSession("abc", nil, nil)))
	require.Zero(t, session.IssuedAt(struct{ session.Session }{}))
}

// A session with a lifetime of its own lives that long, and so does its cookie.
func TestSetLifetime(t *testing.T) {
	const month = 30 * 24 * time.Hour
	const maxAge = "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
	onClocks(t, func(t *testing.T, opts session.Options) {
		opts.GCInterval = 24 * time.Hour // every 5 minutes is often in half a year
		a := lifeApp(t, opts)
		line := func(path string) string {
			lines := ours(a.get(path).Header())
			require.LessOrEqual(t, len(lines), 1)
			return strings.TrimPrefix(strings.Join(lines, ""), "flamego_session="+sidOf(a.cookie))
		}
		plain := a.visitor("")
		plain.get("/set")

		require.Equal(t, maxAge, line("/remember"), "with the first response")
		require.Empty(t, line("/remember"), "no change")
		require.Equal(t, maxAge, line("/renew"))
		time.Sleep(59 * time.Second)
		require.Empty(t, line("/set"), "the cookie was sent a moment ago")
		time.Sleep(time.Second)
		require.Equal(t, maxAge, line("/set"))
		time.Sleep(time.Minute)
		require.Equal(t, maxAge, line("/"), "the cookie lives on with the session")
		require.Empty(t, line("/flush"))

		time.Sleep(time.Hour)
		plain.requireKey("<nil>")
		a.requireKey("1")
		for range 3 {
			time.Sleep(month - time.Minute)
			require.NoError(t, a.Store().GC(t.Context()))
			a.requireKey("1")
		}
		time.Sleep(month - 2*time.Minute)
		require.NoError(t, a.Store().Touch(t.Context(), sidOf(a.cookie)))
		time.Sleep(month - time.Minute)
		a.requireKey("1")

		// Shorter than the usual TouchInterval.
		a.Get("/shorter", func(s session.Session) { require.NoError(t, session.SetLifetime(s, 30*time.Second)) })
		require.Equal(t, "; Path=/; Max-Age=30; HttpOnly; SameSite=Lax", line("/shorter"))
		for range 5 {
			time.Sleep(29 * time.Second)
			a.requireKey("1")
		}
		a.get("/remember")

		// Back to the Lifetime of the store.
		require.Equal(t, "; Path=/; HttpOnly; SameSite=Lax", line("/forget"))
		require.Empty(t, line("/forget"))
		time.Sleep(time.Hour)
		a.requireKey("<nil>")

		// On the second response, and then shorter than that of the store.
		a.get("/set")
		require.Equal(t, maxAge, line("/remember"))
		require.Equal(t, "; Path=/; Max-Age=300; HttpOnly; SameSite=Lax", line("/short"))
		for range 20 {
			time.Sleep(5*time.Minute - 6*time.Second)
			a.requireKey("1")
		}
		time.Sleep(4 * time.Minute)
		require.NoError(t, a.Store().Touch(t.Context(), sidOf(a.cookie)))
		time.Sleep(5 * time.Minute)
		a.requireKey("<nil>")
	})
}

// With a MaxAge of the options a session without a lifetime of its own has that again.
func TestSetLifetimeBesideMaxAge(t *testing.T) {
	a := lifeApp(t, session.Options{Cookie: session.CookieOptions{MaxAge: 600}})
	line := func(path string) string { return strings.Join(ours(a.get(path).Header()), "|") }
	require.Contains(t, line("/set"), "; Max-Age=600;")
	require.Contains(t, line("/remember"), "; Max-Age=2592000;")
	require.Contains(t, line("/forget"), "; Max-Age=600;")
	a.Get("/long", func(s session.Session) { require.NoError(t, session.SetLifetime(s, 100*365*24*time.Hour)) })
	require.Contains(t, line("/long"), "; Max-Age=34560000;", "browsers keep none longer than 400 days")
	a = lifeApp(t, session.Options{MaxLifetime: 8 * time.Hour})
	require.Contains(t, line("/remember"), "; Max-Age=28800;", "MaxLifetime holds")
}

// A login that was sent twice is remembered twice.
func TestSetLifetimeOfOverlappingRenewals(t *testing.T) {
	onClocks(t, func(t *testing.T, opts session.Options) {
		a := lifeApp(t, opts)
		a.get("/remember")
		second := a.visitor(a.cookie)
		a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) {
			if r.FormValue("second") == "" {
				second.get("/login?second=1")
			}
			require.NoError(t, s.RegenerateID(w, r))
			s.Set("key", 2)
		})
		a.get("/login")
		require.NotEqual(t, a.cookie, second.cookie)
		time.Sleep(29 * 24 * time.Hour)
		a.requireKey("2")
		second.requireKey("2")
	})
}

// A change of the lifetime that is not committed has no part in the cookie, and one with IDs
// in a header none at all.
func TestSetLifetimeIsUndone(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := lifeApp(t, opts)
		a.get("/set")
		a.Get("/panic", func(s session.Session) { _ = session.SetLifetime(s, time.Hour); panic("no") })
		require.Panics(t, func() { a.get("/panic") })
		require.Empty(t, ours(a.get("/").Header()))

		opts.ReadIDFunc = func(r *http.Request) string { return r.Header.Get("X-ID") }
		opts.WriteIDFunc = func(w http.ResponseWriter, _ *http.Request, sid string, _ bool) { w.Header().Set("X-ID", sid) }
		b := lifeApp(t, opts)
		w := b.get("/remember")
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.NotEmpty(t, w.Header().Get("X-ID"))
	})
}

// A session of a store of another make has the lifetime that the store gives it.
func TestLifetimesOfOtherStores(t *testing.T) {
	require.ErrorContains(t, session.SetLifetime(session.NewBaseSession("abc", nil, nil), time.Hour), "its own store")
	require.ErrorContains(t, session.SetLifetime(struct{ session.Session }{}, time.Hour), "its own store")
	foreign := func(context.Context, ...interface{}) (session.Store, error) { return struct{ session.Store }{}, nil }
	for option, opts := range map[string]session.Options{
		"MaxLifetime": {MaxLifetime: time.Hour}, "FirstLifetime": {FirstLifetime: time.Minute}, "OwnerKey": {OwnerKey: "user"},
	} {
		opts.Initer = foreign
		_, err := session.New(opts)
		require.ErrorContains(t, err, option+" needs a store of this module or of NewStore")
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

func TestLifetimeOptions(t *testing.T) {
	for want, opts := range map[string]session.Options{
		"MaxLifetime is 30ns, less than a second":                          {MaxLifetime: 30},
		"MaxLifetime is -1h0m0s, less than a second":                       {MaxLifetime: -time.Hour},
		"FirstLifetime is 1ms, less than a second":                         {FirstLifetime: time.Millisecond},
		"FirstLifetime is 1h0m0s, not shorter than the Lifetime of 1h0m0s": {FirstLifetime: time.Hour},
		"MaxOwned is -1":                                                            {MaxOwned: -1},
		"MaxOwned needs OwnerKey":                                                   {MaxOwned: 3},
		"OwnerKey is a []string, which cannot be a key":                             {OwnerKey: []string{"user"}},
		`OwnerKey is "flamego::session::flash", a key of this module`:               {OwnerKey: "flamego::session::flash"},
		`OwnerKey is "flamego::session::born", a key of this module`:                {OwnerKey: "flamego::session::born"},
		"OwnerKey is empty":                                                         {OwnerKey: ""},
		"OwnerKey is a struct { A interface {} }, which cannot be a key":            {OwnerKey: struct{ A any }{[]int{1}}},
		"OwnerKey needs a backend that is a session.OwnerIndex, and the backend is": withoutIndex(),
	} {
		_, err := session.New(opts)
		require.ErrorContains(t, err, want)
	}
}

// withoutIndex are the options of a store whose backend finds no owners.
func withoutIndex() session.Options {
	opts := backendOptions(struct{ session.Backend }{mapbackend.New()})
	opts.OwnerKey = "user"
	return opts
}

// What a visitor without an ID stores lives for FirstLifetime, until the visitor comes back.
func TestFirstLifetime(t *testing.T) {
	onClocks(t, func(t *testing.T, opts session.Options) {
		opts.FirstLifetime = 10 * time.Minute
		a := lifeApp(t, opts)
		bot, visitor, remembered, renewed := a.visitor(""), a.visitor(""), a.visitor(""), a.visitor("")
		bot.get("/set")
		visitor.get("/set")
		remembered.get("/remember")
		a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store) {
			s.Set("key", 1)
			require.NoError(t, store.Save(r.Context(), s))
			require.NoError(t, s.RegenerateID(w, r))
			s.Set("key", 2)
		})
		renewed.get("/login")
		time.Sleep(10*time.Minute - time.Millisecond)
		visitor.requireKey("1")
		require.True(t, a.Store().Exist(t.Context(), sidOf(bot.cookie)))
		require.True(t, a.Store().Exist(t.Context(), sidOf(renewed.cookie)))
		time.Sleep(time.Millisecond)
		require.False(t, a.Store().Exist(t.Context(), sidOf(bot.cookie)))
		require.False(t, a.Store().Exist(t.Context(), sidOf(renewed.cookie)))
		time.Sleep(59 * time.Minute)
		visitor.requireKey("1")
		time.Sleep(59 * time.Minute)
		visitor.get("/set")
		time.Sleep(59 * time.Minute)
		visitor.requireKey("1")
		time.Sleep(10 * 24 * time.Hour)
		remembered.requireKey("1")
	})
}

// The first request of a visitor may go on while the next ones come: it then takes nothing from
// the time of the session.
func TestFirstLifetimeOfALongResponse(t *testing.T) {
	onClocks(t, func(t *testing.T, opts session.Options) {
		opts.FirstLifetime = 10 * time.Minute
		a := lifeApp(t, opts)
		stream := make(chan struct{})
		a.Get("/stream", func(w http.ResponseWriter, s session.Session) {
			s.Set("key", 1)
			write(w, "begin")
			stream <- struct{}{}
			<-stream
			s.Set("key", 2)
		})
		server := httptest.NewRecorder()
		go func() {
			a.ServeHTTP(server, httptest.NewRequest(http.MethodGet, "/stream", nil))
			close(stream)
		}()
		<-stream
		a.cookie, _, _ = strings.Cut(server.Header().Get("Set-Cookie"), ";")
		a.requireKey("1")
		stream <- struct{}{}
		<-stream
		time.Sleep(59 * time.Minute)
		a.requireKey("2")
	})
}

// A request that changes nothing may be none that counts as an access.
func TestTouchFor(t *testing.T) {
	onClocks(t, func(t *testing.T, opts session.Options) {
		opts.TouchFor = func(r *http.Request) bool { return r.URL.Path != "/poll" }
		opts.Cookie.MaxAge = 3600
		a := lifeApp(t, opts)
		a.get("/set")
		time.Sleep(50 * time.Minute)
		w := a.get("/poll")
		require.Equal(t, "1", w.Body.String())
		require.Empty(t, ours(w.Header()))
		time.Sleep(9 * time.Minute)
		require.Equal(t, "1", a.get("/poll").Body.String())
		w = a.get("/")
		require.Len(t, ours(w.Header()), 1)
		time.Sleep(59 * time.Minute)
		require.Equal(t, "1", a.get("/poll").Body.String())
		time.Sleep(time.Minute)
		require.Equal(t, "<nil>", a.get("/poll").Body.String())
	})
}

// Handlers see nothing of what the library keeps beside their values.
func TestReservedKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		opts.MaxLifetime = time.Hour
		a := lifeApp(t, opts)
		a.get("/remember")
		a.Get("/look", func(s session.Session) {
			for _, key := range []string{"flamego::session::born", "flamego::session::lifetime", "flamego::session::commit", "flamego::session::new"} {
				require.Nil(t, s.Get(key))
				s.Set(key, 1)
				require.Nil(t, s.Get(key))
				s.Delete(key)
				session.Update(s, key, func(int) int { return 1 })
			}
			require.False(t, s.HasChanged())
		})
		a.get("/look")
		errs := a.TakeErrors()
		require.Len(t, errs, 12)
		require.ErrorContains(t, errs[0], `a key that starts with "flamego::session::" was set or deleted`)
		a.requireKey("1")
	})
}

// A visitor gets a cookie once something is stored.
func TestWhenStored(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		opts.Cookie.WhenStored = true
		a := lifeApp(t, opts)
		a.Get("/id", func(s session.Session, r *http.Request) string {
			c, err := r.Cookie("flamego_session")
			require.NoError(t, err)
			require.Equal(t, s.ID(), c.Value)
			return s.ID()
		})
		w := a.get("/id")
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.Empty(t, w.Header().Values("Cache-Control"))
		require.Equal(t, []string{"Cookie"}, w.Header().Values("Vary"))
		a.Get("/later", func(w http.ResponseWriter, s session.Session) {
			write(w, "begin")
			s.Set("key", 1)
		})
		require.Empty(t, a.get("/later").Header().Values("Set-Cookie"))
		errs := a.TakeErrors()
		require.Len(t, errs, 1)
		require.ErrorContains(t, errs[0], "changes are lost")

		w = a.get("/set")
		require.Len(t, ours(w.Header()), 1)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Empty(t, a.get("/").Header().Values("Set-Cookie"))
		a.requireKey("1")
		require.Len(t, ours(a.get("/renew").Header()), 1)
		a.requireKey("1")

		unknown := a.visitor("flamego_session=0123456789abcdef")
		require.Empty(t, unknown.get("/").Header().Values("Set-Cookie"))
		require.Len(t, ours(unknown.get("/set").Header()), 1)
		unknown.requireKey("1")
	})
	_, err := webapp.Open(session.Options{Cookie: session.CookieOptions{WhenStored: true, Name: "__Host-s"}})
	require.Error(t, err)
}

// A second Manager of a store does not make it forget that there are lifetimes of their own, which
// Touch heeds.
func TestTouchAfterASecondManager(t *testing.T) {
	backend := mapbackend.New()
	store := session.NewStore(backend, session.StoreConfig{})
	options := session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) { return store, nil }}
	for range 2 {
		m, err := session.New(options)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		ctx := t.Context()
		if len(backend.Records) == 0 {
			s, err := store.Read(ctx, "abc")
			require.NoError(t, err)
			s.Set("key", "val")
			require.NoError(t, session.SetLifetime(s, 2*time.Second))
			require.NoError(t, store.Save(ctx, s))
		}
		require.NoError(t, store.Touch(ctx, "abc"))
		require.Less(t, time.Until(backend.Records["abc"].Expiry), time.Minute)
	}
}
