package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/flamego/flamego"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// onEach runs a test on the memory store, on the portable one, and on one of another make.
func onEach(t *testing.T, f func(t *testing.T, opts session.Options)) {
	onBoth(t, f)
	t.Run("another make", func(t *testing.T) { f(t, session.Options{Initer: newBlindStore}) })
}

// with makes a request with header fields, "name: value" each, to an app with one handler.
func (a *app) with(method string, fields []string, hs ...flamego.Handler) *httptest.ResponseRecorder {
	f := flamego.NewWithLogger(nowhere{})
	f.Use(a.Handler())
	f.Any("/", hs...)
	r := httptest.NewRequest(method, "/", nil)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

const planted = "attackersession0"

// The ID that a handler sees is that of its session for good: an app may hand it out, or
// keep it to end the session later.
func TestUnknownIDIsReplacedAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		var sid string
		w := a.once("flamego_session="+planted, func(s session.Session) string {
			s.Set("uid", 7)
			sid = s.ID()
			return sid
		})
		require.NotEqual(t, planted, sid)
		require.Equal(t, []string{"flamego_session=" + sid + "; Path=/; HttpOnly; SameSite=Lax"}, ours(w.Header()))
		require.Equal(t, 7, get(t, a.Store(), sid, "uid"))
		require.False(t, a.Store().Exist(t.Context(), planted))
		require.NoError(t, a.Store().Destroy(t.Context(), sid))
		a.once("flamego_session="+sid, func(s session.Session) string {
			require.Nil(t, s.Get("uid"))
			return "ok"
		})
	})
}

// An app that reads the ID from a header and has the handler hand it out, with a
// WriteIDFunc that does nothing: whatever the client comes with, it gets in.
func TestUnknownIDAsToken(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		var calls []string
		opts.ReadIDFunc = func(r *http.Request) string { return r.Header.Get("Token") }
		opts.WriteIDFunc = func(_ http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if calls = append(calls, sid); !created {
				calls = append(calls, "not new")
			}
		}
		a := newApp(t, opts)
		a.Get("/login", func(s session.Session) string { s.Set("uid", 7); return s.ID() })
		a.Get("/", func(s session.Session) string {
			if s.Get("uid") == nil {
				return "nobody"
			}
			return "somebody"
		})
		do := func(path, token string) string {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Token", token)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			require.Empty(t, w.Header()["Set-Cookie"])
			return w.Body.String()
		}
		for _, token := range []string{"", "no token", planted} {
			calls = nil
			sid := do("/login", token)
			require.Equal(t, []string{sid}, calls)
			require.Equal(t, "somebody", do("/", sid))
			require.Equal(t, "nobody", do("/", token))
		}
		require.Empty(t, a.TakeErrors())
	})
}

// stiffSession cannot get another ID.
type stiffSession struct{ *session.BaseSession }

var errStiff = errors.New("no new ID")

func (stiffSession) RegenerateID(http.ResponseWriter, *http.Request) error { return errStiff }

type stiffStore struct{ *blindStore }

func (s stiffStore) Read(ctx context.Context, sid string) (session.Session, error) {
	sess, err := s.blindStore.Read(ctx, sid)
	return stiffSession{sess.(blindSession).BaseSession}, err
}

// The middleware gives no session another ID by itself.
func TestUnknownIDOfAStiffSession(t *testing.T) {
	a := newApp(t, session.Options{Initer: func(ctx context.Context, args ...interface{}) (session.Store, error) {
		store, err := newBlindStore(ctx, args...)
		return stiffStore{store.(*blindStore)}, err
	}})
	a.Get("/", func(s session.Session) string { s.Set("key", 1); return s.ID() })
	a.cookie = "flamego_session=" + planted
	w := a.get("/")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, 1, get(t, a.Store(), w.Body.String(), "key"))
	require.False(t, a.Store().Exist(t.Context(), planted))
	require.Empty(t, a.TakeErrors())
}

// A store of another make that cannot be asked says that nothing exists. Nobody loses a
// session by that.
type unreachable struct {
	*blindStore
	down *bool
}

func (s unreachable) Exist(ctx context.Context, sid string) bool {
	return !*s.down && s.blindStore.Exist(ctx, sid)
}

func (s unreachable) Read(ctx context.Context, sid string) (session.Session, error) {
	if *s.down {
		return nil, errors.New("no connection")
	}
	return s.blindStore.Read(ctx, sid)
}

func TestUnknownIDInAnOutage(t *testing.T) {
	down := false
	a := newApp(t, session.Options{Initer: func(ctx context.Context, args ...interface{}) (session.Store, error) {
		store, err := newBlindStore(ctx, args...)
		return unreachable{store.(*blindStore), &down}, err
	}})
	cookie := a.visit(func(s session.Session) { s.Set("key", 1) })
	down = true
	w := a.once(cookie, func() string { return "ok" })
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Empty(t, ours(w.Header()))
}

// An unknown ID is replaced in the browser with the next page, and not by one of the many
// requests for its parts, each of which has an ID of its own. Where something is stored
// the client is sent the ID in any case.
func TestUnknownIDOfAPartOfAPage(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		read := func(s session.Session) string { return "ok" }
		set := func(s session.Session) string { s.Set("key", 1); return "ok" }
		for _, tt := range []struct {
			mode   string
			handle flamego.Handler
			want   int
		}{
			{"", read, 1}, {"navigate", read, 1}, {"no-cors", read, 0}, {"cors", read, 0}, {"same-origin", read, 0},
			{"", set, 1}, {"navigate", set, 1}, {"no-cors", set, 1}, {"cors", set, 1},
		} {
			fields := []string{"Cookie: flamego_session=" + planted}
			if tt.mode != "" {
				fields = append(fields, "Sec-Fetch-Mode: "+tt.mode)
			}
			w := a.with(http.MethodGet, fields, tt.handle)
			require.Len(t, ours(w.Header()), tt.want, tt.mode)
			require.Len(t, ours(a.with(http.MethodGet, fields[1:], tt.handle).Header()), 1, "a visitor without an ID")
		}
	})
}

// Handlers, and proxies behind the app, find the new ID in the request, in place of one
// that was no good.
func TestNewIDIsInTheRequest(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		for _, sent := range [][]string{
			nil,
			{"a=1; b=2"},
			{""},
			{" ; ", "a=1"},
			{"flamego_session=" + planted},
			{"flamego_session=" + planted + "; a=1", "b=2"},
			{"a=1;flamego_session=not-ours;flamego_session=" + planted, "flamego_session=" + planted + "x;b=2"},
		} {
			var fields []string
			for _, line := range sent {
				fields = append(fields, "Cookie: "+line)
			}
			before := &http.Request{Header: http.Header{"Cookie": sent}}
			check := func(r *http.Request, c flamego.Context, s session.Session) {
				ids := r.CookiesNamed("flamego_session")
				require.Len(t, ids, 1, "%q", sent)
				require.Equal(t, s.ID(), ids[0].Value)
				require.Equal(t, s.ID(), c.Cookie("flamego_session"))
				for _, other := range []string{"a", "b"} {
					require.Equal(t, before.CookiesNamed(other), r.CookiesNamed(other), "%q became %q", sent, r.Header["Cookie"])
				}
			}
			a.with(http.MethodGet, fields, func(r *http.Request, w http.ResponseWriter, c flamego.Context, s session.Session) string {
				check(r, c, s)
				require.NoError(t, s.RegenerateID(w, r))
				check(r, c, s)
				return "ok"
			})
		}

		// A panic takes the new ID back.
		cookie := a.visit(func(s session.Session) { s.Set("key", 1) })
		a.with(http.MethodGet, []string{"Cookie: " + cookie}, func(c flamego.Context, r *http.Request) string {
			func() {
				defer func() { _ = recover() }()
				c.Next()
			}()
			require.Equal(t, []string{cookie}, r.Header["Cookie"])
			return "ok"
		}, func(s session.Session, w http.ResponseWriter, r *http.Request) {
			require.NoError(t, s.RegenerateID(w, r))
			panic("in the handler")
		})
	})
}

// Raising IDLength keeps the sessions that there are. RegenerateID moves them to the new
// length.
func TestIDLengthIsRaised(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		opts.IDLength = 40
		a := newApp(t, opts)
		const old = "0123456789abcdef"
		save(t, a.Store(), old, "user", 1)
		w := a.once("flamego_session="+old, func(s session.Session) string {
			require.Equal(t, old, s.ID())
			require.Equal(t, 1, s.Get("user"))
			s.Set("more", 1)
			return "ok"
		})
		require.Empty(t, ours(w.Header()))
		w = a.once("flamego_session="+old, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			require.NoError(t, s.RegenerateID(w, r))
			require.Len(t, s.ID(), 40)
			return s.ID()
		})
		require.Equal(t, 1, get(t, a.Store(), w.Body.String(), "user"))

		// An unknown one is as good as none, whatever its length.
		for _, unknown := range []string{"abc", planted, strings.Repeat("x", 40), strings.Repeat("x", 255)} {
			a.once("flamego_session="+unknown, func(s session.Session) string {
				require.Len(t, s.ID(), 40)
				require.NotEqual(t, unknown, s.ID())
				s.Set("key", 1)
				return "ok"
			})
			require.False(t, a.Store().Exist(t.Context(), unknown))
		}
	})
}

// AdoptUnknownIDs takes IDs as they come, if they have the length of one of ours.
func TestAdoptUnknownIDs(t *testing.T) {
	onEach(t, func(t *testing.T, opts session.Options) {
		opts.AdoptUnknownIDs = true
		a := newApp(t, opts)
		for sid, adopted := range map[string]bool{planted: true, "short": false} {
			var seen string
			a.once("flamego_session="+sid, func(s session.Session) string { s.Set("key", 1); seen = s.ID(); return "ok" })
			require.Equal(t, adopted, seen == sid)
			require.Equal(t, adopted, a.Store().Exist(t.Context(), sid))
		}
	})
}

// By the injected store nothing is stored under an unknown ID of the request either. An
// app that keeps sessions under IDs of its own goes on doing so.
func TestUnknownIDByTheInjectedStore(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		a.once("flamego_session="+planted, func(store session.Store, r *http.Request) string {
			s, err := store.Read(r.Context(), planted)
			require.NoError(t, err)
			s.Set("key", 1)
			err = store.Save(r.Context(), s)
			require.ErrorContains(t, err, "nothing is stored under an ID that a client may have chosen")
			require.NotContains(t, err.Error(), planted)
			require.Error(t, store.Save(r.Context(), session.NewBaseSessionWithData(planted, nil, nil, session.Data{"key": 1})))
			require.Error(t, store.Save(r.Context(), foreignSession{s}))
			require.Error(t, store.Save(r.Context(), nil))
			require.Error(t, store.Save(r.Context(), (*session.BaseSession)(nil)))

			save(t, store, "settingsofuser7", "key", 1)
			return "ok"
		})
		require.False(t, a.Store().Exist(t.Context(), planted))
		require.Equal(t, 1, get(t, a.Store(), "settingsofuser7", "key"))

		save(t, a.Store(), planted, "key", 1)
		require.Equal(t, 1, get(t, a.Store(), planted, "key"), "by the store of the Manager an app may do as it likes")
	})
}

// Nothing that a client sends reaches what the library itself keeps in the store.
func TestMarksAreOutOfReach(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("user", 1) })
		a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			require.NoError(t, s.RegenerateID(w, r))
			return "ok"
		})
		a.once(cookie, func(s session.Session, store session.Store) string {
			raw, err := s.Encode()
			require.NoError(t, err)
			data, err := session.GobDecoder(raw)
			require.NoError(t, err)
			require.Empty(t, data)
			require.Nil(t, s.Get("flamego::session::renewed"))
			s.Delete("flamego::session::renewed")
			s.Flush()
			return "ok"
		})
		require.False(t, a.Store().Exist(t.Context(), sidOf(cookie)))
	})
}
