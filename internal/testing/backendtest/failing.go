package backendtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/state"
	"github.com/flamego/session/internal/testing/webapp"
)

// How a call of a backend fails.
const (
	failsBefore = "error before the call" // nothing is done
	notApplied  = "surely not applied"    // nothing is done, and the error says so
	failsAfter  = "error after the call"  // it is done, and the answer is lost
	hangs       = "hangs before the call" // until its context ends
	hangsAfter  = "hangs behind the call" // it is done, and the answer never comes
	hangTimeout = 2 * time.Second         // of the operations in a request one of whose calls hangs
	mostCalls   = 40                      // of the backend in one request
)

var callFaults = []string{failsBefore, notApplied, failsAfter, hangs, hangsAfter}

// try is one request of a test, and which of its calls of the backend fails. The context of the
// request carries it.
type try struct {
	how    string
	at     int      // the number of the call that fails, 0 for none
	meet   *meeting // with the request that it overlaps with, nil for none
	during func()   // is called when the call fails, before it returns
	second bool     // the other instance serves it

	mu        sync.Mutex
	calls     int
	hit       string   // the method that has failed, empty for none
	endless   bool     // a call came without a deadline
	sid       string   // of the session when its handler was done
	ids       []string // of all calls
	wasServed bool     // the handler has run
}

type tryKey struct{}

// with gives a try to a request.
func (tr *try) with(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), tryKey{}, tr))
}

func tryOf(ctx context.Context) *try {
	tr, _ := ctx.Value(tryKey{}).(*try)
	return tr
}

// next counts a call, and reports whether it is the one that fails.
func (tr *try) next(ctx context.Context, method string, ids []string) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		tr.endless = true
	}
	tr.ids = append(tr.ids, ids...)
	if tr.calls++; tr.calls != tr.at {
		return false
	}
	tr.hit = method
	return true
}

// failing is a backend of which one call fails in each request that has a try.
type failing struct{ ownersBackend }

type ownersBackend interface {
	session.Backend
	session.OwnerIndex
}

var errInjected = errors.New("a fault of the test")

// call makes a call, or lets it fail. The error shows the IDs of the call, as that of a driver may do.
func (failing) call(ctx context.Context, method, ids string, made func()) error {
	tr := tryOf(ctx)
	if tr == nil || !tr.next(ctx, method, strings.Split(ids, " to ")) {
		made()
		return nil
	}
	if tr.how == failsAfter || tr.how == hangsAfter {
		made()
	}
	if tr.during != nil {
		tr.during()
	}
	switch tr.how {
	case notApplied:
		return fmt.Errorf("%w: %w, key %s", errInjected, session.ErrNotApplied, ids)
	case hangs, hangsAfter:
		if _, ok := ctx.Deadline(); ok {
			<-ctx.Done()
			return fmt.Errorf("%w, key %s", ctx.Err(), ids)
		}
	}
	return fmt.Errorf("%w, key %s", errInjected, ids)
}

func (f failing) Load(ctx context.Context, sid string) (rec session.Record, found bool, err error) {
	if e := f.call(ctx, "Load", sid, func() { rec, found, err = f.ownersBackend.Load(ctx, sid) }); e != nil {
		return session.Record{}, false, e
	}
	return rec, found, err
}

func (f failing) Insert(ctx context.Context, sid string, rec session.Record) (ok bool, err error) {
	return f.write(ctx, "Insert", sid, func() (bool, error) { return f.ownersBackend.Insert(ctx, sid, rec) })
}

func (f failing) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return f.write(ctx, "Swap", sid, func() (bool, error) { return f.ownersBackend.Swap(ctx, sid, old, rec) })
}

func (f failing) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return f.write(ctx, "Rename", sid+" to "+newSID, func() (bool, error) { return f.ownersBackend.Rename(ctx, sid, newSID, old, rec) })
}

func (f failing) write(ctx context.Context, method, ids string, made func() (bool, error)) (ok bool, err error) {
	if e := f.call(ctx, method, ids, func() { ok, err = made() }); e != nil {
		return false, e
	}
	return ok, err
}

func (f failing) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	_, err := f.write(ctx, "Extend", sid, func() (bool, error) { return true, f.ownersBackend.Extend(ctx, sid, ttl) })
	return err
}

func (f failing) Delete(ctx context.Context, sid string) error {
	_, err := f.write(ctx, "Delete", sid, func() (bool, error) { return true, f.ownersBackend.Delete(ctx, sid) })
	return err
}

func (f failing) Owned(ctx context.Context, owner string) (owned []session.OwnedRecord, err error) {
	if e := f.call(ctx, "Owned", "", func() { owned, err = f.ownersBackend.Owned(ctx, owner) }); e != nil {
		return nil, e
	}
	return owned, err
}

// meeting lets two requests overlap: the handlers of both wait until both have read the session,
// or one of the requests is over.
type meeting struct {
	mu      sync.Mutex
	arrived int
	both    chan struct{}
}

func newMeeting() *meeting { return &meeting{both: make(chan struct{})} }

// arrive is called by each of both once, or by one that will not come.
func (m *meeting) arrive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.arrived++; m.arrived == 2 {
		close(m.both)
	}
}

// faultyApp is an app with sessions in a backend that may fail, and a second look at the same
// backend, which does not fail.
type faultyApp struct {
	*webapp.App
	second  *webapp.App // another instance, with the default Timeout
	calm    *webapp.App // the one of both that serves requests without a fault
	t       *testing.T
	backend session.Backend
	look    session.Store

	mu   sync.Mutex
	errs []error
}

const twoHours = 2 * time.Hour

// newFaultyApp returns an app with these pages:
//
//	/set?key=value&...  sets values
//	/add                adds one to n, by Update
//	/renew, /login?key=value, /logout, /flush, /flash, /get
//	/remember           gives the session a lifetime of two hours
//	/end                ends all other sessions of the owner, by EndOwned
func newFaultyApp(t *testing.T, b ownersBackend, opts session.Options) *faultyApp {
	t.Helper()
	a := &faultyApp{t: t, backend: b, look: session.NewStore(b, session.StoreConfig{})}
	opts.Initer = session.NewIniter(func(context.Context, struct{}) (session.Backend, session.StoreConfig, error) {
		return failing{b}, session.StoreConfig{}, nil
	})
	opts.Config, opts.ErrorFunc = struct{}{}, a.note
	a.App = webapp.New(t, opts)
	short := opts.Timeout > 0
	opts.Timeout = 0
	a.second = webapp.New(t, opts)
	a.addPages(a.App)
	a.addPages(a.second)
	if a.calm = a.App; short {
		a.calm = a.second
	}
	return a
}

// ServeHTTP serves a request by the instance that it is for.
func (a *faultyApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch tr := tryOf(r.Context()); {
	case tr == nil:
		a.calm.ServeHTTP(w, r)
	case tr.second:
		a.second.ServeHTTP(w, r)
	default:
		a.App.ServeHTTP(w, r)
	}
}

func (a *faultyApp) addPages(to *webapp.App) {
	page := func(path string, change func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store) error) {
		to.Get(path, func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, flash session.Flash) (int, string) {
			tr := tryOf(r.Context())
			if tr != nil && tr.meet != nil {
				tr.meet.arrive()
				<-tr.meet.both
			}
			seen := textOf(valuesOf(s, flash))
			err := change(w, r, s, store)
			if tr != nil {
				tr.mu.Lock()
				tr.sid, tr.wasServed = s.ID(), true
				tr.mu.Unlock()
			}
			if err != nil {
				a.note(err)
				return http.StatusInternalServerError, ""
			}
			return http.StatusOK, seen
		})
	}
	set := func(r *http.Request, s session.Session) {
		for key, vals := range r.URL.Query() {
			s.Set(key, vals[0])
		}
	}
	type writer = http.ResponseWriter
	page("/get", func(writer, *http.Request, session.Session, session.Store) error { return nil })
	page("/set", func(_ writer, r *http.Request, s session.Session, _ session.Store) error { set(r, s); return nil })
	page("/add", func(_ writer, _ *http.Request, s session.Session, _ session.Store) error {
		session.Update(s, "n", func(n int) int { return n + 1 })
		return nil
	})
	page("/renew", func(w writer, r *http.Request, s session.Session, _ session.Store) error { return s.RegenerateID(w, r) })
	page("/login", func(w writer, r *http.Request, s session.Session, _ session.Store) error {
		set(r, s)
		return s.RegenerateID(w, r)
	})
	page("/logout", func(w writer, r *http.Request, s session.Session, _ session.Store) error {
		return session.Destroy(w, r, s)
	})
	page("/flush", func(_ writer, _ *http.Request, s session.Session, _ session.Store) error { s.Flush(); return nil })
	page("/flash", func(_ writer, _ *http.Request, s session.Session, _ session.Store) error {
		s.SetFlash("hello")
		return nil
	})
	page("/remember", func(_ writer, _ *http.Request, s session.Session, _ session.Store) error {
		return session.SetLifetime(s, twoHours)
	})
	page("/end", func(_ writer, r *http.Request, s session.Session, store session.Store) error {
		_, err := session.EndOwned(r.Context(), store, s.Get("user"), s)
		return err
	})
}

// note notes what was reported.
func (a *faultyApp) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs = append(a.errs, err)
}

// takeErrors returns what was reported since it was last called.
func (a *faultyApp) takeErrors() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	errs := a.errs
	a.errs = nil
	return errs
}

// valuesKeys are all keys that the tests set.
var valuesKeys = []string{"user", "kept", "a", "b", "n", "z"}

// valuesOf returns what a session shows, as text, with the flash that a request has taken.
func valuesOf(s session.Session, flash session.Flash) map[string]string {
	values := make(map[string]string)
	for _, key := range valuesKeys {
		if val := s.Get(key); val != nil {
			values[key] = fmt.Sprint(val)
		}
	}
	if flash == nil {
		flash = s.Get(state.FlashKey)
	}
	if flash != nil {
		values["flash"] = fmt.Sprint(flash)
	}
	return values
}

// textOf is a text of values, the same for the same values.
func textOf(values map[string]string) string { return fmt.Sprint(values) }

// stored returns what is stored under an ID, or "" if no session is.
func (a *faultyApp) stored(sid string) string {
	values := a.storedValues(sid)
	if values == nil {
		return ""
	}
	return textOf(values)
}

func (a *faultyApp) storedValues(sid string) map[string]string {
	a.t.Helper()
	ctx := context.Background()
	if sid == "" || !a.look.Exist(ctx, sid) {
		return nil
	}
	s, err := a.look.Read(ctx, sid)
	if err != nil {
		a.t.Errorf("what is stored cannot be read: %v", err)
		return nil
	}
	values := valuesOf(s, nil)
	if rec, _, err := a.backend.Load(ctx, sid); err != nil {
		a.t.Error(err)
	} else if rec.TTL > twoHours/2+10*time.Minute {
		values["long"] = "yes"
	}
	return values
}

// forget removes records that a test is done with: FerretDB looks through all that there are.
func (a *faultyApp) forget(sids ...string) {
	a.t.Helper()
	for _, sid := range sids {
		if sid == "" {
			continue
		}
		if err := a.backend.Delete(context.Background(), sid); err != nil {
			a.t.Error(err)
		}
	}
}

// visitor is a browser of the app, with its ID.
type visitor struct {
	a *faultyApp
	*webapp.Browser
}

func (a *faultyApp) visitor(id string) *visitor {
	v := &visitor{a, webapp.NewBrowser(a.t, a)}
	if id != "" {
		v.Cookie = cookieHead + id
	}
	return v
}

const cookieHead = "flamego_session="

func (v *visitor) id() string {
	if v.Cookie == "" {
		return ""
	}
	return v.Cookie[len(cookieHead):]
}
