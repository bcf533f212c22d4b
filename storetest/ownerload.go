package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// ownerLoadRules are about the sessions of one owner that change at the same time.
var ownerLoadRules = []rule{
	{
		name:    "owner/most",
		text:    "With MaxOwned a login that makes one session too many ends the oldest. Other requests end none.",
		options: func(o *session.Options) { owners(o); o.MaxOwned = 3 },
		check: func(e *env) {
			b := e.beside()
			bob := e.device("bob")
			var devices []*visitor
			for i := range 6 {
				time.Sleep(2 * time.Millisecond) // sessions are told apart by the millisecond
				v := &visitor{env: []*env{e, b}[i%2]}
				if i%3 > 0 { // one that was here before the login
					v.do(func(s session.Session) { s.Set("key", 1) })
				}
				v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
					renew(s, w, r)
					s.Set("user", "alice")
				})
				devices = append(devices, v)
				e.wantOwned("alice", devices[max(0, len(devices)-3):]...)
			}
			for _, v := range devices[3:] {
				v.do(func(s session.Session) { s.Set("user", "alice"); s.Set("n", 1) })
				v.do(renew)
			}
			e.wantOwned("alice", devices[3:]...)
			e.wantOwned("bob", bob)
			for _, v := range devices[:3] {
				e.wantExist(v.cookie.Value, false)
			}
		},
	},
	{
		name:    "owner/most, logins at once",
		text:    "24 logins at once, through two stores on the same storage too, leave as many sessions as MaxOwned says.",
		options: func(o *session.Options) { owners(o); o.MaxOwned = 3 },
		check: func(e *env) {
			apps := []*flamego.Flame{e.app(), e.beside().app()}
			for round := range rounds(10, patience/2) {
				owner := fmt.Sprint("owner", round)
				wait := barrier(24)
				var ended sync.WaitGroup
				for i := range 24 {
					ended.Go(func() {
						here := sync.OnceFunc(wait)
						defer here()
						w := serve(context.Background(), apps[i%2], "", func(w http.ResponseWriter, r *http.Request, s session.Session, _ session.Flash) {
							renew(s, w, r)
							s.Set("user", owner)
							here()
						})
						if w.Code != http.StatusOK {
							e.Errorf("status %d", w.Code)
						}
					})
				}
				ended.Wait()
				if n := len(e.owned(owner)); n != 3 {
					e.Fatalf("round %d: %d sessions are left", round, n)
				}
			}
		},
	},
	{
		name:    "owner/end beside renewals",
		text:    "However EndOwned falls together with renewals and other requests of the sessions, also at another store, none of them is left.",
		not:     []Trait{TwoSteps},
		options: owners,
		check: func(e *env) {
			apps := []*flamego.Flame{e.app(), e.beside().app()}
			played := 0
			for round := range rounds(500, patience/2) {
				if !e.endBesideRenewals(apps, fmt.Sprint("owner", round)) {
					break
				}
				played++
			}
			e.Logf("%d rounds", played)
		},
	},
}

// endBesideRenewals ends the sessions of an owner while some of them get new IDs, one after
// the other. It reports whether none is left.
func (e *env) endBesideRenewals(apps []*flamego.Flame, owner string) bool {
	e.Helper()
	const devices, renewals = 3, 4
	sids := make([]string, devices)
	for i := range sids {
		sids[i] = e.device(owner).sid
	}
	wait := barrier(devices + 1)
	var ended sync.WaitGroup
	for i, sid := range sids {
		ended.Go(func() {
			wait()
			for range renewals {
				w := serve(context.Background(), apps[i%2], sid, func(w http.ResponseWriter, r *http.Request, s session.Session, _ session.Flash) {
					if s.Get("user") == owner {
						e.check(s.RegenerateID(w, r))
						s.Set("n", 1)
					}
				})
				if cookies := w.Result().Cookies(); len(cookies) > 0 {
					sid = cookies[0].Value
				}
			}
			sids[i] = sid
		})
	}
	ended.Go(func() {
		wait()
		time.Sleep(rand.N(time.Millisecond))
		if _, err := session.EndOwned(e.context(), e.store, owner, nil); err != nil {
			e.Errorf("EndOwned: %v", err)
		}
	})
	ended.Wait()
	left := len(e.owned(owner))
	for _, sid := range sids {
		if e.read(sid).Get("user") == owner {
			left++
		}
	}
	if left > 0 {
		e.Errorf("%s: a session is left", owner)
	}
	return left == 0
}

// foundFromBefore and changedByOthers are about a process that does not know of owners.

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
			if !isBetween(info.Issued, begin, time.Now()) {
				e.Errorf("after %s it is issued at %v", name, info.Issued)
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
