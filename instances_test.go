package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// What lifetimes and owners mean beside other requests, other instances, and other encoders.

// A cookie with a Max-Age lives on with a session that is used, also where MaxLifetime leaves
// nothing to extend in the store.
func TestCookieWithMaxLifetime(t *testing.T) {
	for _, tt := range []struct{ lifetime, most, age time.Duration }{
		{24 * time.Hour, 8 * time.Hour, time.Hour},
		{4 * time.Hour, 8 * time.Hour, 30 * time.Minute},
		{time.Hour, 8 * time.Hour, 30 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := lifeApp(t, session.Options{
				MaxLifetime: tt.most, Cookie: session.CookieOptions{MaxAge: int(tt.age / time.Second)},
				Config: session.MemoryConfig{Lifetime: tt.lifetime},
			})
			a.get("/set")
			begun, sent := time.Now(), time.Now()
			for time.Since(begun) < tt.most-10*time.Minute {
				time.Sleep(5 * time.Minute)
				w := a.get("/")
				require.Equal(t, "1", w.Body.String())
				if len(ours(w.Header())) > 0 {
					sent = time.Now()
				}
				require.Less(t, time.Since(sent), tt.age, "%v after the begin", time.Since(begun))
			}
		})
	}
}

// A page that another instance was about to answer does not take back the Max-Age that a login
// beside it has sent.
func TestMaxAgeBesideALogin(t *testing.T) {
	for _, path := range []string{"/", "/set"} {
		b := mapbackend.New()
		opts := backendOptions(b)
		opts.Cookie.MaxAge, opts.TouchInterval = 3600, -1
		one, two := lifeApp(t, opts), lifeApp(t, opts)
		one.get("/set")
		two.cookie = one.cookie
		two.Get("/beside"+path, func(s session.Session) {
			require.Contains(t, one.get("/remember").Header().Get("Set-Cookie"), "Max-Age=2592000;")
			if path == "/set" {
				s.Set("other", 1)
			}
		})
		lines := ours(two.get("/beside" + path).Header())
		require.Len(t, lines, 1, path)
		require.Contains(t, lines[0], "; Max-Age=2592000;", path)
	}
}

// A page that only reads goes on showing the session, whatever becomes of it meanwhile.
func TestReadBesideTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		opts.OwnerKey, opts.TouchInterval = "user", -1
		for _, path := range []string{"/renew", "/logout"} {
			a := ownerApp(t, opts)
			a.get("/login?user=7")
			a.Get("/read"+path, func(w http.ResponseWriter, s session.Session) {
				a.visitor(a.cookie).get(path)
				write(w, fmt.Sprint(s.Get("user")))
				write(w, fmt.Sprint(s.Get("user")))
			})
			require.Equal(t, "77", a.visitor(a.cookie).get("/read"+path).Body.String(), path)
		}
	})
}

// A session that gets a new ID in a process without the options is counted from then all the same.
func TestRenewedWithoutTheOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mapbackend.New()
		opts := backendOptions(b)
		opts.MaxLifetime = 2 * time.Hour
		a, without := lifeApp(t, opts), lifeApp(t, backendOptions(b))
		a.get("/set")
		for range 3 {
			time.Sleep(35 * time.Minute)
			a.requireKey("1")
		}
		without.cookie = a.cookie
		without.get("/renew")
		a.cookie = without.cookie
		require.Equal(t, fmt.Sprint(time.Now().UnixMilli()), a.get("/issued").Body.String())
		time.Sleep(50 * time.Minute)
		a.requireKey("1")
	})
}

// The oldest session ends also if it gets a new ID just then.
func TestMaxOwnedBesideARenewal(t *testing.T) {
	var a *app
	var first string
	opts := backendOptions(before(func(_ context.Context, method, sid string) error {
		if old := first; method == "Delete" && sid == sidOf(old) {
			first = ""
			a.visitor(old).get("/renew")
		}
		return nil
	}))
	opts.MaxOwned = 2
	a = ownerApp(t, opts)
	for range 3 {
		a.cookie = ""
		a.get("/login?user=7")
		if first == "" {
			first = a.cookie
		}
		time.Sleep(2 * time.Millisecond)
	}
	require.Equal(t, 2, a.owned(7))
}

// A login whose answer was lost counts for MaxOwned.
func TestMaxOwnedWithLostAnswers(t *testing.T) {
	b := mapbackend.New()
	lost, down := false, false
	lossy := &lossyInserts{b, func() bool { down = lost; return lost }}
	b.Before = func(_ context.Context, method, _ string) error {
		if method == "Load" && down {
			return errors.New("nobody answers")
		}
		return nil
	}
	opts := backendOptions(lossy)
	opts.MaxOwned = 1
	a := ownerApp(t, opts)
	a.Get("/twice", func(r *http.Request, s session.Session, store session.Store) {
		s.Set("user", 7)
		lost = true
		require.Error(t, store.Save(r.Context(), s))
		lost, down = false, false
		require.NoError(t, store.Save(r.Context(), s))
	})
	for range 3 {
		a.cookie = ""
		a.get("/twice")
		time.Sleep(2 * time.Millisecond)
	}
	require.Equal(t, 1, a.owned(7))
}

type lossyInserts struct {
	*mapbackend.Backend
	lose func() bool
}

func (b *lossyInserts) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	ok, err := b.Backend.Insert(ctx, sid, rec)
	if b.lose() {
		return false, errors.New("connection reset")
	}
	return ok, err
}

// jsonOptions are those of an app that encodes its sessions as JSON.
func jsonOptions(b session.Backend) session.Options {
	return session.Options{Initer: session.NewIniter(func(context.Context, session.Backend) (session.Backend, session.StoreConfig, error) {
		return b, session.StoreConfig{
			Encoder: func(data session.Data) ([]byte, error) {
				m := make(map[string]any)
				for key, val := range data {
					m[key.(string)] = val
				}
				return json.Marshal(m)
			},
			Decoder: func(raw []byte) (session.Data, error) {
				m := make(map[string]any)
				if err := json.Unmarshal(raw, &m); err != nil {
					return nil, err
				}
				data := make(session.Data)
				for key, val := range m {
					data[key] = val
				}
				return data, nil
			},
		}, nil
	}), Config: b}
}

// upper is a type that JSON writes in another way than its kind.
type upper string

func (u upper) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(u))), nil }

// With JSON whole numbers come back as float64. They count, and name owners, unless they are too
// large for that: an error at login is better than a list without the session.
func TestJSON(t *testing.T) {
	opts := jsonOptions(mapbackend.New())
	opts.MaxLifetime = time.Hour
	a := ownerApp(t, opts)
	for owner, ok := range map[any]bool{
		7: true, uint8(8): true, "nine": true, userName("ten"): true, int64(1)<<53 - 1: true,
		int64(1) << 53: false, int64(1)<<60 + 1: false, upper("a"): false, upper("B"): true,
	} {
		a.cookie = ""
		a.Get(fmt.Sprintf("/as/%T/%v", owner, owner), func(s session.Session) { s.Set("user", owner) })
		w := a.get(fmt.Sprintf("/as/%T/%v", owner, owner))
		require.Equal(t, ok, w.Code == http.StatusOK, "%T %v", owner, owner)
		if errs := a.TakeErrors(); ok {
			require.Empty(t, errs)
			require.Equal(t, 1, a.owned(owner))
		} else {
			require.Len(t, errs, 1)
			require.ErrorContains(t, errs[0], "names another owner when it comes back from the Encoder")
		}
	}
	a.cookie = ""
	a.Get("/count", func(s session.Session) {
		require.NoError(t, session.SetLifetime(s, 30*24*time.Hour))
		session.Update(s, "n", addOne)
		session.Update(s, "u", func(n uint8) uint8 { return n + 1 })
		session.Update(s, "f", func(n float64) float64 { return n + 0.5 })
		session.Update(s, "t", func(text string) string { return text + "a" })
	})
	for range 5 {
		require.Equal(t, http.StatusOK, a.get("/count").Code)
	}
	a.once(a.cookie, func(s session.Session) {
		for key, want := range map[string]any{"n": 5.0, "u": 5.0, "f": 2.5, "t": "aaaaa"} {
			require.Equal(t, want, s.Get(key), key)
		}
		require.NotZero(t, session.IssuedAt(s))
		session.Update(s, "f", addOne) // 2.5 is no int
		session.Update(s, "u", func(n uint8) uint8 { return n })
		require.Equal(t, 1, s.Get("f"))
	})
}

// A function that changes the session itself, which it must not, does not run for ever.
func TestUpdateThatUsesTheSession(t *testing.T) {
	a := newApp(t, session.Options{})
	calls := 0
	a.visit(func(s session.Session) {
		session.Update(s, "n", func(int) int { calls++; s.Set("other", calls); return calls })
	})
	require.Less(t, calls, 200)
}

// One store cannot have the options of two Managers, unless these are the same.
func TestOneStoreOfTwoManagers(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := ownerApp(t, opts)
		a.get("/login?user=7")
		again := session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) { return a.Store(), nil }}
		_, err := session.New(again)
		require.ErrorContains(t, err, "in use with other values of MaxLifetime, FirstLifetime, OwnerKey, MaxOwned, Keys, HashIDs, Observe or Trace")
		again.OwnerKey = "user"
		m, err := session.New(again)
		require.NoError(t, err)
		require.Equal(t, a.Store(), m.Store())
		require.Equal(t, 1, a.owned(7))
	})
}
