package sessiontest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/state"
)

// Visitor is one browser, or one client of an API. Its methods may be called in parallel.
type Visitor struct {
	t testing.TB
	m *session.Manager

	mu      sync.Mutex
	cookies jar
	token   token
}

// New returns a visitor whose session holds the data. The data is stored in the way of a login: the
// session begins now ([session.IssuedAt]), and if the data has the key of Options.OwnerKey,
// [session.Owned] lists the session. With no data, this is a visitor who has not been here: nothing
// is stored, and there is no cookie.
//
// The Manager must be the one whose Handler the app uses. If the data cannot be stored, New ends the
// test with t.FailNow and tells the error of the store. So call it on the goroutine of the test.
func New(t testing.TB, m *session.Manager, data session.Data) *Visitor {
	t.Helper()
	if m == nil {
		t.Fatal("sessiontest: New needs the Manager whose Handler the app uses, and got nil")
	}
	v := &Visitor{t: t, m: m, token: newToken()}
	set := func(s session.Session) {
		for key, val := range data {
			s.Set(key, val)
		}
	}
	if len(data) > 0 && !v.run(set, true) {
		t.FailNow()
	}
	return v
}

// Do lets a handler, as a rule the whole app, answer a request of the visitor. It sends the cookies
// that the visitor has for the path, and keeps those that the response sets. It does not follow
// redirects. The handler gets a copy of the request. A cookie or a token that the request has itself
// is sent in place of the visitor's.
//
// Do never fails the test, so it may be called on any goroutine.
func (v *Visitor) Do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	return v.do(h, r, false)
}

// Change runs f in a request of its own, as a handler of the app, and stores what f changes. A flash
// that waits keeps waiting, unless f sets another one. If the visitor has no session, or it has
// ended, f gets a new one. If the session cannot be read or stored, Change fails the test with
// t.Error and the error of the store.
func (v *Visitor) Change(f func(s session.Session)) {
	v.t.Helper()
	v.run(f, true)
}

// Get returns the value of the key in the session, of the type that the store gives back, or nil when
// there is none. It is no access: it neither extends the session nor takes the flash. If the session
// cannot be read, Get fails the test with t.Error and returns nil.
func (v *Visitor) Get(key interface{}) (val interface{}) {
	v.t.Helper()
	v.run(func(s session.Session) { val = s.Get(key) }, false)
	return val
}

// ID returns the session ID, or an empty string while nothing is stored for the visitor. It is no
// access, like Get, and fails like Get. With it a test ends the session from elsewhere, or puts the
// ID where the visitor does not: into the query of a request, or its path.
func (v *Visitor) ID() (sid string) {
	v.t.Helper()
	v.run(func(s session.Session) {
		if v.m.Store().Exist(context.Background(), s.ID()) {
			sid = s.ID()
		}
	}, false)
	return sid
}

// Flash returns the flash that the next page would show, and takes it, as that page would. It is nil
// when there is none. Options.FlashFor makes no difference. Flash fails like Change.
func (v *Visitor) Flash() session.Flash {
	v.t.Helper()
	flash := v.Get(state.FlashKey)
	if flash != nil {
		v.Change(func(s session.Session) { s.Delete(state.FlashKey) })
	}
	return flash
}

// Cookies returns the cookies that the visitor has, those of the session and all others, with their
// attributes as the app set them.
func (v *Visitor) Cookies() []*http.Cookie {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cookies.all()
}

// run runs f as the handler of a request that the middleware of the app serves, and stores what f
// changes, unless it is only to look. It reports whether that worked; if not, it fails the test.
func (v *Visitor) run(f func(s session.Session), store bool) bool {
	v.t.Helper()
	if !store && v.isNobody() {
		return true
	}
	var err error
	var ran, stopped bool
	app := flamego.NewWithLogger(io.Discard)
	app.Use(v.m.Handler())
	app.Any("/", func(r *http.Request, s session.Session, flash session.Flash, st session.Store) {
		ran = true
		if flash != nil {
			s.SetFlash(flash)
		}
		f(s)
		if store && s.HasChanged() {
			err = st.Save(r.Context(), s) // the middleware would tell its ErrorFunc, and not us
		}
		if !store || err != nil {
			stopped = true
			panic("sessiontest: nothing is stored, nor extended, and the flash is given back")
		}
	})
	func() {
		defer func() {
			if stopped {
				_ = recover()
			}
		}()
		v.do(app, httptest.NewRequest(http.MethodHead, "/", nil), true)
	}()
	switch {
	case err != nil:
		v.t.Errorf("sessiontest: the session cannot be stored: %v", err)
	case !ran:
		// Only ErrorFunc was told why. A store that is down mostly says the same to any other look.
		if _, err = v.m.Store().Read(context.Background(), "sessiontest"); err == nil {
			err = errors.New("Options.ErrorFunc was told why")
		}
		v.t.Errorf("sessiontest: the session cannot be read: %v", err)
	}
	return ran && err == nil
}

// isNobody reports whether the visitor has nothing that could lead to a session.
func (v *Visitor) isNobody() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.cookies.all()) == 0 && v.token.id == ""
}

// do serves a request of the visitor and keeps what the response sets. A request of this package
// itself carries all that the visitor has, whatever the path.
func (v *Visitor) do(h http.Handler, r *http.Request, ours bool) *httptest.ResponseRecorder {
	v.mu.Lock()
	e := &exchange{ours: ours, id: v.token.id}
	r = r.Clone(context.WithValue(r.Context(), exchangeKey{v.m}, e))
	v.cookies.addTo(r, ours)
	v.token.addTo(r)
	v.mu.Unlock()

	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)

	response, id := w.Result(), e.newID(v.m.Store())
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cookies.keep(response.Cookies(), r.URL.Path)
	v.token.keep(id, response.Header)
	return w
}
