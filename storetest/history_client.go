package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// historyClient is one of those who use the session.
type historyClient struct {
	h     *history
	name  int
	rng   *rand.Rand
	app   *flamego.Flame
	store session.Store
	alone bool // it waits for nobody
	over  bool
	left  int // how many operations it may still do
	n     int
	turn  chan struct{}
}

// pause waits for the next turn.
func (c *historyClient) pause() {
	if !c.alone {
		c.h.parked <- c
		<-c.turn
	}
}

func (c *historyClient) work() {
	for c.left > 0 {
		c.pause()
		switch n := c.rng.IntN(100); {
		case n < 3:
			c.call("Store.Destroy", true, c.store.Destroy)
		case n < 6:
			c.call("Store.Touch", false, c.store.Touch)
		case n < 7:
			c.call("Store.GC", false, func(ctx context.Context, _ string) error { return c.store.GC(ctx) })
		case n < 10 && c.h.expire != nil:
			c.call("expiry", true, func(_ context.Context, sid string) error { c.h.expire(sid); return nil })
		case n < 25:
			c.save(c.pick(), false)
		default:
			c.visit()
		}
	}
	c.over = true
	c.h.parked <- c
}

// pick chooses the ID of a step: mostly that of the browser, which is none after
// a logout, sometimes another, which is mostly dead.
func (c *historyClient) pick() string {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	n := c.rng.IntN(100)
	i := c.rng.IntN(len(c.h.ids))
	switch {
	case n < 75:
		return c.h.jar
	case n < 83:
		return c.h.neighbour()
	default:
		return c.h.ids[i]
	}
}

// step begins a step.
func (c *historyClient) step(kind, sid string) *step {
	c.n++
	return &step{
		client: c.name, n: c.n, kind: kind, sent: sid, begin: c.h.tick(),
		seen: make(map[string]string), keys: make(map[string]string),
	}
}

func (c *historyClient) context() context.Context {
	return context.WithValue(context.Background(), clientKey{}, c)
}

// call is one operation of the store on one session.
func (c *historyClient) call(kind string, ends bool, f func(context.Context, string) error) {
	c.left--
	sid := c.pick()
	if sid == "" {
		return
	}
	s := c.step(kind, sid)
	s.id, s.ended = sid, ends
	s.read, s.commit = s.begin, s.begin
	if err := f(c.context(), sid); err != nil {
		c.h.failf("%s: %v", kind, err)
	}
	s.end = c.h.tick()
	c.h.record(s)
}

// save reads a session and saves it, by hand. One that is not there is left so,
// but for those that the history begins with: to create is the middleware's.
func (c *historyClient) save(sid string, create bool) {
	if sid == "" {
		c.left--
		return
	}
	s := c.step("read and save", sid)
	sess, err := c.store.Read(c.context(), sid)
	if err != nil {
		c.h.failf("Read: %v", err)
		c.left--
		return
	}
	c.look(s, sess)
	s.id, s.commit, s.end = sid, s.read, s.read
	if create {
		c.set(s, sess, "root")
	} else {
		c.act(s, nil, nil, sess, 1+c.rng.IntN(2))
	}
	if create || !s.empty() {
		c.pause()
		s.commit = c.h.tick()
		err := c.store.Save(c.context(), sess)
		s.end = c.h.tick()
		if err != nil && c.h.lossy {
			s.failed = true
			c.h.record(s)
			return
		}
		if err != nil {
			c.h.failf("Save: %v", err)
		}
		// A session whose record had vanished has nothing any more.
		for key, val := range s.keys {
			s.saved = s.saved || val != "" && key != flashKey && sess.Get(key) == val
			s.dropped = s.dropped || val != "" && key != flashKey && sess.Get(key) == nil
		}
		if sess.HasChanged() { // the session has another ID by now
			s.saved, s.dropped = false, true
		}
	} else {
		s.flushed, s.keys, s.did = false, nil, nil
	}
	c.h.record(s)
}

// visit makes a request.
func (c *historyClient) visit() {
	sid := c.pick()
	c.h.mu.Lock()
	inJar := sid == c.h.jar
	c.h.mu.Unlock()
	cookie := c.request(sid, func(s *step, w http.ResponseWriter, r *http.Request, sess session.Session) {
		if sid == "" && c.rng.IntN(3) > 0 {
			c.set(s, sess, "root")
		}
		c.act(s, w, r, sess, c.rng.IntN(4))
	})
	if !inJar || cookie == nil {
		return
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if cookie.MaxAge >= 0 {
		c.h.jar = cookie.Value
	} else if c.h.jar == sid {
		c.h.jar = ""
	}
}

// request makes a request whose handler calls f, and returns the cookie that it
// was answered with.
func (c *historyClient) request(sid string, f func(*step, http.ResponseWriter, *http.Request, session.Session)) *http.Cookie {
	c.left--
	s := c.step("request", sid)
	something := false // something is in the session at the end
	var marked session.Session
	w := serve(c.context(), c.app, sid, func(w http.ResponseWriter, r *http.Request, sess session.Session, flash session.Flash) {
		if flash != nil {
			s.seen[flashKey] = fmt.Sprint(flash)
		}
		c.look(s, sess)
		if sess.ID() != sid { // the store does not know that ID: this is a new session
			s.sent = ""
		}
		if f != nil {
			f(s, w, r, sess)
			c.pause()
		}
		for _, key := range append(historyKeys, flashKey) {
			val, ok := s.effect(key)
			if !ok && key != flashKey {
				val = s.seen[key]
			}
			something = something || val != ""
			if key == flashKey || s.ended {
				continue
			}
			if got, _ := sess.Get(key).(string); got != val {
				c.h.failf("I7 is broken: client %d, step %d had %s = %q, and now has %q", c.name, s.n, key, val, got)
			}
		}
		if (s.flushed || len(s.keys) > 0) && !s.ended {
			sess.Set("mark", s.n)
			marked = sess
		}
		s.commit = c.h.tick()
	})
	s.end = c.h.tick()
	if w.Code == http.StatusInternalServerError && c.h.lossy {
		s.id, s.failed = sid, true
		if s.commit == 0 { // no handler has run
			s.kind, s.read, s.commit = turnedAway, s.begin, s.begin
		}
		c.h.record(s)
		return nil
	}
	if w.Code != http.StatusOK {
		c.h.failf("client %d, step %d: status %d", c.name, s.n, w.Code)
		return nil
	}

	s.id = sid
	var cookie *http.Cookie
	for _, cookie = range w.Result().Cookies() {
		if cookie.MaxAge >= 0 {
			s.id = cookie.Value
		}
	}
	// What is in the session after its commit tells whether it was gone, and whether it
	// has changed still, that it has another ID.
	if marked != nil && s.id == sid && (marked.Get("mark") == nil || marked.HasChanged()) {
		s.dropped = true
	}
	if s.ended || s.dropped {
		s.id = sid
	}
	s.saved = !s.ended && !s.dropped && (something || !s.empty())
	c.h.record(s)
	return cookie
}

// look notes what a session holds.
func (c *historyClient) look(s *step, sess session.Session) {
	for _, key := range historyKeys {
		if val := sess.Get(key); val != nil {
			s.seen[key] = fmt.Sprint(val)
		}
	}
	s.read = c.h.tick()
}

// act changes a session n times; without a writer it stays under its ID.
func (c *historyClient) act(s *step, w http.ResponseWriter, r *http.Request, sess session.Session, n int) {
	for range n {
		c.left--
		c.pause()
		key := historyKeys[c.rng.IntN(len(historyKeys))]
		switch n := c.rng.IntN(100); {
		case n < 4 && w != nil:
			c.check(session.Destroy(w, r, sess))
			s.ended, s.flushed, s.keys = true, false, make(map[string]string)
			s.did = append(s.did, "destroy")
		case n < 12 && w != nil:
			// It is refused for a session that is gone, which is as it should be.
			if err := sess.RegenerateID(w, r); err == nil {
				s.did, s.renewed = append(s.did, "regenerate"), true
			}
		case n < 17:
			sess.Flush()
			s.flushed, s.keys = !s.ended, make(map[string]string)
			s.did = append(s.did, "flush")
			c.set(s, sess, "root")
		case n < 30:
			val := c.value(s, flashKey)
			sess.SetFlash(val)
			c.note(s, flashKey, val)
		case n < 45 && key != "root":
			if sess.Get(key) != nil { // or else it is no change
				c.note(s, key, "")
			}
			sess.Delete(key)
		default:
			c.set(s, sess, key)
		}
	}
}

func (c *historyClient) check(err error) {
	if err != nil {
		c.h.failf("client %d: %v", c.name, err)
	}
}

// value returns a value that is written here and nowhere else.
func (c *historyClient) value(s *step, key string) string {
	return fmt.Sprintf("%s%d.%d.%d", key, c.name, s.n, len(s.did))
}

func (c *historyClient) set(s *step, sess session.Session, key string) {
	val := c.value(s, key)
	sess.Set(key, val)
	c.note(s, key, val)
}

// note writes down a change; after the end of a session none counts.
func (c *historyClient) note(s *step, key, val string) {
	s.did = append(s.did, strings.TrimSuffix("set "+key+" = "+val, " = "))
	if !s.ended {
		s.keys[key] = val
	}
}
