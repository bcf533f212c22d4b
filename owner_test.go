package session_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

func init() { gob.Register(laterOwner("")) }

// ownerApp is an app whose visitors log in as "/login?user=1".
func ownerApp(t *testing.T, opts session.Options) *app {
	t.Helper()
	opts.OwnerKey = "user"
	a := newApp(t, opts)
	a.Get("/", func(s session.Session) string { return fmt.Sprint(s.Get("user")) })
	a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) {
		require.NoError(t, s.RegenerateID(w, r))
		s.Set("user", r.FormValue("user"))
	})
	a.Get("/set", func(r *http.Request, s session.Session) { s.Set("key", r.FormValue("val")) })
	a.Get("/flush", func(s session.Session) { s.Flush() })
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) { _ = s.RegenerateID(w, r) })
	a.Get("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) { _ = session.Destroy(w, r, s) })
	a.Get("/end", func(r *http.Request, s session.Session, store session.Store) string {
		n, err := session.EndOwned(r.Context(), store, s.Get("user"), nil)
		require.NoError(t, err)
		return fmt.Sprint(n)
	})
	a.Get("/end-others", func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store) string {
		if s.Get("user") == nil {
			return "0"
		}
		require.NoError(t, s.RegenerateID(w, r))
		n, err := session.EndOwned(r.Context(), store, s.Get("user"), s)
		require.NoError(t, err)
		return fmt.Sprint(n)
	})
	return a
}

// owned returns how many sessions a user has.
func (a *app) owned(user interface{}) int {
	a.t.Helper()
	infos, err := session.Owned(context.Background(), a.Store(), user)
	require.NoError(a.t, err)
	return len(infos)
}

// The index of the memory store has the sessions that there are, and forgets those that end, in
// whatever way.
func TestMemoryOwnersLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := ownerApp(t, session.Options{})
		var visitors []*app
		for i := range 40 {
			v := a.visitor("")
			v.get(fmt.Sprint("/login?user=", i%4))
			visitors = append(visitors, v)
		}
		var wg sync.WaitGroup
		for i, v := range visitors {
			wg.Go(func() {
				for range 50 {
					paths := []string{"/", "/set?val=1", "/renew", "/flush", "/logout", fmt.Sprint("/login?user=", rand.N(4)), "/end-others"}
					v.get(paths[rand.N(len(paths)-i%2)])
				}
			})
		}
		wg.Wait()
		for _, v := range visitors {
			v.get("/login?user=4") // beside an EndOwned of the same session it might come to nothing
		}
		require.Equal(t, 40, a.owned(4))
		live := 0
		for user := range 5 {
			live += a.owned(user)
		}
		require.Equal(t, live, session.MemoryOwners(a.Store()))
		require.Equal(t, "40", visitors[0].get("/end").Body.String())
		require.Zero(t, a.owned(4))
		time.Sleep(2 * time.Hour)
		require.NoError(t, a.Store().GC(t.Context()))
		require.Zero(t, session.MemoryLen(a.Store()))
		require.Zero(t, session.MemoryOwners(a.Store()))
	})
}

// A session that is renewed all the time is in each list, under one ID.
func TestMemoryOwnedBesideRenewals(t *testing.T) {
	a := ownerApp(t, session.Options{})
	v := a.visitor("")
	v.get("/login?user=7")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				v.get("/renew")
			}
		}
	})
	for i := range 2000 {
		require.Equal(t, 1, a.owned(7), "list %d", i)
	}
	close(stop)
	wg.Wait()
}

// A session that changes hands is in no list of the one before.
func TestMemoryOwnedBesideAnotherOwner(t *testing.T) {
	a := ownerApp(t, session.Options{})
	a.get("/login?user=alice")
	sid := sidOf(a.cookie)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				save(t, a.Store(), sid, "user", []string{"bob", "alice"}[i%2])
			}
		}
	})
	for range 20_000 {
		infos, err := session.Owned(context.Background(), a.Store(), "alice")
		require.NoError(t, err)
		for _, info := range infos {
			require.Equal(t, "alice", info.Data["user"])
		}
	}
	close(stop)
	wg.Wait()
}

type laterOwner string

// A process that cannot decode whose session it is extends it and leaves its owner alone, and
// its lifetime.
func TestOwnerThatCannotBeDecoded(t *testing.T) {
	b := mapbackend.New()
	opts := backendOptions(b)
	opts.TouchInterval = -1
	a := ownerApp(t, opts)
	for _, unknown := range []string{"laterowner", "all"} {
		a.cookie = ""
		a.get("/login?user=7")
		sid := sidOf(a.cookie)
		b.Mu.Lock()
		rec := b.Records[sid]
		data, err := session.GobDecoder(rec.Data)
		require.NoError(t, err)
		if unknown == "all" {
			rec.Data = []byte("none that this process knows")
		} else {
			data["user"] = laterOwner("7")
			rec.Data, err = session.GobEncoder(data)
			require.NoError(t, err)
			rec.Data = bytes.ReplaceAll(rec.Data, []byte("session_test.laterOwner"), []byte("session_test.neverKnown"))
		}
		rec.Expiry = time.Now().Add(30 * 24 * time.Hour)
		b.Records[sid] = rec
		b.Mu.Unlock()
		a.get("/")
		require.NoError(t, ignoreUnreadable(a.Store().Touch(context.Background(), sid)))
		b.Mu.Lock()
		now := b.Records[sid]
		b.Mu.Unlock()
		require.Equal(t, "7", now.Owner, unknown)
		require.Equal(t, rec.Data, now.Data)
		require.False(t, now.Expiry.Before(rec.Expiry))
		require.NotEmpty(t, a.TakeErrors())
	}
}

func ignoreUnreadable(err error) error {
	if err != nil && strings.Contains(err.Error(), "unreadable data") {
		return nil
	}
	return err
}

// The request that ends its own session has it ended as by Destroy.
func TestEndOwnSession(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := ownerApp(t, opts)
		other := a.visitor("")
		other.get("/login?user=7")
		a.get("/login?user=7")
		w := a.get("/end")
		require.Equal(t, "2", w.Body.String())
		require.Len(t, ours(w.Header()), 1)
		require.Contains(t, ours(w.Header())[0], "Max-Age=0")
		require.Empty(t, a.cookie)
		require.Equal(t, "<nil>", other.get("/").Body.String())

		// By its handle, and after a renewal.
		a.Get("/end-this", func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store) {
			old := session.Handle(s)
			require.NoError(t, s.RegenerateID(w, r))
			ended, err := session.End(r.Context(), store, 7, session.Handle(s))
			require.NoError(t, err)
			require.False(t, ended, "it is not stored under its new ID yet")
			ended, err = session.End(r.Context(), store, 7, old)
			require.NoError(t, err)
			require.True(t, ended)
			s.Set("key", "too late")
		})
		a.get("/login?user=7")
		w = a.get("/end-this")
		require.Contains(t, strings.Join(ours(w.Header()), "|"), "Max-Age=0")
		require.Zero(t, a.owned(7))
		require.Empty(t, a.TakeErrors())
	})
}

// A handler may end the sessions that another one of its user has, and keeps its own.
func TestEndOthersAfterRenewal(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := ownerApp(t, opts)
		a.get("/login?user=7")
		other := a.visitor("")
		other.get("/login?user=7")
		require.Equal(t, "1", a.get("/end-others").Body.String())
		require.Equal(t, "7", a.get("/").Body.String())
		require.Equal(t, "<nil>", other.get("/").Body.String())
		require.Equal(t, 1, a.owned("7"))
	})
}

func TestOwnerErrors(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		ctx := context.Background()
		plain := newApp(t, opts)
		_, err := session.Owned(ctx, plain.Store(), 7)
		require.EqualError(t, err, "session: owned: Options.OwnerKey is not set")

		a := ownerApp(t, opts)
		for _, owner := range []any{nil, "", true, 1.5, math.NaN(), math.Inf(1), []string{"a"}, (*net.IP)(nil), struct{}{}} {
			_, err := session.Owned(ctx, a.Store(), owner)
			require.ErrorContains(t, err, "names no owner")
			_, err = session.EndOwned(ctx, a.Store(), owner, nil)
			require.ErrorContains(t, err, "names no owner")
			_, err = session.End(ctx, a.Store(), owner, "handle")
			require.ErrorContains(t, err, "names no owner")
		}
		_, err = session.Owned(ctx, struct{ session.Store }{a.Store()}, 7)
		require.ErrorContains(t, err, "knows no owners")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		ended, err := session.End(ctx, a.Store(), 7, "handle")
		require.NoError(t, err)
		require.False(t, ended)

		// A value that names no owner is an error where it is set, and not where it is found.
		a.get("/login?user=7")
		a.Get("/wrong", func(s session.Session) { s.Set("user", 1.5) })
		require.Equal(t, http.StatusInternalServerError, a.get("/wrong").Code)
		errs := a.TakeErrors()
		require.Len(t, errs, 1)
		require.ErrorContains(t, errs[0], "the value of OwnerKey is a float64, which names no owner")
		require.Equal(t, "7", a.get("/").Body.String())
		a.Get("/none", func(s session.Session) { s.Set("user", nil) })
		require.Equal(t, http.StatusOK, a.get("/none").Code)
		a.Get("/empty", func(s session.Session) { s.Set("user", "") })
		require.Equal(t, http.StatusOK, a.get("/empty").Code)
		require.Zero(t, a.owned(7))
	})
}

type userID int64
type userName string

func TestOwnerText(t *testing.T) {
	for want, vals := range map[string][]any{
		"7":                    {7, int8(7), uint64(7), "7", 7.0, float32(7), userID(7), userName("7")},
		"-7":                   {-7, "-7", -7.0},
		"0":                    {0, "0"},
		"127.0.0.1":            {net.IPv4(127, 0, 0, 1), "127.0.0.1"},
		"18446744073709551615": {uint64(math.MaxUint64)},
	} {
		for _, val := range vals {
			text, ok := session.OwnerText(val)
			require.True(t, ok, "%T", val)
			require.Equal(t, want, text, "%T", val)
		}
	}
	for owner, hashed := range map[string]bool{
		"a": false, strings.Repeat("a", 190): false, strings.Repeat("a", 191): true, strings.Repeat("ü", 95): false,
		strings.Repeat("ü", 96): true, "a\x00": true, "\xff": true, "a ": false,
	} {
		text := session.IndexText(owner)
		require.Equal(t, hashed, text != owner, "%q", owner)
		require.LessOrEqual(t, len(text), 190)
	}
}

// Where the oldest sessions cannot be ended the login counts all the same.
func TestMaxOwnedFails(t *testing.T) {
	failing := false
	opts := backendOptions(before(func(_ context.Context, method, _ string) error {
		if failing && method == "Owned" {
			return errors.New("down")
		}
		return nil
	}))
	opts.MaxOwned = 1
	a := ownerApp(t, opts)
	first, second := a.visitor(""), a.visitor("")
	first.get("/login?user=7")
	failing = true
	require.Equal(t, http.StatusOK, second.get("/login?user=7").Code)
	require.Len(t, a.TakeErrors(), 1)
	failing = false
	require.Equal(t, 2, a.owned(7))
	second.get("/set?val=1") // no login
	require.Equal(t, 2, a.owned(7))
	time.Sleep(2 * time.Millisecond)
	first.get("/login?user=8")
	first.get("/login?user=7")
	require.Equal(t, 1, a.owned(7))
	require.Equal(t, "7", first.get("/").Body.String())
	require.Equal(t, "<nil>", second.get("/").Body.String())
}

// Sessions that begin all the time do not keep EndOwned for ever.
func TestEndOwnedEnds(t *testing.T) {
	var a *app
	a = ownerApp(t, backendOptions(before(func(_ context.Context, method, _ string) error {
		if method == "Delete" {
			a.visitor("").get("/login?user=7")
		}
		return nil
	})))
	a.get("/login?user=7")
	n, err := session.EndOwned(context.Background(), a.Store(), 7, nil)
	require.ErrorContains(t, err, "begin as fast as they are ended")
	require.Equal(t, 100, n)
}

// Without OwnerKey no backend hears of an owner, and no list is asked for.
func TestNoOwners(t *testing.T) {
	var seen []string
	b := noting(&seen)
	a := newApp(t, backendOptions(b))
	a.Get("/", func(s session.Session) { s.Set("user", 7) })
	a.get("/")
	a.get("/")
	require.NotContains(t, fmt.Sprint(seen), "Owned")
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for _, rec := range b.Records {
		require.Empty(t, rec.Owner)
		require.NotContains(t, string(rec.Data), "flamego::session::")
	}
	require.Len(t, b.Records, 1)
}
