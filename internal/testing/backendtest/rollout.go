package backendtest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/storetest"
)

// Step is a step of a roll-out: options that the instances of an app get one after the other, while
// the others still have those of the step before.
type Step struct {
	Name    string
	Options func(*session.Options)
	// Waits is zero for a step that may come at once. Any other step comes when all instances have had
	// the step before for the longest lifetime, and for Waits more.
	Waits time.Duration
}

// rounding is by how much longer than its lifetime a session may live, as some stores keep whole seconds.
const rounding = 1100 * time.Millisecond

// HashSteps bring hashes of IDs to a running app, and then go back.
var HashSteps = []Step{
	{"no hashes", hashes(session.HashNone), 0},
	{"HashRead", hashes(session.HashRead), 0},
	{"HashWrite", hashes(session.HashWrite), 0},
	{"HashOnly", hashes(session.HashOnly), rounding},
	{"HashWrite again", hashes(session.HashWrite), 0},
	{"HashRead again", hashes(session.HashRead), 0},
	{"no hashes again", hashes(session.HashNone), rounding + 5*time.Second},
}

func hashes(mode session.HashMode) func(*session.Options) {
	return func(o *session.Options) { o.HashIDs = mode }
}

// KeysSteps bring a key to a running app, then another one, and then go back.
var KeysSteps = []Step{
	{"no keys", keys(), 0},
	{"none, one", keys(nil, keyOne), 0},
	{"one, none", keys(keyOne, nil), 0},
	{"one", keys(keyOne), rounding},
	{"one, two", keys(keyOne, keyTwo), 0},
	{"two, one", keys(keyTwo, keyOne), 0},
	{"two", keys(keyTwo), rounding},
	{"two, none", keys(keyTwo, nil), 0},
	{"none, two", keys(nil, keyTwo), 0},
	{"no keys again", keys(), rounding},
}

func keys(all ...[]byte) func(*session.Options) {
	return func(o *session.Options) { o.Keys = all }
}

// rolloutLifetime is that of all sessions. "make test-full" has slow servers, too.
var rolloutLifetime = 3 * time.Second

func init() {
	if full {
		rolloutLifetime = 12 * time.Second
	}
}

const (
	rolloutClients = 8
	rolloutRounds  = 3
)

// RollOut checks that the options of an app can be changed while it runs. Two instances, one step
// apart, serve the same clients, and no client may lose a session or a value, with OwnerKey and
// without it. Every new session is seen by both instances, and so is every end. Before a step that
// waits, the sessions live on by being read only, for longer than their lifetime.
//
// Before an instance ends it also begins a session that nobody uses until the next step. Such a
// session is why some steps wait: its record is still as the step before has written it.
//
// It takes four seconds or more for each step that waits. It can be used for any option that changes
// what is stored: give it the steps from the zero value to the last one, and back.
func RollOut(t *testing.T, open storetest.Open, steps []Step) {
	for _, name := range []string{"no owners", "owners"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rollout{T: t, opts: open(t, rolloutLifetime)}
			if name == "owners" {
				r.opts.OwnerKey = "user"
			}
			r.opts.Timeout = time.Minute
			r.run(steps)
		})
	}
}

type rollout struct {
	*testing.T
	opts    session.Options
	clients []*client
	step    string // for what is logged
}

// client has sessions of its own. It makes one request after the other, or some to both instances at once.
type client struct {
	*rollout
	user   string
	reads  bool   // the session that lasts is never changed
	lasts  *visit // a session that all steps serve
	unread *visit // a session that the older instance wrote last
	again  int    // how often the client came too late, and began again
}

// visit is a session as its client knows it.
type visit struct {
	cookie string
	want   string    // the page that shows it
	n      int       // in that page
	used   time.Time // when the last request began that has surely extended it
}

func (r *rollout) run(steps []Step) {
	older := r.open(steps[0])
	for i := range rolloutClients {
		c := &client{rollout: r, user: fmt.Sprint("client", i), reads: i%2 == 0}
		r.clients = append(r.clients, c)
		c.lasts = c.login(older, c.user)
	}
	for i := range steps[1:] {
		step := steps[i+1]
		r.step = step.Name
		if step.Waits > 0 {
			r.all(func(c *client) { c.readUntil(func() { time.Sleep(rolloutLifetime + step.Waits) }, older) })
		}
		newer := r.open(step)
		var loads sync.WaitGroup
		loads.Add(len(r.clients))
		r.all(func(c *client) {
			c.load(older, newer)
			loads.Done()
			c.readUntil(loads.Wait, newer)
		})
		r.all(func(c *client) { c.leave(older) })
		r.close(older)
		older = newer
	}
	r.all(func(c *client) { c.readUntil(func() {}, older) })
	r.close(older)
	for _, c := range r.clients {
		if c.again > 0 {
			r.Logf("%s: too late %d times, on a busy machine", c.user, c.again)
		}
	}
}

// all runs f for all clients at a time.
func (r *rollout) all(f func(c *client)) {
	r.Helper()
	var wg sync.WaitGroup
	for _, c := range r.clients {
		wg.Go(func() { f(c) })
	}
	wg.Wait()
	if r.Failed() {
		r.FailNow()
	}
}

func (r *rollout) close(a *webapp.App) {
	r.Helper()
	if err := a.Close(); err != nil {
		r.Error(err)
	}
	for _, err := range a.TakeErrors() {
		r.Errorf("step %s: ErrorFunc is told: %v", r.step, err)
	}
}

// open opens an instance.
func (r *rollout) open(step Step) *webapp.App {
	r.Helper()
	opts := r.opts
	step.Options(&opts)
	a, err := webapp.Open(opts)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = a.Close() }) // for a test that has failed
	a.Get("/login", func(w http.ResponseWriter, req *http.Request, s session.Session) error {
		s.Set("user", req.URL.RawQuery)
		s.Set("text", textFor(req.URL.RawQuery))
		s.Set("n", 0)
		return s.RegenerateID(w, req)
	})
	a.Get("/see", func(s session.Session) string {
		return fmt.Sprint(s.Get("user"), " ", s.Get("text"), " ", s.Get("n"))
	})
	a.Get("/add", func(s session.Session) string {
		session.Update(s, "n", func(n int) int { return n + 1 })
		return fmt.Sprint(s.Get("user"))
	})
	a.Get("/renew", func(w http.ResponseWriter, req *http.Request, s session.Session) error { return s.RegenerateID(w, req) })
	a.Get("/logout", func(w http.ResponseWriter, req *http.Request, s session.Session) error {
		return session.Destroy(w, req, s)
	})
	a.Get("/owned", func(req *http.Request, store session.Store) (string, error) {
		infos, err := session.Owned(req.Context(), store, req.URL.RawQuery)
		return fmt.Sprint(len(infos)), err
	})
	a.Get("/end", func(req *http.Request, store session.Store) (string, error) {
		n, err := session.EndOwned(req.Context(), store, req.URL.RawQuery, nil)
		return fmt.Sprint(n), err
	})
	return a
}

func textFor(user string) string { return strings.Repeat("text of "+user, 10) }

// nobody is the page of a session that is not there.
const nobody = "<nil> <nil> <nil>"

// isLate reports whether a session that was last used then may have expired.
func isLate(used time.Time) bool { return time.Since(used) > rolloutLifetime*9/10 }

func (c *client) login(at *webapp.App, user string) *visit {
	v := new(visit)
	c.get(at, v, "/login?"+url.QueryEscape(user))
	v.want = fmt.Sprintf("%s %s %%d", user, textFor(user))
	return v
}

// get requests a page with the cookie of a visit, and returns it.
func (c *client) get(at *webapp.App, v *visit, path string) string {
	b := webapp.NewBrowser(c.T, at)
	b.Cookie = v.cookie
	begun := time.Now()
	w := b.Get(path)
	if w.Code != http.StatusOK {
		c.Errorf("step %s: %s: status %d", c.step, path, w.Code)
	}
	v.cookie = b.Cookie
	if v.used.IsZero() || !isLate(v.used) { // else it may have expired, and is late for good
		v.used = begun
	}
	return w.Body.String()
}

// see looks at a session, and reports whether it is there, and in time.
func (c *client) see(at *webapp.App, v *visit) bool {
	used := v.used
	if got, want := c.get(at, v, "/see"), fmt.Sprintf(v.want, v.n); got != want || isLate(used) {
		c.lost(used, "the session of %s is %.60q, want %.60q", c.user, got, want)
		return false
	}
	return true
}

// lost reports that a session is not there that was last used then. On a machine so busy that its
// lifetime may be over, the client begins again.
func (c *client) lost(used time.Time, format string, args ...interface{}) {
	c.Helper()
	if !isLate(used) {
		c.Errorf("step "+c.step+": "+format, args...)
		return
	}
	c.again++
	c.user, c.lasts, c.unread = fmt.Sprint(c.user, "x"), nil, nil
}

// readUntil reads until wait has returned.
func (c *client) readUntil(wait func(), at *webapp.App) {
	done := make(chan struct{})
	go func() { wait(); close(done) }()
	for {
		for _, v := range []*visit{c.unread, c.lasts} {
			if v != nil {
				c.see(at, v)
			}
		}
		select {
		case <-done:
			return
		case <-time.After(rolloutLifetime / 10):
		}
	}
}

// load makes many requests to two instances. The first are for what the older one has not read.
func (c *client) load(older, newer *webapp.App) {
	if c.unread != nil {
		if !c.see(newer, c.unread) || !c.see(older, c.unread) || !c.see(newer, c.lasts) || !c.owned(older, newer, "2") {
			return
		}
		c.get(newer, c.unread, "/logout")
		c.unread = nil
	}
	if c.lasts == nil {
		c.lasts = c.login(older, c.user)
	}
	both := []*webapp.App{older, newer}
	for range rolloutRounds {
		rand.Shuffle(2, func(i, j int) { both[i], both[j] = both[j], both[i] })
		one, other := both[0], both[1]
		if !c.see(one, c.lasts) || !c.see(other, c.lasts) || !c.reads && !c.changes(one, other) {
			return
		}
		if !c.owned(one, other, "1") || !c.comesAndGoes(one, other) {
			return
		}
	}
}

// changes adds four at a time, at both instances, and renews the session.
func (c *client) changes(one, other *webapp.App) bool {
	used, begun := c.lasts.used, time.Now()
	var wg sync.WaitGroup
	var lost atomic.Bool
	for i := range 4 {
		at, v := []*webapp.App{one, other}[i%2], *c.lasts
		wg.Go(func() {
			if c.get(at, &v, "/add") != c.user {
				lost.Store(true)
			}
		})
	}
	wg.Wait()
	if lost.Load() {
		c.lost(used, "a change finds no session of %s", c.user)
		return false
	}
	c.lasts.n += 4
	if !isLate(used) {
		c.lasts.used = begun
	}
	if !c.see(other, c.lasts) {
		return false
	}
	c.get(one, c.lasts, "/renew")
	return c.see(other, c.lasts)
}

// comesAndGoes has a session that begins at one instance and ends at the other, and two sessions of
// an owner that end together.
func (c *client) comesAndGoes(one, other *webapp.App) bool {
	guest := c.user + "guest"
	v := c.login(one, guest)
	if !c.see(other, v) {
		return false
	}
	gone := *v
	c.get(other, v, "/logout")
	if c.get(one, &gone, "/see") != nobody {
		c.Errorf("step %s: a session of %s is there after its logout", c.step, c.user)
	}
	if c.opts.OwnerKey == nil {
		return true
	}
	first, second := c.login(one, guest), c.login(other, guest)
	if n := c.get(one, new(visit), "/end?"+guest); n != "2" {
		c.lost(first.used, "%s sessions of %s end, want 2", n, guest)
		return false
	}
	if c.get(other, first, "/see") != nobody || c.get(other, second, "/see") != nobody {
		c.Errorf("step %s: a session of %s is there after its end", c.step, guest)
	}
	return true
}

// owned checks how many sessions both instances find for the client. It has used all of them just now.
func (c *client) owned(one, other *webapp.App, want string) bool {
	if c.opts.OwnerKey == nil {
		return true
	}
	used := c.lasts.used
	if c.unread != nil && c.unread.used.Before(used) {
		used = c.unread.used
	}
	for _, at := range []*webapp.App{one, other} {
		if got := c.get(at, new(visit), "/owned?"+c.user); got != want {
			c.lost(used, "%s has %s sessions, want %s", c.user, got, want)
			return false
		}
	}
	return true
}

// leave begins a session that nobody uses until the next step.
func (c *client) leave(at *webapp.App) {
	if c.lasts != nil {
		c.unread = c.login(at, c.user)
	}
}
