package storetest

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// lifeRules are about the options that say how long sessions live. In a session that belongs
// to somebody the key "user" is 123, as loggedIn makes it.
var lifeRules = []rule{
	{
		name:    "life/max",
		text:    "With MaxLifetime a session that is read and written all the time, through two stores too, is dead that long after it was first stored. RegenerateID begins anew.",
		waits:   true,
		options: func(o *session.Options) { o.MaxLifetime, o.TouchInterval = maxLife, -1 },
		check: func(e *env) {
			var ended sync.WaitGroup
			defer ended.Wait()
			ended.Go(e.renewalBeginsAnew)
			e.usedUntilDead()
		},
	},
	{
		name:    "life/issued",
		text:    "IssuedAt is when the session was first stored or last got a new ID, and nothing else moves it. Before that it is the zero time.",
		options: func(o *session.Options) { o.MaxLifetime = long },
		check:   (*env).issued,
	},
	{
		name: "life/issued, without options",
		text: "Without MaxLifetime and OwnerKey IssuedAt is the zero time.",
		check: func(e *env) {
			e.loggedIn().do(renew).do(func(s session.Session) {
				if at := session.IssuedAt(s); !at.IsZero() {
					e.Errorf("it is %v", at)
				}
			})
		},
	},
	{
		name:    "life/max, extended by others",
		text:    "A process without MaxLifetime may extend a session. The next process with it ends the session for all: by Exist, Read, Touch, or a request.",
		not:     []Trait{Private},
		waits:   true,
		options: func(o *session.Options) { o.MaxLifetime = 2 * time.Second },
		check:   (*env).extendedByOthers,
	},
	{
		name:    "life/max, from before",
		text:    "A session that a process without MaxLifetime has stored counts from its next change or extension, whether MaxLifetime is longer than the Lifetime or shorter, and keeps its data.",
		not:     []Trait{Private},
		waits:   true,
		options: func(o *session.Options) { o.MaxLifetime, o.TouchInterval = maxLife, -1 },
		check: func(e *env) {
			var ended sync.WaitGroup
			defer ended.Wait()
			ended.Go(e.fromBeforeShort)
			e.fromBefore()
		},
	},
	{
		name:    "life/first",
		text:    "What is stored for a visitor who sent no ID lives for FirstLifetime, also under a new ID, and once the visitor has come back, for the Lifetime. SetLifetime comes first.",
		waits:   true,
		options: func(o *session.Options) { o.FirstLifetime = firstLife },
		check: func(e *env) {
			for range 10 {
				if e.firstVisits() {
					return
				}
			}
			e.Fatal("it takes too long to tell")
		},
	},
	{
		name:     "life/access",
		text:     "A request of which TouchFor says that it is no access does not extend the session, unless it changes it. Others do.",
		waits:    true,
		lifetime: 2 * time.Second,
		options: func(o *session.Options) {
			o.TouchFor = func(r *http.Request) bool { return r.Context().Value(pollKey{}) == nil }
		},
		check: func(e *env) {
			for range 10 {
				if e.polls() {
					return
				}
			}
			e.Fatal("it takes too long to tell")
		},
	},
}

const (
	maxLife   = 3 * time.Second
	firstLife = 2 * time.Second
	// rounding is by how much what expires may live longer, in a store of whole seconds.
	rounding = shortDead - short
)

// usedUntilDead reads and writes a session, by turns through two stores, until it is dead.
func (e *env) usedUntilDead() {
	const late = 1500 * time.Millisecond
	apps := []*flamego.Flame{e.app(), e.beside().app()}
	begun := time.Now()
	v := e.loggedIn()
	stored := time.Now()
	for i := 0; ; i++ {
		asked, alive := time.Now(), false
		serve(context.Background(), apps[i%2], v.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
			if alive = s.Get("user") == 123; alive && i%3 > 0 {
				s.Set("n", i)
			}
		})
		if !alive {
			if lived := time.Since(begun); lived < maxLife-time.Millisecond {
				e.Errorf("it is dead after %v", lived)
			}
			break
		}
		if lived := asked.Sub(stored); lived > maxLife+late {
			e.Errorf("it lives after %v", lived)
			break
		}
		time.Sleep(time.Millisecond)
	}
	e.wantExist(v.sid, false)
	e.want(v.sid, "user", nil)
}

// renewalBeginsAnew gives a session a new ID when half of its life is over.
func (e *env) renewalBeginsAnew() {
	v := e.loggedIn()
	stored := time.Now()
	time.Sleep(maxLife / 2)
	begun := time.Now()
	v.do(renew)
	renewed := time.Now()
	time.Sleep(time.Until(stored.Add(maxLife + 100*time.Millisecond)))
	if alive := e.store.Exist(e.context(), v.sid); !alive && time.Since(begun) < maxLife {
		e.Error("a session that got a new ID is dead too soon")
	}
	time.Sleep(time.Until(renewed.Add(maxLife)))
	e.wantExist(v.sid, false)
}

// isBetween reports whether a time that is noted in milliseconds is one between two others.
func isBetween(at, begin, end time.Time) bool {
	return !at.Before(begin.Truncate(time.Millisecond)) && !at.After(end)
}

func (e *env) issued() {
	b := e.beside()
	v := e.visitor()
	begin := time.Now()
	v.do(func(s session.Session) {
		if at := session.IssuedAt(s); !at.IsZero() {
			e.Errorf("before it is stored it is issued at %v", at)
		}
		s.Set("user", 123)
	})
	end := time.Now()
	var first time.Time
	v.do(func(s session.Session) { first = session.IssuedAt(s) })
	if !isBetween(first, begin, end) {
		e.Errorf("it was stored from %v to %v, and issued at %v", begin, end, first)
	}

	time.Sleep(5 * time.Millisecond)
	for i, f := range []func(session.Session){
		func(session.Session) {},
		func(s session.Session) { s.Set("key", 1) },
		func(s session.Session) { s.Flush(); s.Set("user", 123) },
		func(s session.Session) { e.check(session.SetLifetime(s, 2*long)) },
		func(s session.Session) { session.Update(s, "key", func(n int) int { return n + 1 }) },
	} {
		v.env = []*env{e, b}[i%2]
		v.do(f, func(s session.Session) {
			if at := session.IssuedAt(s); !at.Equal(first) {
				e.Errorf("change %d has moved it from %v to %v", i, first, at)
			}
		})
	}
	e.touch(v.sid)
	if at := session.IssuedAt(b.read(v.sid)); !at.Equal(first) {
		e.Errorf("a touch has moved it from %v to %v", first, at)
	}

	for range 2 {
		time.Sleep(5 * time.Millisecond)
		begin = time.Now()
		v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
			renew(s, w, r)
			if at := session.IssuedAt(s); !isBetween(at, begin, time.Now()) {
				e.Errorf("it got a new ID after %v, and was issued at %v", begin, at)
			}
		})
		if at := session.IssuedAt(b.read(v.sid)); !isBetween(at, begin, time.Now()) {
			e.Errorf("it was stored under a new ID after %v, and issued at %v", begin, at)
		}
	}
}

func (e *env) extendedByOthers() {
	old := e.with(func(o *session.Options) { o.MaxLifetime = 0 })
	endings := map[string]func(sid string){
		"exist": func(sid string) { e.wantExist(sid, false) },
		"read":  func(sid string) { e.want(sid, "user", nil) },
		"request": func(sid string) {
			v := &visitor{env: e, cookie: &http.Cookie{Name: "flamego_session", Value: sid}}
			v.do(func(s session.Session) {
				if s.Get("user") != nil || s.ID() == sid {
					e.Error("a request has a session that is over")
				}
			})
		},
		"touch": e.touch,
	}
	var sids []string
	ends := make(map[string]func(string))
	for _, end := range endings {
		v := e.loggedIn()
		v.env = old
		v.do(func(s session.Session) { s.Set("old", 1) })
		old.touch(v.sid)
		sids = append(sids, v.sid)
		ends[v.sid] = end
	}
	time.Sleep(2 * time.Second)
	for sid, end := range ends {
		old.want(sid, "user", 123, "old", 1)
		end(sid)
	}
	time.Sleep(shortDead)
	for _, sid := range sids {
		old.wantExist(sid, false)
	}
}

// fromBefore has sessions stored by a process without MaxLifetime, and used by one with it.
func (e *env) fromBefore() {
	old := e.with(func(o *session.Options) { o.MaxLifetime = 0 })
	used := make(map[string]*visitor)
	for name, use := range map[string]func(v *visitor){
		"read":    func(v *visitor) { v.do(func(session.Session) {}) },
		"changed": func(v *visitor) { v.do(func(s session.Session) { s.Set("more", 1) }) },
		"saved":   func(v *visitor) { e.set(v.sid, "more", 1) },
		"touched": func(v *visitor) { e.touch(v.sid) },
	} {
		v := old.loggedIn()
		v.env = e
		use(v)
		if at := session.IssuedAt(e.read(v.sid)); !at.IsZero() {
			e.Errorf("when it was %s the session is issued at %v, which nobody knows", name, at)
		}
		old.want(v.sid, "user", 123)
		used[name] = v
	}
	time.Sleep(maxLife)
	e.wantDead(used)
}

// fromBeforeShort is fromBefore with a Lifetime that is shorter than MaxLifetime.
func (e *env) fromBeforeShort() {
	e = newEnv(e, func(t testing.TB, lifetime time.Duration) session.Options {
		opts := e.open(t, lifetime)
		opts.MaxLifetime, opts.TouchInterval = maxLife, -1
		return opts
	}, 2*time.Second)
	v := e.with(func(o *session.Options) { o.MaxLifetime = 0 }).loggedIn()
	v.env = e
	v.do(func(session.Session) {})
	for first := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		asked, alive := time.Now(), false
		v.copy().do(func(s session.Session) { alive = s.Get("user") != nil })
		if !alive {
			return
		}
		if asked.After(first.Add(maxLife)) {
			e.Error("a session that is read all the time lives for longer")
			return
		}
	}
}

// firstVisits reports false if it took too long to tell.
func (e *env) firstVisits() bool {
	b := e.beside()
	begun := time.Now()
	gone := []*visitor{e.loggedIn(), e.visitor().do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
		s.Set("user", 123)
		renew(s, w, r)
	})}
	alive := make(map[string]*visitor)
	for name, f := range map[string]flamego.Handler{
		"reads":          func(session.Session) {},
		"changes":        func(s session.Session) { s.Set("more", 1) },
		"is renewed":     renew,
		"has a lifetime": func(s session.Session) { e.check(session.SetLifetime(s, long/2)) },
	} {
		v := e.loggedIn()
		v.env = b
		alive["one that comes back and "+name] = v.do(f)
	}
	alive["one with a lifetime of its own"] = e.visitor().do(func(s session.Session) {
		s.Set("user", 123)
		e.check(session.SetLifetime(s, long/2))
	})
	alive["one that came with an ID"] = e.visitor().do(func(session.Session) {}).do(func(s session.Session) { s.Set("user", 123) })
	if time.Since(begun) >= firstLife {
		return false
	}
	time.Sleep(firstLife + rounding)
	for _, v := range gone {
		e.wantExist(v.sid, false)
	}
	for name, v := range alive {
		if e.read(v.sid).Get("user") != 123 {
			e.Errorf("the session of %s is dead", name)
		}
	}
	return true
}

type pollKey struct{} // in the context of a request that is no access

// polls reports false if it took too long to tell.
func (e *env) polls() bool {
	app := e.app()
	begun := time.Now()
	polled, changed, read := e.loggedIn(), e.loggedIn(), e.loggedIn()
	stored := time.Now()
	poll := context.WithValue(context.Background(), pollKey{}, true)
	last := begun
	for n := 0; time.Since(stored) < 2*time.Second+rounding; n++ {
		now := time.Now()
		serve(poll, app, polled.sid, nil)
		serve(poll, app, changed.sid, func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
			if s.Get("user") != nil {
				s.Set("n", n)
			}
		})
		serve(context.Background(), app, read.sid, nil)
		if time.Since(last) >= 2*time.Second {
			return false
		}
		last = now
		time.Sleep(300 * time.Millisecond)
	}
	e.wantExist(polled.sid, false)
	changedLives, readLives := e.store.Exist(e.context(), changed.sid), e.store.Exist(e.context(), read.sid)
	if time.Since(last) >= 2*time.Second {
		return false
	}
	if !changedLives || !readLives {
		e.Errorf("alive: the session that is changed %t, the one that is read %t", changedLives, readLives)
	}
	return true
}
