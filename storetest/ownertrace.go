package storetest

import (
	"net/http"
	"time"

	"github.com/flamego/session"
)

// Sessions whose owner changes: in this process, and in one that does not know of owners.

func (e *env) leavesNoTrace() {
	b := e.beside()
	bob := e.device("bob")
	stays := e.device("alice")
	set := func(f func(s session.Session)) func(v *visitor) { return func(v *visitor) { v.do(f) } }
	for name, change := range map[string]func(v *visitor){
		"deleted": set(func(s session.Session) { s.Delete("user") }),
		"flushed": set(func(s session.Session) { s.Flush(); s.Set("key", 1) }),
		"empty":   set(func(s session.Session) { s.Set("user", "") }),
		"destroyed": func(v *visitor) {
			v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) { e.check(session.Destroy(w, r, s)) })
		},
		"ended by the store": func(v *visitor) { v.env.destroy(v.sid) },
		"saved by hand":      func(v *visitor) { v.env.set(v.sid, "user", nil) },
		"deleted, renewed": func(v *visitor) {
			v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) { s.Delete("user"); renew(s, w, r) })
		},
	} {
		v := e.device("alice")
		e.wantOwned("alice", stays, v)
		v.env = b
		change(v)
		for _, by := range []*env{e, b} {
			by.wantOwned("alice", stays)
			by.wantOwned("bob", bob)
		}
		if n := len(e.owned("bob")); n != 1 {
			e.Errorf("after a session was %s bob has %d", name, n)
		}
	}

	// To another owner and back, under the old ID and under new ones.
	v := e.device("alice")
	for _, owner := range []string{"bob", "alice"} {
		for _, renews := range []bool{false, true} {
			v.env = b
			v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
				s.Set("user", owner)
				if renews {
					renew(s, w, r)
				}
			})
			if owner == "bob" {
				e.wantOwned("bob", bob, v)
				e.wantOwned("alice", stays)
			} else {
				e.wantOwned("bob", bob)
				e.wantOwned("alice", stays, v)
			}
		}
	}
	old := v.sid
	v.do(renew)
	e.wantOwned("alice", stays, v)
	if v.cookie.Value == old {
		e.Error("there is no new ID")
	}
}

func (e *env) foundFromBefore() {
	old := e.with(func(o *session.Options) { o.OwnerKey = nil })
	for name, use := range map[string]func(v *visitor){
		"a request that reads":   func(v *visitor) { v.do(func(session.Session) {}) },
		"a request that changes": func(v *visitor) { v.do(func(s session.Session) { s.Set("more", 1) }) },
		"a new ID":               func(v *visitor) { v.do(renew) },
		"a save":                 func(v *visitor) { e.set(v.sid, "more", 1) },
		"a save of no change":    func(v *visitor) { e.save(e.read(v.sid)) },
		"a touch":                func(v *visitor) { e.touch(v.sid) },
	} {
		begin := time.Now()
		v := old.device("alice").do(func(s session.Session) { s.Set("key", 1) })
		v.env = e
		use(v)
		e.wantOwned("alice", v)
		for _, info := range e.owned("alice") {
			if name == "a new ID" && !isBetween(info.Issued, begin, time.Now()) || name != "a new ID" && !info.Issued.IsZero() {
				e.Errorf("after %s it is issued at %v", name, info.Issued)
			}
			if !isBetween(info.Seen, begin.Add(-time.Second), time.Now().Add(time.Second)) {
				e.Errorf("after %s it was seen at %v", name, info.Seen)
			}
		}
		e.want(v.cookie.Value, "user", "alice", "key", 1)
		if n, err := session.EndOwned(e.context(), e.store, "alice", nil); n != 1 || err != nil {
			e.Errorf("after %s EndOwned returns %d, %v", name, n, err)
		}
		old.wantExist(v.cookie.Value, false)
	}
}

func (e *env) changedByOthers() {
	old := e.with(func(o *session.Options) { o.OwnerKey = nil })
	for name, change := range map[string]func(s session.Session, w http.ResponseWriter, r *http.Request){
		"changed":             func(s session.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("user", "bob") },
		"changed and renewed": func(s session.Session, w http.ResponseWriter, r *http.Request) { s.Set("user", "bob"); renew(s, w, r) },
		"flushed":             func(s session.Session, _ http.ResponseWriter, _ *http.Request) { s.Flush(); s.Set("user", "bob") },
	} {
		v := e.device("alice")
		handle := v.handle()
		v.env = old
		v.do(change)
		e.wantOwned("alice")
		if ended, err := session.End(e.context(), e.store, "alice", handle); ended || err != nil {
			e.Errorf("%s: End returns %t, %v", name, ended, err)
		}
		if n, err := session.EndOwned(e.context(), e.store, "alice", nil); n != 0 || err != nil {
			e.Errorf("%s: EndOwned returns %d, %v", name, n, err)
		}
		e.want(v.cookie.Value, "user", "bob")
		v.env = e
		v.do(func(session.Session) {})
		e.wantOwned("alice")
		e.wantOwned("bob", v)

		v.env = old
		v.do(func(s session.Session) { s.Delete("user"); s.Set("key", 1) })
		e.wantOwned("bob")
		if n, err := session.EndOwned(e.context(), e.store, "bob", nil); n != 0 || err != nil {
			e.Errorf("%s: EndOwned of a session without an owner returns %d, %v", name, n, err)
		}
		e.want(v.cookie.Value, "key", 1)
	}
}
