package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/history"
)

// historyClient is one of those who use the session.
type historyClient struct {
	h     *historyPlay
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

// taker is the client as package history knows it.
func (c *historyClient) taker() *history.Client {
	return &history.Client{App: c.app, Store: c.store, Tick: c.h.tick, Pause: c.pause, Faulty: c.h.lossy}
}

// step begins a step.
func (c *historyClient) step(kind, sid string) *history.Step {
	c.n++
	return c.taker().Begin(c.name, c.n, kind, sid)
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
	s.ID, s.Ended = sid, ends
	s.Read, s.Commit = s.Begin, s.Begin
	if err := f(c.context(), sid); err != nil {
		c.h.failf("%s: %v", kind, err)
	}
	s.End = c.h.tick()
	c.h.record(s)
}

// save reads a session and saves it, by hand. One that is not there is left so,
// but for those that the history begins with: to create is the middleware's.
func (c *historyClient) save(sid string, create bool) {
	if sid == "" {
		c.left--
		return
	}
	s := c.step(history.Save, sid)
	recorded, problem := c.taker().Save(c.context(), s, create, func(sess session.Session) {
		if create {
			c.set(s, sess, history.Root)
		} else {
			c.act(s, nil, nil, sess, 1+c.rng.IntN(2))
		}
	})
	if problem != "" {
		c.h.failf("%s", problem)
	}
	if recorded {
		c.h.record(s)
	} else {
		c.left--
	}
}

// visit makes a request.
func (c *historyClient) visit() {
	sid := c.pick()
	c.h.mu.Lock()
	inJar := sid == c.h.jar
	c.h.mu.Unlock()
	cookie := c.request(sid, func(s *history.Step, w http.ResponseWriter, r *http.Request, sess session.Session) {
		if sid == "" && c.rng.IntN(3) > 0 {
			c.set(s, sess, history.Root)
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
func (c *historyClient) request(sid string, f func(*history.Step, http.ResponseWriter, *http.Request, session.Session)) *http.Cookie {
	c.left--
	s := c.step(history.Request, sid)
	cookie, problem := c.taker().Visit(c.context(), s, func(w http.ResponseWriter, r *http.Request, sess session.Session, _ session.Flash) {
		if f != nil {
			f(s, w, r, sess)
			c.pause()
		}
	})
	if problem != "" {
		c.h.failf("%s", problem)
		return nil
	}
	c.h.record(s)
	return cookie
}

// act changes a session n times; without a writer it stays under its ID.
func (c *historyClient) act(s *history.Step, w http.ResponseWriter, r *http.Request, sess session.Session, n int) {
	for range n {
		c.left--
		c.pause()
		do := func(kind, key, val string) { c.check(s.Do(history.Deed{Kind: kind, Key: key, Val: val}, w, r, sess)) }
		key := history.Keys[c.rng.IntN(len(history.Keys))]
		switch n := c.rng.IntN(100); {
		case n < 4 && w != nil:
			do(history.Destroy, "", "")
		case n < 12 && w != nil:
			do(history.Renew, "", "")
		case n < 17:
			do(history.Flush, "", "")
			c.set(s, sess, history.Root)
		case n < 30:
			do(history.SetFlash, "", c.value(s, history.FlashKey))
		case n < 45 && key != history.Root:
			do(history.Delete, key, "")
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
func (c *historyClient) value(s *history.Step, key string) string {
	return fmt.Sprintf("%s%d.%d.%d", key, c.name, s.N, len(s.Did))
}

func (c *historyClient) set(s *history.Step, sess session.Session, key string) {
	c.check(s.Do(history.Deed{Kind: history.Set, Key: key, Val: c.value(s, key)}, nil, nil, sess))
}
