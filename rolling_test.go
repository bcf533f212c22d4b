package session_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/child"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// While an app is deployed, a process may find values of types that only the new version
// has. Here such a type is one whose name is changed in the bytes.

type prefs struct{ Theme string }

func init() { gob.RegisterName("app.PrefsHere", prefs{}) }

const rollingSID = "rolling000000000"

// elsewhere is what a process writes that has the type under another name.
func elsewhere(t testing.TB, data session.Data) []byte {
	t.Helper()
	return bytes.ReplaceAll(plainEncode(t, data), []byte("app.PrefsHere"), []byte("app.PrefsThen"))
}

// rolling is an app with a visitor whose session was written by the new version.
type rolling struct {
	*app
	b *mapbackend.Backend
}

func newRolling(t *testing.T, sc session.StoreConfig, data session.Data) *rolling {
	t.Helper()
	return rollingOf(t, sc, elsewhere(t, data))
}

func rollingOf(t *testing.T, sc session.StoreConfig, raw []byte) *rolling {
	t.Helper()
	b := mapbackend.New()
	a := newApp(t, session.Options{Initer: func(_ context.Context, args ...interface{}) (session.Store, error) {
		for _, arg := range args {
			if w, ok := arg.(session.IDWriter); ok {
				sc.IDWriter = w
			}
		}
		return session.NewStore(b, sc), nil
	}})
	b.Put(rollingSID, session.Record{Data: raw, TTL: time.Hour})
	return &rolling{a.visitor("flamego_session=" + rollingSID), b}
}

// request makes a request, and requires a status.
func (r *rolling) request(status int, f func(s session.Session)) {
	r.t.Helper()
	w := r.once(r.cookie, func(s session.Session, w http.ResponseWriter, req *http.Request) string {
		f(s)
		return "ok"
	})
	require.Equal(r.t, status, w.Code)
	if lines := ours(w.Header()); len(lines) > 0 {
		r.cookie = webCookie(lines[0])
	}
}

func webCookie(line string) string {
	c, _ := http.ParseSetCookie(line)
	return c.Name + "=" + c.Value
}

func (r *rolling) raw() []byte {
	r.t.Helper()
	rec, found, err := r.b.Load(context.Background(), sidOf(r.cookie))
	require.NoError(r.t, err)
	require.True(r.t, found)
	return rec.Data
}

// requireStored checks what a process finds that knows all types.
func (r *rolling) requireStored(want session.Data) {
	r.t.Helper()
	raw := bytes.ReplaceAll(r.raw(), []byte("app.PrefsThen"), []byte("app.PrefsHere"))
	require.Equal(r.t, map[interface{}]interface{}(want), plainDecode(r.t, raw))
}

const undecoded = `the value of type "app.PrefsThen" under key "prefs" cannot be decoded: gob: name not registered for interface: "app.PrefsThen"`

// requireTold requires that the last requests have reported nothing but that.
func (r *rolling) requireTold(texts ...string) {
	r.t.Helper()
	errs := r.TakeErrors()
	require.Len(r.t, errs, len(texts), "%v", errs)
	for i, text := range texts {
		require.EqualError(r.t, errs[i], text)
	}
}

const told = "session: store: read: unreadable data: " + undecoded

var dark = prefs{"dark"}

func TestRollingDeploy(t *testing.T) {
	r := newRolling(t, session.StoreConfig{}, session.Data{"user": 7, "prefs": dark})
	before := r.raw()
	r.request(http.StatusOK, func(s session.Session) {
		require.Equal(t, 7, s.Get("user"))
		require.Nil(t, s.Get("prefs"))
		require.False(t, s.HasChanged())
	})
	require.Equal(t, before, r.raw())
	r.requireTold(told)
	for i := range 5 {
		r.request(http.StatusOK, func(s session.Session) { s.Set("visits", i) })
		r.requireStored(session.Data{"user": 7, "prefs": dark, "visits": i})
	}
	size := len(r.raw())
	r.request(http.StatusOK, func(s session.Session) { s.Set("visits", 6); s.Delete("none") })
	require.Len(t, r.raw(), size)
	r.requireStored(session.Data{"user": 7, "prefs": dark, "visits": 6})
}

func TestRollingDeployOfTheKey(t *testing.T) {
	data := session.Data{"user": 7, "prefs": dark}
	for name, tt := range map[string]struct {
		change func(s session.Session)
		want   session.Data
	}{
		"set":               {func(s session.Session) { s.Set("prefs", "dark") }, session.Data{"user": 7, "prefs": "dark"}},
		"set to nothing":    {func(s session.Session) { s.Set("prefs", nil) }, session.Data{"user": 7}},
		"delete":            {func(s session.Session) { s.Delete("prefs") }, session.Data{"user": 7}},
		"flush":             {func(s session.Session) { s.Flush() }, session.Data{}},
		"flush and set":     {func(s session.Session) { s.Flush(); s.Set("a", 1) }, session.Data{"a": 1}},
		"another of a type": {func(s session.Session) { s.Set("other", prefs{"light"}) }, session.Data{"user": 7, "prefs": dark, "other": prefs{"light"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRolling(t, session.StoreConfig{}, data)
			r.request(http.StatusOK, tt.change)
			r.requireStored(tt.want)
		})
	}
	t.Run("destroy", func(t *testing.T) {
		r := newRolling(t, session.StoreConfig{}, data)
		r.once(r.cookie, func(s session.Session, w http.ResponseWriter, req *http.Request) error {
			return session.Destroy(w, req, s)
		})
		require.Empty(t, r.b.Records)
	})
}

func TestRollingDeployAndRenewal(t *testing.T) {
	for _, sets := range []bool{false, true} {
		r := newRolling(t, session.StoreConfig{}, session.Data{"user": 7, "prefs": dark})
		before, want := r.raw(), session.Data{"user": 7, "prefs": dark}
		w := r.once(r.cookie, func(s session.Session, w http.ResponseWriter, req *http.Request) error {
			if sets {
				s.Set("login", true)
			}
			return s.RegenerateID(w, req)
		})
		r.cookie = webCookie(ours(w.Header())[0])
		require.NotEqual(t, rollingSID, sidOf(r.cookie))
		require.False(t, r.Store().Exist(t.Context(), rollingSID))
		if sets {
			want["login"] = true
		} else {
			require.Equal(t, before, r.raw())
		}
		r.requireStored(want)
	}
}

// The flash is a key like others.
func TestRollingDeployAndFlash(t *testing.T) {
	const flashKey = "flamego::session::flash"
	flashOf := func(r *rolling) (got session.Flash) {
		r.once(r.cookie, func(flash session.Flash) { got = flash })
		return got
	}
	r := newRolling(t, session.StoreConfig{}, session.Data{flashKey: "saved", "prefs": dark, "user": 7})
	require.Equal(t, "saved", flashOf(r))
	require.Nil(t, flashOf(r))
	r.requireStored(session.Data{"prefs": dark, "user": 7})

	r = newRolling(t, session.StoreConfig{}, session.Data{flashKey: dark, "user": 7})
	require.Nil(t, flashOf(r))
	r.requireStored(session.Data{flashKey: dark, "user": 7})
	r.request(http.StatusOK, func(s session.Session) { s.SetFlash("newer") })
	require.Equal(t, "newer", flashOf(r))
	r.requireStored(session.Data{"user": 7})

	// A flash that is given back leaves a newer one that nobody here can decode.
	r = newRolling(t, session.StoreConfig{}, session.Data{flashKey: "saved", "user": 7})
	require.Panics(t, func() {
		r.once(r.cookie, func(flash session.Flash) {
			require.Equal(t, "saved", flash)
			r.b.Put(rollingSID, session.Record{Data: elsewhere(t, session.Data{flashKey: dark, "user": 8}), TTL: time.Hour})
			panic("the handler is broken")
		})
	})
	r.requireStored(session.Data{flashKey: dark, "user": 8})
}

// Requests that overlap keep each other's changes and what none of them can decode.
func TestRollingDeployAndConflicts(t *testing.T) {
	r := newRolling(t, session.StoreConfig{}, session.Data{"user": 7, "list": []string{"a"}, "prefs": dark})
	r.request(http.StatusOK, func(s session.Session) {
		s.Set("first", 1)
		r.request(http.StatusOK, func(s session.Session) { s.Set("second", 2) })
		// The new version changes the value meanwhile.
		data := session.Data{"user": 7, "list": []string{"a"}, "prefs": prefs{"light"}, "second": 2, "more": dark}
		r.b.Put(rollingSID, session.Record{Data: elsewhere(t, data), TTL: time.Hour})
	})
	r.requireStored(session.Data{"user": 7, "list": []string{"a"}, "prefs": prefs{"light"}, "first": 1, "second": 2, "more": dark})
}

// Changes that wait for each other are written together.
func TestRollingDeployInALane(t *testing.T) {
	ctx := context.Background()
	b := mapbackend.New()
	b.Before = func(_ context.Context, method, _ string) error {
		if method == "Swap" {
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	}
	store := session.NewStore(b, session.StoreConfig{})
	b.Put(rollingSID, session.Record{Data: elsewhere(t, session.Data{"user": 7, "prefs": dark, "old": dark}), TTL: time.Hour})
	want := session.Data{"user": 7, "prefs": dark}
	var wg sync.WaitGroup
	for i := range 20 {
		s, err := store.Read(ctx, rollingSID)
		require.ErrorContains(t, err, "app.PrefsThen")
		require.Equal(t, 7, s.Get("user"))
		s.Set(i, i)
		if i == 7 {
			s.Delete("old")
		}
		want[i] = i
		wg.Go(func() {
			if err := store.Save(ctx, s); err != nil {
				t.Error(err)
			}
			s.Set(fmt.Sprint("again", i), i)
			if err := store.Save(ctx, s); err != nil {
				t.Error(err)
			}
		})
		want[fmt.Sprint("again", i)] = i
	}
	wg.Wait()
	(&rolling{(&app{t: t}).visitor("flamego_session=" + rollingSID), b}).requireStored(want)
}

func TestRollingDeployAndMaxDataSize(t *testing.T) {
	data := session.Data{"user": 7, "prefs": prefs{string(make([]byte, 700))}}
	r := newRolling(t, session.StoreConfig{MaxDataSize: 1000}, data)
	r.request(http.StatusInternalServerError, func(s session.Session) { s.Set("blob", string(make([]byte, 200))) })
	require.ErrorContains(t, r.TakeErrors()[1], "more than the limit of 1000")
	r.requireStored(data)
	r.request(http.StatusOK, func(s session.Session) { s.Set("blob", string(make([]byte, 50))) })
	r.request(http.StatusOK, func(s session.Session) { s.Delete("prefs"); s.Set("blob", string(make([]byte, 700))) })
	r.requireStored(session.Data{"user": 7, "blob": string(make([]byte, 700))})
}

// A record of which nothing can be decoded is an empty session, and the first change
// replaces it.
func TestRollingDeployOfEverything(t *testing.T) {
	r := newRolling(t, session.StoreConfig{}, session.Data{"prefs": dark})
	before := r.raw()
	r.request(http.StatusOK, func(s session.Session) { require.Nil(t, s.Get("prefs")) })
	require.Equal(t, before, r.raw())
	r.request(http.StatusOK, func(s session.Session) { s.Set("user", 7) })
	r.requireStored(session.Data{"user": 7})
}

// What another process has written meanwhile, and of which nothing can be decoded, stays:
// along with the changes if it can be taken to pieces, and otherwise as it is.
func TestRecordBecomesUnreadable(t *testing.T) {
	r := newRolling(t, session.StoreConfig{}, session.Data{"user": 7})
	r.request(http.StatusOK, func(s session.Session) {
		s.Set("visits", 1)
		r.b.Put(rollingSID, session.Record{Data: elsewhere(t, session.Data{"prefs": dark}), TTL: time.Hour})
	})
	require.Empty(t, r.TakeErrors())
	r.requireStored(session.Data{"prefs": dark, "visits": 1})

	const noGob = "no gob"
	r.request(http.StatusInternalServerError, func(s session.Session) {
		s.Set("visits", 2)
		r.b.Put(rollingSID, session.Record{Data: []byte(noGob), TTL: time.Hour})
	})
	errs := r.TakeErrors()
	require.Len(t, errs, 2)
	require.EqualError(t, errs[0], told)
	require.ErrorContains(t, errs[1], `session: store: save: the record cannot be decoded any more, and stays as it is: decode: `)
	require.Equal(t, noGob, string(r.raw()))
}

// Two requests overlap in a session with a flash and a value that cannot be decoded. One
// takes the flash, so that nothing is left that the other can decode.
func TestRollingDeployBesideAFlash(t *testing.T) {
	r := newRolling(t, session.StoreConfig{}, session.Data{"flamego::session::flash": "hello", "prefs": dark})
	f := r.visitor(r.cookie)
	w := f.with(http.MethodHead, []string{"Cookie: " + r.cookie}, func(s session.Session) {
		r.once(r.cookie, func(flash session.Flash) string { require.Equal(t, "hello", flash); return "ok" })
		s.Set("visits", 1)
	})
	require.Equal(t, http.StatusOK, w.Code)
	r.requireStored(session.Data{"prefs": dark, "visits": 1})
}

// flip is an encryption.
func flip(raw []byte) []byte {
	raw = bytes.Clone(raw)
	for i := range raw {
		raw[i] ^= 0xff
	}
	return raw
}

func flipped(data session.Data) ([]byte, error) {
	raw, err := session.GobEncoder(data)
	return flip(raw), err
}

// What an Encoder of the app cannot carry along, it must not lose.
func TestRollingDeployWithAnEncoderOfTheApp(t *testing.T) {
	const flashKey = "flamego::session::flash"
	open := func(t *testing.T, data session.Data) *rolling {
		return rollingOf(t, session.StoreConfig{Encoder: flipped, Decoder: func(raw []byte) (session.Data, error) {
			return session.GobDecoder(flip(raw))
		}}, flip(elsewhere(t, data)))
	}
	data := session.Data{"user": 7, "prefs": dark}
	r := open(t, data)
	before := r.raw()
	r.request(http.StatusOK, func(s session.Session) { require.Equal(t, 7, s.Get("user")) })
	r.requireTold(told)
	r.request(http.StatusInternalServerError, func(s session.Session) { s.Set("visits", 1) })
	r.requireTold(told, "session: store: save: "+undecoded+", and the Encoder of the app would lose it: register the type, delete the key, or flush the session")
	require.Equal(t, before, r.raw())

	// Its ID may change.
	w := r.once(r.cookie, func(s session.Session, w http.ResponseWriter, req *http.Request) error { return s.RegenerateID(w, req) })
	r.cookie = webCookie(ours(w.Header())[0])
	require.Equal(t, before, r.raw())

	r.request(http.StatusOK, func(s session.Session) { s.Delete("prefs"); s.Set("visits", 1) })
	got, err := session.GobDecoder(flip(r.raw()))
	require.NoError(t, err)
	require.Equal(t, session.Data{"user": 7, "visits": 1}, got)

	for _, change := range []func(s session.Session){
		func(s session.Session) { s.Flush(); s.Set("visits", 1) },
		func(s session.Session) { s.Set("prefs", "none"); s.Set("visits", 1) },
	} {
		r = open(t, data)
		r.request(http.StatusOK, change)
		got, err = session.GobDecoder(flip(r.raw()))
		require.NoError(t, err)
		require.Equal(t, 1, got["visits"])
	}

	// A flash that cannot be taken locks nobody out.
	r = open(t, session.Data{"user": 7, "prefs": dark, flashKey: "saved"})
	before = r.raw()
	r.once(r.cookie, func(s session.Session, flash session.Flash) {
		require.Nil(t, flash)
		require.Equal(t, 7, s.Get("user"))
		require.False(t, s.HasChanged())
	})
	require.Equal(t, before, r.raw())
	r.requireTold(told)
}

// A Decoder of the app may return nothing of what can be decoded, but must not hide that
// there is something.
func TestRollingDeployWithADecoderOfTheApp(t *testing.T) {
	data := session.Data{"user": 7, "prefs": dark}
	decoders := map[string]session.Decoder{
		"nothing": func(raw []byte) (session.Data, error) {
			data, err := session.GobDecoder(raw)
			if err != nil {
				return nil, fmt.Errorf("app: %w", err)
			}
			return data, nil
		},
		"an empty map": func(raw []byte) (session.Data, error) {
			data, err := session.GobDecoder(raw)
			if err != nil {
				return session.Data{}, err
			}
			return data, nil
		},
	}
	for name, decoder := range decoders {
		t.Run(name, func(t *testing.T) {
			for _, encoder := range []session.Encoder{nil, session.GobEncoder, func(data session.Data) ([]byte, error) { return session.GobEncoder(data) }} {
				r := rollingOf(t, session.StoreConfig{Encoder: encoder, Decoder: decoder}, elsewhere(t, data))
				before := r.raw()
				r.request(http.StatusOK, func(s session.Session) { require.Nil(t, s.Get("user")) })
				r.request(http.StatusInternalServerError, func(s session.Session) { s.Set("visits", 1) })
				r.request(http.StatusInternalServerError, func(s session.Session) { s.Delete("prefs") })
				require.ErrorContains(t, r.TakeErrors()[4], "register the type, or flush the session")
				require.Equal(t, before, r.raw())
				r.request(http.StatusOK, func(s session.Session) { s.Flush(); s.Set("visits", 1) })
				r.requireStored(session.Data{"visits": 1})

				r = rollingOf(t, session.StoreConfig{Encoder: encoder, Decoder: decoder}, elsewhere(t, data))
				r.once(r.cookie, func(s session.Session, w http.ResponseWriter, req *http.Request) error {
					return session.Destroy(w, req, s)
				})
				require.Empty(t, r.b.Records)
			}
		})
	}

	t.Run("both, with our encoder", func(t *testing.T) {
		r := rollingOf(t, session.StoreConfig{Encoder: session.GobEncoder, Decoder: func(raw []byte) (session.Data, error) { return session.GobDecoder(raw) }}, elsewhere(t, data))
		r.request(http.StatusOK, func(s session.Session) { s.Set("visits", 1) })
		r.requireStored(session.Data{"user": 7, "prefs": dark, "visits": 1})
	})
	t.Run("another error", func(t *testing.T) {
		r := rollingOf(t, session.StoreConfig{Decoder: func(raw []byte) (session.Data, error) {
			data, err := session.GobDecoder(raw)
			if err != nil {
				return data, errors.New("no")
			}
			return data, nil
		}}, elsewhere(t, data))
		r.request(http.StatusOK, func(s session.Session) { require.Nil(t, s.Get("user")); s.Set("visits", 1) })
		r.requireStored(session.Data{"visits": 1})
	})
}

// A value that is changed in place is not stored, beside a rest neither.
func TestRollingDeployChangedInPlace(t *testing.T) {
	r := newRolling(t, session.StoreConfig{}, session.Data{"list": []string{"a"}, "prefs": dark})
	r.request(http.StatusOK, func(s session.Session) {
		s.Get("list").([]string)[0] = "changed"
		s.Set("visits", 1)
	})
	r.requireStored(session.Data{"list": []string{"a"}, "prefs": dark, "visits": 1})
}

type onlyInParent struct{ Theme string }

// Two processes, of which one has registered a type and the other has not.
func TestRollingDeployOfTwoProcesses(t *testing.T) {
	const env = "SESSION_TEST_ROLLING"
	ctx := context.Background()
	dir := os.Getenv(env)
	if dir != "" {
		store := newFileStore(t, dir, time.Hour)
		s, err := store.Read(ctx, rollingSID)
		require.ErrorContains(t, err, `under key "prefs"`)
		require.ErrorContains(t, err, `session_test.onlyInParent"`)
		require.Equal(t, 7, s.Get("user"))
		require.Equal(t, registered{Name: "n"}, s.Get("known"))
		require.Nil(t, s.Get("prefs"))
		s.Set("visits", []interface{}{1, registered{}})
		require.NoError(t, store.Save(ctx, s))
		return
	}
	gob.Register(onlyInParent{})
	dir = filepath.Join(t.TempDir(), "sessions")
	store := newFileStore(t, dir, time.Hour)
	prefs := []interface{}{onlyInParent{"dark"}, map[string]interface{}{"a": []interface{}{onlyInParent{}}, "b": time.Hour}}
	save(t, store, rollingSID, "user", 7, "prefs", prefs, "known", registered{Name: "n"})
	want := get(t, store, rollingSID, "prefs")
	for range 3 {
		child.Start(t, env+"="+dir).Wait()
	}
	require.Equal(t, want, get(t, store, rollingSID, "prefs"))
	require.Equal(t, 7, get(t, store, rollingSID, "user"))
	require.Equal(t, registered{Name: "n"}, get(t, store, rollingSID, "known"))
	require.Equal(t, []interface{}{1, registered{}}, get(t, store, rollingSID, "visits"))
}
