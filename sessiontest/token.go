package sessiontest

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/visit"
)

// token is the session ID of a visitor of an app that does not carry it in the cookie.
//
// Such an app has functions of its own for the ID, and may hand it out in any way, also in the body
// of a response. So the ID is learned from the inside, by watching these functions.
type token struct {
	id      string            // empty with an app that uses the cookie
	headers map[string]string // which headers carry it, and what stands before it there
}

func newToken() token { return token{headers: map[string]string{"Authorization": "Bearer "}} }

// addTo adds the ID to a request in all headers that may carry it, and leaves alone those that the
// request has.
func (t *token) addTo(r *http.Request) {
	for name, before := range t.headers {
		if t.id != "" && r.Header.Get(name) == "" {
			r.Header.Set(name, before+t.id)
		}
	}
}

// keep takes a new ID, if there is one, and notes which headers of the response end with the ID.
func (t *token) keep(id string, h http.Header) {
	if id != "" {
		t.id = id
	}
	for name := range h {
		if before, ok := strings.CutSuffix(h.Get(name), t.id); ok && t.id != "" {
			t.headers[name] = before
		}
	}
}

// exchange is one request of a visitor, as the functions for the ID see it.
type exchange struct {
	ours  bool         // the request is one of this package, not for the app
	id    string       // the ID that the visitor has
	given atomic.Value // the ID that the app has given to the visitor instead
}

// exchangeKey is the key of the exchange in the context of a request. There is one for each Manager:
// an app may have several.
type exchangeKey struct{ manager any }

// newID returns the ID that the visitor is to use from now on, or nothing. An app gives a new ID to each
// request without one. If nothing is stored under the new ID, the visitor keeps a better one.
func (e *exchange) newID(store session.Store) string {
	id, _ := e.given.Load().(string)
	ctx := context.Background()
	if id != "" && e.id != "" && !store.Exist(ctx, id) && store.Exist(ctx, e.id) {
		return ""
	}
	return id
}

func init() {
	visit.IDFuncs = func(manager any, read visit.ReadID, write visit.WriteID) (visit.ReadID, visit.WriteID) {
		exchangeOf := func(r *http.Request) *exchange {
			e, _ := r.Context().Value(exchangeKey{manager}).(*exchange)
			return e
		}
		watchedRead := func(r *http.Request) string {
			if e := exchangeOf(r); e != nil && e.ours {
				return e.id
			}
			return read(r)
		}
		watchedWrite := func(w http.ResponseWriter, r *http.Request, sid string, created bool) {
			if r != nil && created { // a handler may pass no request to RegenerateID
				if e := exchangeOf(r); e != nil {
					e.given.Store(sid)
				}
			}
			write(w, r, sid, created)
		}
		return watchedRead, watchedWrite
	}
}
