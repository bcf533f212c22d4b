package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// The first request of a visitor is still writing its response when the second
// one, to which the browser has the ID already, stores something.
func TestFirstRequestStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		var sid string
		a.once("", func(s session.Session, w http.ResponseWriter) {
			sid = s.ID()
			write(w, "head")
			a.once("flamego_session="+sid, func(s session.Session) string { s.Set("b", 2); return "ok" })
			s.Set("a", 1)
		})
		require.Empty(t, a.TakeErrors())
		require.Equal(t, 1, get(t, a.Store(), sid, "a"))
		require.Equal(t, 2, get(t, a.Store(), sid, "b"))
	})
}

// afterLoad is a backend that calls a function once, between a load and its answer.
type afterLoad struct {
	*mapbackend.Backend
	then func()
}

func (b *afterLoad) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	rec, found, err := b.Backend.Load(ctx, sid)
	if then := b.then; then != nil {
		b.then = nil
		then()
	}
	return rec, found, err
}

// A visitor has a cookie, and nothing is stored yet. While one request looks for the session and
// does not find it, another one stores it: the first one joins it, and does not take the ID for an
// unknown one, which would replace the cookie and lose what the other one has set.
func TestStoredBehindTheLoad(t *testing.T) {
	b := &afterLoad{Backend: mapbackend.New()}
	a := newApp(t, backendOptions(b))
	cookie := a.visit(func(session.Session) {}) // stores nothing
	b.then = func() { a.once(cookie, func(s session.Session) string { s.Set("b", 2); return "ok" }) }
	w := a.once(cookie, func(s session.Session) string { s.Set("a", 1); return fmt.Sprint(s.Get("b")) })
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "2", w.Body.String(), "it sees what is there by now")
	require.Empty(t, w.Header().Values("Set-Cookie"))
	require.Equal(t, 1, get(t, a.Store(), sidOf(cookie), "a"))
	require.Equal(t, 2, get(t, a.Store(), sidOf(cookie), "b"))
}

// The same, but a logout has ended the session by then: it stays so.
func TestDestroyedBehindTheLoad(t *testing.T) {
	b := &afterLoad{Backend: mapbackend.New()}
	a := newApp(t, backendOptions(b))
	cookie := a.visit(func(session.Session) {}) // stores nothing
	b.then = func() {
		a.once(cookie, func(s session.Session) string { s.Set("b", 2); return "ok" })
		a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) error { return session.Destroy(w, r, s) })
	}
	w := a.once(cookie, func(s session.Session) string { s.Set("a", 1); return "ok" })
	require.Equal(t, http.StatusOK, w.Code)
	require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)))
}

// A request that renews an ID under which nothing was stored when it began takes along
// what another request has stored there meanwhile.
func TestLoginBesideTheFirstRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(session.Session) {}) // stores nothing
		var sid string
		w := a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
			a.once(cookie, func(s session.Session) string { s.Set("b", 2); return "ok" })
			require.NoError(t, s.RegenerateID(w, r))
			s.Set("a", 1)
			sid = s.ID()
			return "ok"
		})
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, 1, get(t, a.Store(), sid, "a"))
		require.Equal(t, 2, get(t, a.Store(), sid, "b"))
		require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)), "the old ID is dead")
	})
}

// A slow request under the ID that a login has replaced leaves the cookie alone:
// the browser may have the new one by now.
func TestSlowRequestBesideLogin(t *testing.T) {
	for name, change := range map[string]bool{"changed": true, "touched": false} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, opts session.Options) {
				if !change {
					opts.TouchInterval, opts.Cookie.MaxAge = -1, 60
				}
				a := newApp(t, opts)
				cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
				w := a.once(cookie, func(s session.Session) string {
					a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
						require.NoError(t, s.RegenerateID(w, r))
						return "ok"
					})
					if change {
						s.Set("late", 1)
					}
					return "ok"
				})
				require.Equal(t, http.StatusOK, w.Code)
				require.Empty(t, w.Header().Values("Set-Cookie"))
				require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)))
			})
		})
	}
}

// A session that was renewed and destroyed in one request is destroyed. Only that request
// tells the browser so.
func TestSlowRequestBesideRenewalAndLogout(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
		w := a.once(cookie, func(s session.Session) string {
			a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
				require.NoError(t, s.RegenerateID(w, r))
				require.NoError(t, session.Destroy(w, r, s))
				return "ok"
			})
			s.Set("late", 1)
			return "ok"
		})
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.False(t, a.Store().Exist(context.Background(), sidOf(cookie)))
	})
}

// Where the renewal failed, the old ID is as good as ever, and said to be.
func TestSlowRequestBesideFailedLogin(t *testing.T) {
	synctest.Test(t, testSlowRequestBesideFailedLogin)
}

func testSlowRequestBesideFailedLogin(t *testing.T) {
	opts := backendOptions(before(func(_ context.Context, method, _ string) error {
		if method == "Rename" {
			return errors.New("no")
		}
		return nil
	}))
	opts.TouchInterval, opts.Cookie.MaxAge = -1, 60
	a := newApp(t, opts)
	cookie := a.visit(func(s session.Session) { s.Set("old", 1) })
	w := a.once(cookie, func(s session.Session, w http.ResponseWriter, r *http.Request) string {
		require.NoError(t, s.RegenerateID(w, r))
		return "ok"
	})
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Empty(t, w.Header().Values("Set-Cookie"))
	time.Sleep(time.Second) // or the cookie is not sent again
	w = a.once(cookie, func(session.Session) string { return "ok" })
	require.Contains(t, w.Header().Get("Set-Cookie"), cookie)
}
