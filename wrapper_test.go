package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// wrapped are the options of an app with a store of its own around one of ours, as for
// metrics.
func wrapped(b session.Backend) session.Options {
	inner := backendOptions(b).Initer
	return session.Options{Initer: func(ctx context.Context, args ...interface{}) (session.Store, error) {
		s, err := inner(ctx, args...)
		return wrapper{s}, err
	}}
}

// Renewals and logouts hold there, too, also between instances.
func TestWrapper(t *testing.T) {
	b := mapbackend.New()
	here, there := newApp(t, wrapped(b)), newApp(t, wrapped(b))
	there.visit(func(session.Session) {})
	for _, other := range []*app{here, there} {
		// A late request.
		cookie := here.visit(func(s session.Session) { s.Set("user", 1) })
		renewed := other.once(cookie, renewing(t)).Body.String()
		w := here.once(cookie, func(s session.Session) string { s.Set("late", 1); return "ok" })
		require.Empty(t, ours(w.Header()))
		require.False(t, here.Store().Exist(t.Context(), sidOf(cookie)))
		require.Equal(t, 1, get(t, here.Store(), renewed, "user"))

		// Overlapping renewals, of which one stores nothing.
		cookie = here.visit(func(s session.Session) { s.Set("user", 1) })
		w = here.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			renewed = other.once(cookie, renewing(t)).Body.String()
			require.NoError(t, s.RegenerateID(w, r))
			return s.ID()
		})
		require.Empty(t, ours(w.Header()))
		require.Equal(t, 1, get(t, here.Store(), renewed, "user"))

		// A login that was sent twice.
		cookie = here.visit(func(s session.Session) { s.Set("form", 1) })
		for _, a := range []*app{other, here} {
			w = a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
				require.NoError(t, s.RegenerateID(w, r))
				s.Set("user", 7)
				return s.ID()
			})
			require.Len(t, ours(w.Header()), 1)
			require.Equal(t, 7, get(t, here.Store(), w.Body.String(), "user"))
		}

		// A session that was destroyed beside a login.
		cookie = here.visit(func(s session.Session) { s.Set("user", 1) })
		w = here.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			require.NoError(t, other.Store().Destroy(r.Context(), s.ID()))
			require.NoError(t, s.RegenerateID(w, r))
			s.Set("user", 1)
			return s.ID()
		})
		require.Empty(t, ours(w.Header()))
		require.False(t, here.Store().Exist(t.Context(), w.Body.String()))
		require.False(t, here.Store().Exist(t.Context(), sidOf(cookie)))
	}
	require.Empty(t, here.TakeErrors())
	require.Empty(t, there.TakeErrors())
}

// A store of another make whose Read makes a session is never asked to read an ID that it
// does not know and that the client may have chosen.
func TestUnknownIDWhereReadCreates(t *testing.T) {
	store := &liveStore{live: map[string]*ownSession{}}
	a := newApp(t, session.Options{Initer: func(_ context.Context, args ...interface{}) (session.Store, error) {
		for _, arg := range args {
			if w, ok := arg.(session.IDWriter); ok {
				store.write = w
			}
		}
		return store, nil
	}})
	for range 2 {
		a.once("flamego_session="+planted, func(s session.Session) string {
			require.NotEqual(t, planted, s.ID())
			s.Set("user", 7)
			return "ok"
		})
	}
	require.False(t, a.Store().Exist(t.Context(), planted))
}

// The ID of a session that held nothing is good for another login after a logout, where an
// app adopts IDs.
func TestAdoptedIDAfterLogout(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		opts.AdoptUnknownIDs = true
		opts.ReadIDFunc = func(*http.Request) string { return planted }
		a := newApp(t, opts)
		for range 2 {
			for range 2 { // the second time there is nothing
				a.once("", func(s session.Session, w http.ResponseWriter, r *http.Request) error {
					return session.Destroy(w, r, s)
				})
			}
			a.once("", func(s session.Session) string { s.Set("user", 1); return "ok" })
			require.Equal(t, 1, get(t, a.Store(), planted, "user"))
		}
	})
}

// An Encoder that knows some keys only makes no mark. This process knows the ID all the
// same, and for others it is dead.
func TestMarkWithAnEncoderOfTheApp(t *testing.T) {
	b := mapbackend.New()
	a := newApp(t, session.Options{Initer: func(context.Context, ...interface{}) (session.Store, error) {
		return session.NewStore(b, session.StoreConfig{
			Encoder: func(d session.Data) ([]byte, error) {
				user, _ := d["user"].(string)
				return []byte(user), nil
			},
			Decoder: func(raw []byte) (session.Data, error) { return session.Data{"user": string(raw)}, nil },
		}), nil
	}})
	cookie := a.visit(func(s session.Session) { s.Set("user", "alice") })
	renewed := a.once(cookie, renewing(t)).Body.String()
	require.False(t, a.Store().Exist(t.Context(), sidOf(cookie)))
	require.Len(t, b.Records, 1)
	w := a.once(cookie, func(s session.Session) string { s.Set("user", "mallory"); return "ok" })
	require.Empty(t, ours(w.Header()))
	require.Equal(t, "alice", get(t, a.Store(), renewed, "user"))
}

// Where the mark cannot be stored this process knows of the renewal, also after a second
// one that was refused.
func TestMarkThatCannotBeStored(t *testing.T) {
	fails := false
	a := newApp(t, backendOptions(before(func(_ context.Context, method, _ string) error {
		if fails && method == "Insert" {
			return errors.New("no")
		}
		return nil
	})))
	cookie := a.visit(func(s session.Session) { s.Set("form", 1) })
	w := a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		fails = true
		a.once(cookie, renewing(t))
		fails = false
		require.NoError(t, s.RegenerateID(w, r))
		s.Set("user", 7)
		return s.ID()
	})
	require.Len(t, ours(w.Header()), 1)
	require.Equal(t, 7, get(t, a.Store(), w.Body.String(), "user"))
	w = a.once(cookie, func(s session.Session) string { s.Set("late", 1); return "ok" })
	require.Empty(t, ours(w.Header()))
	require.Empty(t, a.TakeErrors())
}

// deafBackend loses the first answer of each rename, and asks again, as a driver does.
type deafBackend struct{ *mapbackend.Backend }

func (b deafBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	if _, err := b.Backend.Rename(ctx, sid, newSID, old, rec); err != nil {
		return false, err
	}
	return b.Backend.Rename(ctx, sid, newSID, old, rec)
}

// A renewal whose answer was lost leaves its mark, too.
func TestMarkAfterALostAnswer(t *testing.T) {
	b := deafBackend{mapbackend.New()}
	here, there := newApp(t, backendOptions(b)), newApp(t, backendOptions(b))
	cookie := here.visit(func(s session.Session) { s.Set("user", 1) })
	renewed := here.once(cookie, renewing(t)).Body.String()
	require.Equal(t, 1, get(t, here.Store(), renewed, "user"))
	for _, a := range []*app{here, there} {
		w := a.once(cookie, func(s session.Session) string { s.Set("late", 1); return "ok" })
		require.Empty(t, ours(w.Header()))
	}
}

// What a handler saves for the session of its request in another way is stored, so the
// client is sent the ID.
func TestSaveOfASessionReadByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		for _, fields := range [][]string{nil, {"Sec-Fetch-Site: cross-site"}, {"Cookie: flamego_session=" + planted, "Sec-Fetch-Mode: cors"}} {
			w := a.with(http.MethodGet, fields, func(s session.Session, store session.Store, w http.ResponseWriter) string {
				w.Header().Set("Cache-Control", "public, max-age=60")
				save(t, store, s.ID(), "key", 1)
				return s.ID()
			})
			require.Len(t, ours(w.Header()), 1)
			require.Equal(t, "max-age=60, private", w.Header().Get("Cache-Control"))
			require.Equal(t, 1, get(t, a.Store(), w.Body.String(), "key"))
		}
	})
}

// An app may test its handlers with a request that has no header.
func TestRequestWithoutAHeader(t *testing.T) {
	a := newApp(t, session.Options{})
	a.Get("/", func(s session.Session, r *http.Request) string {
		c, err := r.Cookie("flamego_session")
		require.NoError(t, err)
		require.Equal(t, s.ID(), c.Value)
		return "ok"
	})
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	require.NoError(t, err)
	r.Header = nil
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	require.Equal(t, "ok", w.Body.String())
}
