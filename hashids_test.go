package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// hashed is the key of the record of an ID, as the documentation says it.
func hashed(sid string) string { return fmt.Sprintf("h%x", sha256.Sum256([]byte(sid))) }

// hashApp is an instance of an app with owners.
func hashApp(t testing.TB, b session.Backend, mode session.HashMode, change ...func(*session.Options)) *app {
	t.Helper()
	opts := backendOptions(b)
	opts.HashIDs, opts.OwnerKey, opts.TouchInterval = mode, "user", -1
	opts.ErrorFunc = func(err error) { t.Error(err) }
	for _, f := range change {
		f(&opts)
	}
	a := newApp(t, opts)
	a.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user", r.URL.RawQuery)
		return s.RegenerateID(w, r)
	})
	a.Get("/renew", func(w http.ResponseWriter, r *http.Request, s session.Session) error { return s.RegenerateID(w, r) })
	a.Get("/add", func(s session.Session) string {
		session.Update(s, "n", func(n int) int { return n + 1 })
		return fmt.Sprint(s.Get("user"), " ", s.Get("n"))
	})
	a.Get("/see", func(s session.Session) string { return fmt.Sprint(s.Get("user"), " ", s.Get("n")) })
	a.Get("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) error { return session.Destroy(w, r, s) })
	a.Get("/owned", func(r *http.Request, store session.Store) (string, error) {
		infos, err := session.Owned(r.Context(), store, r.URL.RawQuery)
		return fmt.Sprint(len(infos)), err
	})
	a.Get("/others", func(r *http.Request, store session.Store, s session.Session) (string, error) {
		n, err := session.EndOwned(r.Context(), store, r.URL.RawQuery, s)
		return fmt.Sprint(n), err
	})
	return a
}

var hashModes = []session.HashMode{session.HashNone, session.HashRead, session.HashWrite, session.HashOnly}

// TestHashIDs: the database has the ID or its hash, and the hash is no ID.
func TestHashIDs(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			b := mapbackend.New()
			a := hashApp(t, b, mode)
			a.get("/login?alice")
			sid := sidOf(a.cookie)
			want := sid
			if mode >= session.HashWrite {
				want = hashed(sid)
			}
			require.Contains(t, b.Records, want)
			require.Len(t, b.Records, 1)
			require.Equal(t, "alice 1", a.get("/add").Body.String())
			a.get("/renew")
			require.NotEqual(t, sid, sidOf(a.cookie))
			require.Equal(t, "alice 2", a.get("/add").Body.String())
			require.Equal(t, "<nil> <nil>", a.visitor(cookieOf(a.cookie, sid)).get("/see").Body.String(), "the old ID")
			a.get("/logout")
			require.Equal(t, "<nil> <nil>", a.get("/see").Body.String())
		})
	}
}

// cookieOf is a cookie with another ID.
func cookieOf(cookie, sid string) string { return strings.Replace(cookie, sidOf(cookie), sid, 1) }

// TestStolenKey: whoever has read a key in the database cannot use the session, whatever the step of the
// instance, also where hashes are not looked for any more, and neither with the store by hand.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes {
		b := mapbackend.New()
		a := hashApp(t, b, session.HashWrite)
		a.get("/login?alice")
		key := hashed(sidOf(a.cookie))
		before := b.Records[key]
		thief := hashApp(t, b, mode, func(o *session.Options) { o.IDLength, o.AdoptUnknownIDs = len(key), true })
		for _, stolen := range []string{key, "." + key} {
			thief.cookie = cookieOf(a.cookie, stolen)
			require.Equal(t, "<nil> <nil>", thief.get("/see").Body.String(), "mode %d", mode)
			require.Equal(t, "<nil> 1", thief.get("/add").Body.String(), "mode %d", mode)
			require.NotEqual(t, stolen, sidOf(thief.cookie))
			if mode == session.HashNone {
				continue // here the store takes what it is given
			}
			store := thief.Manager.Store()
			require.False(t, store.Exist(t.Context(), stolen))
			if s, err := store.Read(t.Context(), stolen); err == nil {
				require.Nil(t, s.Get("user"))
			}
			_ = store.Touch(t.Context(), stolen)
			_ = store.Destroy(t.Context(), stolen)
		}
		require.Equal(t, before, b.Records[key])
		require.Equal(t, "alice <nil>", a.get("/see").Body.String())
	}
}

// TestCopiedRecord: whoever can write to the database copies the record of another session to the own key. With
// Keys that opens nothing, whatever the key is made of.
func TestCopiedRecord(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes {
		b := mapbackend.New()
		var errs []error
		sealed := func(o *session.Options) {
			o.Keys = [][]byte{keyOne}
			o.ErrorFunc = func(err error) { errs = append(errs, err) }
		}
		admin, mallory := hashApp(t, b, mode, sealed), hashApp(t, b, mode, sealed)
		admin.get("/login?admin")
		mallory.get("/login?mallory")
		place := func(sid string) string {
			if mode >= session.HashWrite {
				return hashed(sid)
			}
			return sid
		}
		own := sidOf(mallory.cookie)
		stolen := b.Records[place(sidOf(admin.cookie))]
		for _, key := range []string{own, hashed(own), hashed(hashed(own))} {
			rec := b.Records[place(own)]
			b.Records[key] = stolen
			errs = nil
			for _, sid := range []string{own, hashed(own)} {
				require.NotContains(t, mallory.visitor(cookieOf(mallory.cookie, sid)).get("/see").Body.String(), "admin", "mode %d", mode)
			}
			if key == place(own) {
				require.NotEmpty(t, errs, "mode %d", mode)
			}
			if key != place(own) {
				delete(b.Records, key)
			}
			b.Records[place(own)] = rec
		}
	}
}

// age makes all records older, as if nobody had used them meanwhile.
func age(b *mapbackend.Backend, d time.Duration) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for key, rec := range b.Records {
		rec.Expiry = rec.Expiry.Add(-d)
		b.Records[key] = rec
	}
}

// twice returns the IDs that have a live record in both places. The caller knows the IDs.
func twice(b *mapbackend.Backend, sids []string) (found []string) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for _, sid := range sids {
		raw, ok := b.Records[sid]
		other, both := b.Records[hashed(sid)]
		if ok && both && time.Until(raw.Expiry) > 0 && time.Until(other.Expiry) > 0 {
			found = append(found, sid)
		}
	}
	return found
}

// TestHashIDsRollOut has two instances, one step apart, serve the same visitors. No visitor is logged out,
// no count is lost, each owner has one session, and each session one record.
func TestHashIDsRollOut(t *testing.T) {
	t.Parallel()
	steps := []session.HashMode{
		session.HashNone, session.HashRead, session.HashWrite, session.HashOnly,
		session.HashWrite, session.HashRead, session.HashNone,
	}
	const visitors, requests = 6, 25
	b := mapbackend.New()
	cookies, counts, sids := make([]string, visitors), make([]int, visitors), make([]string, visitors)
	for i := range visitors {
		a := hashApp(t, b, steps[0])
		a.get(fmt.Sprint("/login?", i))
		cookies[i], sids[i] = a.cookie, sidOf(a.cookie)
	}
	for step := range len(steps) - 1 {
		instances := []*app{hashApp(t, b, steps[step]), hashApp(t, b, steps[step+1])}
		var wg sync.WaitGroup
		for i := range visitors {
			path := "/add"
			if i%3 == 0 { // a visitor who only reads
				path = "/see"
			} else {
				counts[i] += 3 * requests
			}
			for range 3 { // requests at a time
				wg.Go(func() {
					for range requests {
						v := instances[rand.N(2)].visitor(cookies[i])
						if got := v.get(path).Body.String(); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
							t.Errorf("step %d: visitor %d is %s", step, i, got)
						}
						if got := v.get(fmt.Sprint("/owned?", i)).Body.String(); got != "1" {
							t.Errorf("step %d: visitor %d has %s sessions", step, i, got)
						}
					}
				})
			}
		}
		wg.Wait()
		require.Empty(t, twice(b, sids), "step %d", step)
		// The longest lifetime goes by, and all instances are at the new step. Each session is used
		// meanwhile, or else it would be over.
		for i := range visitors {
			age(b, 3*time.Second)
			want := fmt.Sprint(i, " ", counts[i])
			if counts[i] == 0 {
				want = fmt.Sprint(i, " <nil>")
			}
			require.Equal(t, want, instances[1].visitor(cookies[i]).get("/see").Body.String(), "step %d", step)
		}
	}
	for _, sid := range sids {
		require.Contains(t, b.Records, sid)
		require.NotContains(t, b.Records, hashed(sid))
	}
}

// TestHashIDsMoves: a session moves when it is extended, by a request or by hand, and when it gets a new ID. It
// needs no owner for that.
func TestHashIDsMoves(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to session.HashMode }{
		{session.HashNone, session.HashWrite}, {session.HashOnly, session.HashRead},
	} {
		for name, move := range map[string]func(a *app){
			"request": func(a *app) { require.Equal(t, "<nil> 1", a.get("/see").Body.String()) },
			"touch":   func(a *app) { require.NoError(t, a.Manager.Store().Touch(t.Context(), sidOf(a.cookie))) },
			"renewal": func(a *app) { a.get("/renew") },
		} {
			t.Run(fmt.Sprint(tt, name), func(t *testing.T) {
				t.Parallel()
				b := mapbackend.New()
				noOwner := func(o *session.Options) { o.OwnerKey = nil }
				a := hashApp(t, b, tt.from, noOwner)
				a.get("/add")
				age(b, 3*time.Second)
				a = hashApp(t, b, tt.to, noOwner).visitor(a.cookie)
				move(a)
				place := sidOf(a.cookie)
				if tt.to == session.HashWrite {
					place = hashed(place)
				}
				require.Contains(t, b.Records, place)
				require.Equal(t, "<nil> 1", a.get("/see").Body.String())
				if name != "renewal" {
					require.Len(t, b.Records, 1)
				}
			})
		}
	}
}

// TestHashIDsDoubt: an error of the look that follows an insert does not say that nothing was inserted.
func TestHashIDsDoubt(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	a := hashApp(t, b, session.HashWrite)
	failures := 0
	b.Before = func(_ context.Context, method, _ string) error {
		if method == "Load" && len(b.Records) == 1 && failures > 0 {
			failures--
			return fmt.Errorf("refused: %w", errors.Join(session.ErrNotApplied, http.ErrServerClosed))
		}
		return nil
	}
	failures = 1
	require.Equal(t, "<nil> 1", a.get("/add").Body.String())
	require.Zero(t, failures)
	require.Equal(t, "<nil> 2", a.get("/add").Body.String())

	// Where the engine cannot look either, the error says why.
	s := session.NewBaseSessionWithData("0123456789abcdef", nil, nil, session.Data{"k": "v"})
	clear(b.Records)
	failures = 2
	err := a.Manager.Store().Save(t.Context(), s)
	require.ErrorIs(t, err, http.ErrServerClosed)
	require.NotErrorIs(t, err, session.ErrNotApplied)
}

// TestHashIDsMeanwhile: a record that moves between two looks is found, and ended.
func TestHashIDsMeanwhile(t *testing.T) {
	t.Parallel()
	for _, mode := range []session.HashMode{session.HashRead, session.HashWrite} {
		for _, method := range []string{"Load", "Delete"} {
			t.Run(fmt.Sprint(mode, method), func(t *testing.T) {
				t.Parallel()
				b := mapbackend.New()
				a := hashApp(t, b, session.HashNone)
				a.get("/login?alice")
				sid := sidOf(a.cookie)
				a = hashApp(t, b, mode).visitor(a.cookie)
				looks := 0
				b.Before = func(_ context.Context, m, _ string) error {
					if m != method {
						return nil
					}
					if looks++; looks == 2 {
						b.Mu.Lock()
						defer b.Mu.Unlock()
						b.Records[hashed(sid)] = b.Records[sid]
						delete(b.Records, sid)
					}
					return nil
				}
				store := a.Manager.Store()
				if method == "Load" {
					require.True(t, store.Exist(t.Context(), sid))
					return
				}
				require.NoError(t, store.Destroy(t.Context(), sid))
				require.Empty(t, b.Records)
			})
		}
	}
}

// TestHashIDsInsertedTwice: another instance has stored the session while it is inserted. It stays one session,
// with what both have done.
func TestHashIDsInsertedTwice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ mine, theirs session.HashMode }{
		{session.HashRead, session.HashWrite}, {session.HashWrite, session.HashRead},
		{session.HashWrite, session.HashOnly}, {session.HashRead, session.HashNone},
	} {
		for when, method := range []string{"Insert", "Load"} { // before the insert, and after it
			t.Run(fmt.Sprint(tt, method), func(t *testing.T) {
				t.Parallel()
				b := mapbackend.New()
				adopt := func(o *session.Options) { o.AdoptUnknownIDs = true }
				const sid = "0123456789abcdef"
				mine := hashApp(t, b, tt.mine, adopt).visitor("flamego_session=" + sid)
				theirs := hashApp(t, b, tt.theirs, adopt).visitor(mine.cookie)
				inserted, done := false, false
				b.Before = func(_ context.Context, m, _ string) error {
					if now := m == method && (when == 0 || inserted); now && !done {
						done = true
						theirs.get("/add")
					}
					inserted = inserted || m == "Insert"
					return nil
				}
				mine.get("/add")
				require.True(t, done)
				time.Sleep(2 * time.Millisecond)
				require.Empty(t, twice(b, []string{sid}))
				for _, a := range []*app{mine, theirs} {
					require.Equal(t, "<nil> 2", a.get("/see").Body.String())
				}
			})
		}
	}
}

// TestHashIDsStay: in HashRead a record that has just been written under its hash stays there, as it may have
// come there a moment ago. If it is used all the time, it moves after two seconds all the same, also if the
// table of such records has one place for three of them.
func TestHashIDsStay(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	only, a := hashApp(t, b, session.HashOnly), hashApp(t, b, session.HashRead)
	session.OnePlace(a.Store())
	staying := make(map[*app]int) // and how often each was used
	for range 3 {
		login := only.visitor("")
		login.get("/login?alice")
		staying[a.visitor(login.cookie)] = 0
	}
	begun := time.Now()
	for len(staying) > 0 {
		for v := range staying {
			v.get("/add")
			staying[v]++
			b.Mu.Lock()
			_, moved := b.Records[sidOf(v.cookie)]
			b.Mu.Unlock()
			if moved {
				require.GreaterOrEqual(t, time.Since(begun), 2*time.Second)
				require.Equal(t, fmt.Sprint("alice ", staying[v]), v.get("/see").Body.String())
				delete(staying, v)
			}
		}
		require.Less(t, time.Since(begun), time.Minute, "%d sessions never move", len(staying))
		time.Sleep(50 * time.Millisecond)
	}
}

// TestHashIDsStayAgain: that this process has once left a record under its hash counts no more when the record
// has been under the ID since.
func TestHashIDsStayAgain(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	writes, reads := hashApp(t, b, session.HashWrite), hashApp(t, b, session.HashRead)
	writes.get("/login?alice")
	reads = reads.visitor(writes.cookie)
	reads.get("/add") // leaves it
	sid := sidOf(writes.cookie)
	b.Mu.Lock()
	b.Records[sid] = b.Records[hashed(sid)] // another instance in HashRead moves it
	delete(b.Records, hashed(sid))
	b.Mu.Unlock()
	reads.get("/add")
	time.Sleep(2100 * time.Millisecond)
	writes.get("/add") // moves it back
	reads.get("/add")
	b.Mu.Lock()
	defer b.Mu.Unlock()
	require.Contains(t, b.Records, hashed(sid))
}

// TestHashIDsInSteps: where a move takes two steps, a request in between finds the session, too.
func TestHashIDsInSteps(t *testing.T) {
	t.Parallel()
	b := &stepsBackend{Backend: mapbackend.New()}
	a := hashApp(t, b, session.HashNone)
	a.get("/login?alice")
	a = hashApp(t, b, session.HashWrite).visitor(a.cookie)
	reader := hashApp(t, b, session.HashWrite).visitor(a.cookie)
	read := make(chan string)
	b.between = func() {
		b.between = nil
		looks, missed := 0, make(chan struct{})
		b.Before = func(_ context.Context, method, _ string) error {
			if method == "Load" {
				if looks++; looks == 4 {
					close(missed)
				}
			}
			return nil
		}
		go func() { read <- reader.get("/see").Body.String() }()
		<-missed // the reader has looked everywhere, and looks again
	}
	require.Equal(t, "alice 1", a.get("/add").Body.String())
	require.Equal(t, "alice 1", <-read)
}

// stepsBackend renames in two steps.
type stepsBackend struct {
	*mapbackend.Backend
	between func()
}

func (*stepsBackend) RenamesInSteps() bool { return true }

func (b *stepsBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	b.Mu.Lock()
	now, ok := b.Records[sid]
	if ok = ok && bytes.Equal(now.Data, old); ok {
		delete(b.Records, sid)
	}
	b.Mu.Unlock()
	if !ok {
		return false, nil
	}
	if b.between != nil {
		b.between()
	}
	return b.Insert(ctx, newSID, rec)
}

// TestHashIDsDeadInTheWay: where a dead record is in the way of a move, the session is saved all the same.
func TestHashIDsDeadInTheWay(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	a := hashApp(t, b, session.HashNone)
	a.get("/login?alice")
	sid := sidOf(a.cookie)
	a = hashApp(t, refusingRenames{b}, session.HashWrite).visitor(a.cookie)
	require.Equal(t, "alice 1", a.get("/add").Body.String())
	require.Equal(t, "alice 2", a.get("/add").Body.String())
	require.Contains(t, b.Records, sid)
}

// refusingRenames is a backend in which something is in the way of each rename.
type refusingRenames struct{ *mapbackend.Backend }

func (refusingRenames) Rename(context.Context, string, string, []byte, session.Record) (bool, error) {
	return false, nil
}

// TestHashIDsRoundTrips counts the operations of a request.
func TestHashIDsRoundTrips(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mode                session.HashMode
		known, unknown, set string
	}{
		{session.HashNone, "Load", "Load", "Load Swap"},
		{session.HashRead, "Load Load", "Load Load Load", "Load Load Swap"},
		{session.HashWrite, "Load", "Load Load Load", "Load Swap"},
		{session.HashOnly, "Load", "Load", "Load Swap"},
	} {
		b := mapbackend.New()
		a := hashApp(t, b, tt.mode, func(o *session.Options) { o.TouchInterval = time.Minute })
		a.get("/login?alice")
		var ops []string
		b.Before = func(_ context.Context, method, _ string) error {
			ops = append(ops, method)
			return nil
		}
		a.get("/see")
		require.Equal(t, tt.known, strings.Join(ops, " "), "mode %d", tt.mode)
		ops = nil
		a.get("/add")
		require.Equal(t, tt.set, strings.Join(ops, " "), "mode %d", tt.mode)
		ops = nil
		a.visitor("flamego_session=0123456789abcdef").get("/see")
		require.Equal(t, tt.unknown, strings.Join(ops, " "), "mode %d", tt.mode)
	}
}

// TestHashIDsOwned: the sessions of an owner are listed and ended by each step, wherever they stand.
func TestHashIDsOwned(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes[1:] {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			b := mapbackend.New()
			var cookies []string
			for _, m := range []session.HashMode{mode, session.HashOnly, mode} {
				a := hashApp(t, b, m)
				a.get("/login?alice")
				cookies = append(cookies, a.cookie)
			}
			bob := hashApp(t, b, mode)
			bob.get("/login?bob")
			a := hashApp(t, b, mode).visitor(cookies[0])
			infos, err := session.Owned(t.Context(), a.Manager.Store(), "alice")
			require.NoError(t, err)
			handles := make(map[string]bool)
			for _, info := range infos {
				handles[info.Handle] = true
			}
			for _, c := range cookies {
				require.True(t, handles[session.Handle(session.NewBaseSession(sidOf(c), nil, nil))])
			}
			require.Len(t, handles, 3)

			ended, err := session.End(t.Context(), a.Manager.Store(), "bob", infos[0].Handle)
			require.NoError(t, err)
			require.False(t, ended)
			handle := session.Handle(session.NewBaseSession(sidOf(cookies[1]), nil, nil))
			ended, err = session.End(t.Context(), a.Manager.Store(), "alice", handle)
			require.NoError(t, err)
			require.True(t, ended)
			require.Equal(t, "<nil> <nil>", a.visitor(cookies[1]).get("/see").Body.String())
			require.Equal(t, "1", a.get("/others?alice").Body.String())
			require.Equal(t, "alice <nil>", a.get("/see").Body.String())
			require.Equal(t, "<nil> <nil>", a.visitor(cookies[2]).get("/see").Body.String())
			require.Equal(t, "bob <nil>", bob.get("/see").Body.String())

			// The session of the request itself.
			a.Get("/end", func(r *http.Request, store session.Store, s session.Session) (string, error) {
				ok, err := session.End(r.Context(), store, "alice", session.Handle(s))
				return fmt.Sprint(ok), err
			})
			require.Equal(t, "true", a.get("/end").Body.String())
			require.Empty(t, a.cookie, "the cookie is expired")
			require.Len(t, b.Records, 1)
		})
	}
}

// TestHashIDsEndBesideAMove: a session that moves between the list and its end is ended.
func TestHashIDsEndBesideAMove(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	only := hashApp(t, b, session.HashOnly)
	only.get("/login?alice")
	sid := sidOf(only.cookie)
	a := hashApp(t, b, session.HashRead)
	b.Before = func(_ context.Context, method, key string) error {
		if method == "Delete" && key == hashed(sid) {
			b.Mu.Lock()
			defer b.Mu.Unlock()
			if rec, ok := b.Records[key]; ok {
				b.Records[sid] = rec
				delete(b.Records, key)
			}
		}
		return nil
	}
	ended, err := session.End(t.Context(), a.Manager.Store(), "alice", session.Handle(session.NewBaseSession(sid, nil, nil)))
	require.NoError(t, err)
	require.True(t, ended)
	require.Empty(t, b.Records)
}

// TestHashIDsMaxOwned: instances that are one step apart agree on which sessions stay.
func TestHashIDsMaxOwned(t *testing.T) {
	t.Parallel()
	most := func(o *session.Options) { o.MaxOwned = 2 }
	b := mapbackend.New()
	instances := []*app{hashApp(t, b, session.HashRead, most), hashApp(t, b, session.HashWrite, most)}
	for range 20 {
		var wg sync.WaitGroup
		for _, a := range instances {
			wg.Go(func() { a.visitor("").get("/login?alice") })
		}
		wg.Wait()
		require.Equal(t, "2", instances[0].visitor("").get("/owned?alice").Body.String())
	}
}

// movingIndex reads its index piece by piece, while a session moves to its hash: the session is listed in both
// places.
type movingIndex struct{ *mapbackend.Backend }

func (b movingIndex) Owned(ctx context.Context, owner string) ([]session.OwnedRecord, error) {
	owned, err := b.Backend.Owned(ctx, owner)
	for _, rec := range owned {
		rec.ID = hashed(rec.ID)
		owned = append(owned, rec)
	}
	return owned, err
}

// TestHashIDsListedTwice: a session that an index lists in both places counts once. So none is ended for one
// that is not there.
func TestHashIDsListedTwice(t *testing.T) {
	t.Parallel()
	b := movingIndex{mapbackend.New()}
	a := hashApp(t, b, session.HashRead, func(o *session.Options) { o.MaxOwned = 2 })
	var cookies []string
	for range 2 {
		v := a.visitor("")
		v.get("/login?alice")
		cookies = append(cookies, v.cookie)
		time.Sleep(2 * time.Millisecond) // sessions keep their age in milliseconds
	}
	for _, c := range cookies {
		require.Equal(t, "alice <nil>", a.visitor(c).get("/see").Body.String())
	}
	require.Equal(t, "2", a.visitor("").get("/owned?alice").Body.String())
}

// TestHashIDsErrors: what a backend of the app says of a key is in no error.
func TestHashIDsErrors(t *testing.T) {
	t.Parallel()
	for _, mode := range hashModes[1:] {
		b := mapbackend.New()
		var errs []error
		a := hashApp(t, b, mode, func(o *session.Options) { o.ErrorFunc = func(err error) { errs = append(errs, err) } })
		a.get("/login?alice")
		b.Before = func(_ context.Context, method, key string) error { return fmt.Errorf("%s of %s failed", method, key) }
		for _, path := range []string{"/see", "/add", "/logout", "/renew"} {
			require.Equal(t, http.StatusInternalServerError, a.get(path).Code)
		}
		require.Len(t, errs, 4)
		for _, err := range errs {
			require.NotContains(t, err.Error(), sidOf(a.cookie))
			require.NotContains(t, err.Error(), hashed(sidOf(a.cookie)))
			require.NotContains(t, err.Error(), hashed(sidOf(a.cookie))[1:])
		}
	}
}

func TestHashIDsOptions(t *testing.T) {
	t.Parallel()
	for _, mode := range []session.HashMode{-1, 4} {
		_, err := session.New(session.Options{HashIDs: mode})
		require.EqualError(t, err, fmt.Sprintf("HashIDs is %d, which is none of HashNone, HashRead, HashWrite and HashOnly", mode))
	}
	b := mapbackend.New()
	store := session.NewStore(b, session.StoreConfig{})
	initer := func(context.Context, ...interface{}) (session.Store, error) { return store, nil }
	for range 2 { // the backend is not wrapped twice
		m, err := session.New(session.Options{Initer: initer, HashIDs: session.HashOnly})
		require.NoError(t, err)
		s, err := m.Store().Read(t.Context(), "0123456789abcdef")
		require.NoError(t, err)
		s.Set("k", "v")
		require.NoError(t, m.Store().Save(t.Context(), s))
		require.Contains(t, b.Records, hashed("0123456789abcdef"))
	}
	_, err := session.New(session.Options{Initer: initer, HashIDs: session.HashWrite})
	require.ErrorContains(t, err, "HashIDs")
	_, err = session.New(session.Options{HashIDs: session.HashOnly, Initer: func(context.Context, ...interface{}) (session.Store, error) {
		return struct{ session.Store }{store}, nil
	}})
	require.True(t, errors.Is(err, errors.ErrUnsupported), err)
}

func BenchmarkHashedKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		session.HashedKey("0123456789abcdef")
	}
}
