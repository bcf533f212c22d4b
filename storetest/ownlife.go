package storetest

import (
	"net/http"
	"time"

	"github.com/flamego/session"
)

// ownLifeRules are about sessions of different lifetimes in one store.
var ownLifeRules = []rule{
	{
		name:     "life/own, longer",
		text:     "A session that SetLifetime gave a longer lifetime than the store's outlives the others, and is dead in its own time, whatever happens to it: writes, touches, a new ID, a flush, GC, through another store too. Without it again, the session has that of the store.",
		waits:    true,
		ours:     true,
		lifetime: short,
		options:  func(o *session.Options) { o.TouchInterval = -1 },
		check:    (*env).ownLonger,
	},
	{
		name:    "life/own, shorter",
		text:    "A session that SetLifetime gave a shorter lifetime than the store's is dead before the others, whatever happens to it.",
		waits:   true,
		ours:    true,
		options: func(o *session.Options) { o.TouchInterval = -1 },
		check: func(e *env) {
			const own = 2 * time.Second
			plain := e.loggedIn()
			used := e.used(own, true)
			time.Sleep(own + rounding)
			e.wantExist(plain.sid, true)
			e.wantDead(used)
		},
	},
	{
		name:    "life/own, beside max",
		text:    "MaxLifetime ends a session whatever lifetime it has been given.",
		waits:   true,
		options: func(o *session.Options) { o.MaxLifetime, o.TouchInterval = maxLife, -1 },
		check: func(e *env) {
			used := e.used(2*long, false)
			time.Sleep(maxLife)
			e.wantDead(used)
		},
	},
	{
		name:    "life/own, cookie",
		text:    "The Max-Age of the cookie is the lifetime that SetLifetime has set, at once, and stays so under a new ID. Without it, it is that of the options.",
		ours:    true,
		options: func(o *session.Options) { o.TouchInterval = -1 },
		check: func(e *env) {
			for _, age := range []int{0, 100} {
				e.with(func(o *session.Options) { o.Cookie.MaxAge = age }).maxAges(age)
			}
		},
	},
	{
		name:    "life/reserved keys",
		text:    "Handlers neither see the keys that this module keeps in a session nor can change them, but for the one of the flash.",
		options: func(o *session.Options) { o.MaxLifetime = long },
		check:   (*env).reservedKeys,
	},
}

// used returns sessions with a lifetime of their own, to each of which something has
// happened.
func (e *env) used(own time.Duration, touch bool) map[string]*visitor {
	b := e.beside()
	uses := map[string]func(v *visitor){
		"not used": func(*visitor) {},
		"read":     func(v *visitor) { v.do(func(session.Session) {}) },
		"changed":  func(v *visitor) { v.do(ifLive(func(s session.Session) { s.Set("more", 1) })) },
		"renewed":  func(v *visitor) { v.do(renew) },
		"flushed":  func(v *visitor) { v.do(ifLive(func(s session.Session) { s.Flush(); s.Set("user", 123) })) },
		"saved":    func(v *visitor) { b.save(b.read(v.sid)) },
		"computed": func(v *visitor) {
			v.do(ifLive(func(s session.Session) { session.Update(s, "n", func(n int) int { return n + 1 }) }))
		},
	}
	used := make(map[string]*visitor)
	for name, use := range uses {
		v := e.visitor().do(func(s session.Session) {
			s.Set("user", 123)
			e.check(session.SetLifetime(s, own))
		})
		v.env = b
		use(v)
		used[name] = v
	}
	if touch {
		b.touch(used["not used"].sid)
	}
	return used
}

// ifLive calls f if the session is there.
func ifLive(f func(s session.Session)) func(session.Session) {
	return func(s session.Session) {
		if s.Get("user") != nil {
			f(s)
		}
	}
}

func (e *env) wantDead(visitors map[string]*visitor) {
	e.Helper()
	for name, v := range visitors {
		if e.store.Exist(e.context(), v.sid) {
			e.Errorf("the session that was %s is alive", name)
		}
	}
}

func (e *env) ownLonger() {
	const own = 4 * time.Second
	var used map[string]*visitor
	var last time.Time
	e.inTime(own, func(string) bool {
		plain := e.loggedIn()
		reset := e.visitor().do(func(s session.Session) {
			s.Set("user", 123)
			e.check(session.SetLifetime(s, long))
		})
		reset.do(func(s session.Session) { e.check(session.SetLifetime(s, 0)) })
		used = e.used(own, false)
		e.beside().touch(used["not used"].sid) // by a process that does not know of its lifetime
		last = time.Now()
		time.Sleep(shortDead)
		e.wantDead(map[string]*visitor{"without one of its own": plain, "given that of the store again": reset})
		e.gc()
		alive := true
		for name, v := range used {
			if e.read(v.sid).Get("user") != 123 {
				alive = false
				e.Logf("the session that was %s is dead", name)
			}
		}
		return alive
	})
	time.Sleep(time.Until(last.Add(own + rounding)))
	e.wantDead(used)
	e.gc()
	e.wantDead(used)
}

// maxAges checks the Max-Age of the cookies of a visitor; that of the options is given.
func (e *env) maxAges(plain int) {
	const own = 30 * 24 * time.Hour
	age := int(own / time.Second)
	b := e.beside()
	remember := func(s session.Session) { e.check(session.SetLifetime(s, own)) }
	forget := func(s session.Session) { e.check(session.SetLifetime(s, 0)) }
	set := func(s session.Session) { s.Set("user", 123) }

	v := e.visitor()
	v.do(set).wantMaxAge("the first", plain, true)
	v.do(remember).wantMaxAge("SetLifetime", age, true)
	v.env = b
	v.do(set).wantMaxAge("a change", age, false)
	v.do(func(session.Session) {}).wantMaxAge("an access", age, false)
	v.do(renew).wantMaxAge("a new ID", age, true)
	v.do(func(s session.Session) { s.Flush(); s.Set("user", 1) }).wantMaxAge("a flush", age, false)
	v.env = e
	v.do(renew).wantMaxAge("a new ID after the flush", age, true)
	v.do(func(s session.Session) { e.check(session.SetLifetime(s, long+long/7200)) }).wantMaxAge("another lifetime", 3600, true)
	v.do(forget).wantMaxAge("the lifetime of the store", plain, true)
	v.do(set).wantMaxAge("a change after that", plain, false)
	v.do(renew).wantMaxAge("a new ID after that", plain, true)
	e.loggedIn().wantMaxAge("another visitor", plain, true)
	e.loggedIn().do(remember, renew).wantMaxAge("a login", age, true)
	e.loggedIn().do(renew, remember).wantMaxAge("a login the other way round", age, true)
	e.visitor().do(set, remember).wantMaxAge("a first login", age, true)
	e.visitor().do(set, remember, forget).wantMaxAge("a first login that is not to be remembered", plain, true)
}

// wantMaxAge checks the cookie of the last response, of which there must be one if it is sent.
func (v *visitor) wantMaxAge(what string, want int, sent bool) {
	v.env.Helper()
	if n := len(v.setCookies); n > 1 || sent && n == 0 {
		v.env.Errorf("%s sends %d cookies", what, n)
		return
	}
	for _, c := range v.setCookies {
		if c.MaxAge != want {
			v.env.Errorf("%s sends the Max-Age %d, want %d", what, c.MaxAge, want)
		}
	}
}

func (e *env) reservedKeys() {
	const prefix = "flamego::session::"
	v := e.loggedIn()
	v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
		e.check(session.SetLifetime(s, 2*long))
		session.Update(s, "n", func(n int) int { return n + 1 })
		renew(s, w, r)
	})
	keys := []string{"born", "lifetime", "commit", "renewed", "mine", ""}
	hidden := func(s session.Session) {
		for _, key := range keys {
			if val := s.Get(prefix + key); val != nil {
				e.Errorf("the key %q is seen", key)
			}
		}
	}
	before := session.IssuedAt(e.read(v.sid))
	for _, change := range []func(s session.Session, key string){
		func(s session.Session, key string) { s.Set(key, "0") },
		func(s session.Session, key string) { s.Delete(key) },
		func(s session.Session, key string) { session.Update(s, key, func(int) int { return 0 }) },
	} {
		v.do(func(s session.Session) {
			hidden(s)
			for _, key := range keys {
				change(s, prefix+key)
			}
			if s.HasChanged() {
				e.Error("a key of this module can be changed")
			}
			hidden(s)
			s.Set("user", 123)
		})
		hidden(e.read(v.sid))
	}
	e.want(v.sid, "user", 123, "n", 1)
	if at := session.IssuedAt(e.read(v.sid)); !at.Equal(before) {
		e.Errorf("the session was issued at %v, and now at %v", before, at)
	}
	v.do(func(s session.Session) { s.Set(prefix+"flash", "hello") })
	v.do(func(flash session.Flash) {
		if flash != "hello" {
			e.Errorf("the flash is %v", flash)
		}
	})
}
