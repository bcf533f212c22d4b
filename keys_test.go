package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/seal"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/mapbackend"
)

var keyOne, keyTwo = bytes.Repeat([]byte("1"), 32), bytes.Repeat([]byte("2"), 32)

// keysApp is an app on a backend, in which a visitor logs in as the owner that the query says.
func keysApp(t testing.TB, b *mapbackend.Backend, errs *[]error, keys ...[]byte) *app {
	t.Helper()
	opts := backendOptions(b)
	opts.Keys, opts.OwnerKey = keys, "user"
	opts.ErrorFunc = func(err error) { *errs = append(*errs, err) }
	a := newApp(t, opts)
	a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user", r.URL.RawQuery)
		return s.RegenerateID(w, r)
	})
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) error { return s.RegenerateID(w, r) })
	a.Get("/user", func(s session.Session) string { return fmt.Sprint(s.Get("user")) })
	a.Get("/flash", func(s session.Session) string { s.SetFlash("qzflash"); return "ok" })
	a.Get("/end", func(r *http.Request, store session.Store) (string, error) {
		n, err := session.EndOwned(r.Context(), store, r.URL.RawQuery, nil)
		return fmt.Sprint(n), err
	})
	return a
}

// TestKeysAtRest: what is stored can neither be read nor forged.
func TestKeysAtRest(t *testing.T) {
	t.Parallel()
	b, errs := mapbackend.New(), []error(nil)
	admin := keysApp(t, b, &errs, keyOne)
	admin.get("/login?qzadmin")
	admin.get("/flash")
	for sid, rec := range b.Records {
		for _, text := range []string{"qzadmin", "qzflash", "user", "flamego", sid} {
			require.NotContains(t, string(rec.Data), text)
			require.NotContains(t, rec.Owner, text)
		}
	}
	mallory := keysApp(t, b, &errs, keyOne)
	mallory.get("/login?mallory")
	require.Empty(t, errs)
	own := b.Records[sidOf(mallory.cookie)]

	forged := map[string][]byte{
		"the data of an administrator": b.Records[sidOf(admin.cookie)].Data,
		"plain data":                   mustGob(t, session.Data{"user": "qzadmin"}),
		"nothing":                      {},
		"one byte":                     {seal.First},
	}
	for i := range own.Data {
		changed := bytes.Clone(own.Data)
		changed[i] ^= 1
		forged[fmt.Sprint("a change of byte ", i)] = changed
	}
	for name, data := range forged {
		rec := own
		rec.Data = data
		b.Records[sidOf(mallory.cookie)] = rec
		errs = nil
		require.Equal(t, "<nil>", mallory.get("/user").Body.String(), name)
		require.Len(t, errs, 1, name)
		require.NotContains(t, errs[0].Error(), sidOf(mallory.cookie))
		require.Equal(t, data, b.Records[sidOf(mallory.cookie)].Data, "what does not open stays")
	}
	b.Records[sidOf(mallory.cookie)] = own
	require.Equal(t, "mallory", mallory.get("/user").Body.String())
}

func mustGob(t testing.TB, data session.Data) []byte {
	t.Helper()
	raw, err := session.GobEncoder(data)
	require.NoError(t, err)
	return raw
}

// TestKeysLost: without the key a session is empty, and it is there again with the key.
func TestKeysLost(t *testing.T) {
	t.Parallel()
	b, errs := mapbackend.New(), []error(nil)
	a := keysApp(t, b, &errs, keyOne)
	a.get("/login?alice")
	for _, keys := range [][][]byte{{keyTwo}, nil} {
		errs = nil
		other := keysApp(t, b, &errs, keys...)
		other.cookie = a.cookie
		require.Equal(t, "<nil>", other.get("/user").Body.String())
		require.Len(t, errs, 1)
		if keys == nil {
			require.ErrorContains(t, errs[0], "Options.Keys is not set")
		}
	}
	require.Equal(t, "alice", a.get("/user").Body.String())
}

// formerBackend sees to it that a record which is replaced was stored under the owner that the store says.
type formerBackend struct {
	*mapbackend.Backend
	t testing.TB
}

func (b formerBackend) check(sid string, old []byte, rec session.Record) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if now := b.Records[sid]; bytes.Equal(now.Data, old) && now.Owner != rec.Former {
		b.t.Errorf("the record of owner %q is replaced as one of %q", now.Owner, rec.Former)
	}
}

func (b formerBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	b.check(sid, old, rec)
	return b.Backend.Swap(ctx, sid, old, rec)
}

func (b formerBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	b.check(sid, old, rec)
	return b.Backend.Rename(ctx, sid, newSID, old, rec)
}

// TestKeysRollOut: keys come to a running app and go again. In the end everything is stored as
// without them.
func TestKeysRollOut(t *testing.T) {
	t.Parallel()
	backendtest.RollOut(t, func(t testing.TB, lifetime time.Duration) session.Options {
		b := mapbackend.New()
		t.Cleanup(func() {
			live, owned := 0, 0
			for _, rec := range b.Records {
				if len(rec.Data) < 150 || time.Now().After(rec.Expiry) {
					continue // a mark of a renewal, or dead
				}
				live++
				require.NotEqual(t, byte(seal.First), rec.Data[0])
				if rec.Owner != "" {
					require.NotContains(t, rec.Owner, "hmac:")
					owned++
				}
			}
			require.Equal(t, strings.HasSuffix(t.Name(), "/owners") && live > 0, owned > 0)
			require.Contains(t, []int{0, live}, owned)
		})
		return session.Options{Initer: session.NewIniter(func(context.Context, struct{}) (session.Backend, session.StoreConfig, error) {
			return formerBackend{b, t}, session.StoreConfig{Lifetime: lifetime}, nil
		}), Config: struct{}{}}
	}, backendtest.KeysSteps)
}

// TestKeysOwnedMeanwhile: a session that is sealed anew while its owner is looked for is found.
func TestKeysOwnedMeanwhile(t *testing.T) {
	t.Parallel()
	b, errs := mapbackend.New(), []error(nil)
	a, other := keysApp(t, b, &errs, keyOne, keyTwo), keysApp(t, b, &errs, keyTwo, keyOne)
	other.get("/login?alice")
	a.cookie = other.cookie
	lists := 0
	b.Before = func(_ context.Context, method, _ string) error {
		if method != "Owned" {
			return nil
		}
		if lists++; lists == 2 {
			a.get("/flash")
		}
		return nil
	}
	infos, err := session.Owned(t.Context(), a.Manager.Store(), "alice")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.Equal(t, 3, lists)
	require.Empty(t, errs)
}

// TestKeysRenewals: a session keeps its data under a new ID, also one that is renewed and not changed.
func TestKeysRenewals(t *testing.T) {
	t.Parallel()
	b, errs := mapbackend.New(), []error(nil)
	a := keysApp(t, b, &errs, keyOne)
	a.get("/login?alice")
	old := sidOf(a.cookie)
	a.get("/renew")
	require.NotEqual(t, old, sidOf(a.cookie))
	require.Equal(t, "alice", a.get("/user").Body.String())
	require.Equal(t, "1", a.get("/end?alice").Body.String())
	require.Equal(t, "<nil>", a.get("/user").Body.String())
	require.Empty(t, errs)
}

func TestKeysLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		keys [][]byte
		more int
	}{{nil, 0}, {[][]byte{keyOne}, seal.Overhead}, {[][]byte{nil, keyOne}, 0}} {
		b := mapbackend.New()
		size := len(mustGob(t, session.Data{"k": "v"}))
		for _, limit := range []int{size + tt.more, size + tt.more - 1} {
			var errs []error
			a := newApp(t, session.Options{Keys: tt.keys, ErrorFunc: func(err error) { errs = append(errs, err) },
				Initer: func(context.Context, ...interface{}) (session.Store, error) {
					return session.NewStore(b, session.StoreConfig{MaxDataSize: limit}), nil
				}})
			a.Get("/set", func(s session.Session) { s.Set("k", "v") })
			a.Get("/get", func(s session.Session) string { return fmt.Sprint(s.Get("k")) })
			a.get("/set")
			require.Equal(t, limit < size+tt.more, len(errs) > 0)
			if limit == size+tt.more {
				require.Equal(t, "v", a.get("/get").Body.String())
			}
		}
	}
}

// TestKeysLimitOnTheWay: a session that has no room for the seal stays as it is when it is extended or gets a
// new ID.
func TestKeysLimitOnTheWay(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/get", "/renew"} {
		b := mapbackend.New()
		limit := len(mustGob(t, session.Data{"k": "v"}))
		open := func(keys ...[]byte) *app {
			a := newApp(t, session.Options{Keys: keys, TouchInterval: -1, ErrorFunc: func(err error) { t.Error(err) },
				Initer: func(context.Context, ...interface{}) (session.Store, error) {
					return session.NewStore(b, session.StoreConfig{MaxDataSize: limit}), nil
				}})
			a.Get("/set", func(s session.Session) { s.Set("k", "v") })
			a.Get("/get", func(s session.Session) string { return fmt.Sprint(s.Get("k")) })
			a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) error { return s.RegenerateID(w, r) })
			return a
		}
		a := open()
		a.get("/set")
		a = &app{open(keyOne, nil).App, t, a.cookie}
		a.get(path)
		require.Equal(t, "v", a.get("/get").Body.String(), path)
	}
}

func TestKeysOptions(t *testing.T) {
	t.Parallel()
	for _, initer := range []session.Initer{nil, session.FileIniter()} {
		_, err := session.New(session.Options{Initer: initer, Config: configOf(t, initer), Keys: [][]byte{keyOne[:16]}})
		require.EqualError(t, err, "Keys: key 1 has 16 bytes, not 32")
	}
	store := session.NewStore(mapbackend.New(), session.StoreConfig{})
	initer := func(context.Context, ...interface{}) (session.Store, error) { return store, nil }
	_, err := session.New(session.Options{Initer: initer, Keys: [][]byte{keyOne}})
	require.NoError(t, err)
	_, err = session.New(session.Options{Initer: initer, Keys: [][]byte{keyTwo}})
	require.ErrorContains(t, err, "Keys")
	_, err = session.New(session.Options{Keys: [][]byte{keyOne}, Initer: func(context.Context, ...interface{}) (session.Store, error) {
		return struct{ session.Store }{store}, nil
	}})
	require.True(t, errors.Is(err, errors.ErrUnsupported), err)
}

func configOf(t testing.TB, initer session.Initer) interface{} {
	if initer == nil {
		return nil
	}
	return session.FileConfig{RootDir: t.TempDir()}
}

func TestFileKeysAtRest(t *testing.T) {
	t.Parallel()
	backendtest.AtRest(t, func(t testing.TB) (session.Options, func() []byte) {
		dir := t.TempDir()
		return session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: dir}},
			func() []byte { return backendtest.FilesOf(t, dir) }
	})
}
