package storetest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flamego/session"
)

// ownerRules are about Options.OwnerKey, for stores that find the sessions of an owner.
var ownerRules = []rule{
	{
		name:    "owner/list",
		text:    "Owned lists the sessions of an owner, all of them and no others, at each store on the storage, with the handle of each, when it was issued and last used and when it expires, and what the app has set.",
		waits:   true,
		options: owners,
		check:   (*env).devices,
	},
	{
		name:    "owner/end",
		text:    "End ends the session with the handle, at whichever store, and no other: never one of another owner.",
		options: owners,
		check:   (*env).endsOne,
	},
	{
		name:    "owner/end others",
		text:    "EndOwned ends all sessions of an owner but the one to be kept, and returns how many. What the request of that one changes is saved. Other owners keep theirs.",
		options: owners,
		check:   (*env).endsOthers,
	},
	{
		name:    "owner/keep the renewed",
		text:    "EndOwned keeps the session of a request that has just renewed it, whether that is committed by then or not.",
		options: owners,
		check:   (*env).keepsRenewed,
	},
	{
		name:    "owner/end oneself",
		text:    "A request that ends its own session, by End or EndOwned, logs out: the record is gone, the cookie is expired, and nothing that it sets brings the session back.",
		options: owners,
		check: func(e *env) {
			for name, end := range map[string]func(s session.Session, store session.Store) (bool, error){
				"End": func(s session.Session, store session.Store) (bool, error) {
					return session.End(e.context(), store, "alice", session.Handle(s))
				},
				"EndOwned": func(_ session.Session, store session.Store) (bool, error) {
					n, err := session.EndOwned(e.context(), store, "alice", nil)
					return n == 1, err
				},
			} {
				v := e.device("alice")
				v.do(func(s session.Session, store session.Store) {
					if ended, err := end(s, store); !ended || err != nil {
						e.Errorf("%s returns %t, %v", name, ended, err)
					}
					s.Set("late", 1)
				})
				e.wantExist(v.sid, false)
				e.wantOwned("alice")
				if v.cookie.MaxAge >= 0 {
					e.Errorf("after %s the cookie is not expired", name)
				}
			}
		},
	},
	{
		name:    "owner/no trace",
		text:    "A session whose owner is changed, deleted or flushed is no more one of that owner, and one that is destroyed is nobody's. One that gets a new ID is found under that.",
		options: owners,
		check:   (*env).leavesNoTrace,
	},
	{
		name:    "owner/expired",
		text:    "A session that has expired is nobody's.",
		waits:   true,
		options: owners,
		check: func(e *env) {
			e.device("alice").do(func(s session.Session) { e.check(session.SetLifetime(s, short)) })
			other := e.device("alice")
			time.Sleep(shortDead)
			e.wantOwned("alice", other)
			e.gc()
			e.wantOwned("alice", other)
		},
	},
	{
		name:    "owner/text",
		text:    "Owners are compared as text, whatever their types, and two texts are never taken for one.",
		options: owners,
		check:   (*env).comparesText,
	},
	{
		name:    "owner/wrong values",
		text:    "A value that names no owner fails the save with an error that names its type, and what is stored stays. An empty one is of nobody.",
		options: owners,
		check:   (*env).refusesOwners,
	},
	{
		name:    "owner/from before",
		text:    "A session that a process without OwnerKey has stored is found once it is changed or extended, and keeps its data.",
		not:     []Trait{Private},
		options: func(o *session.Options) { owners(o); o.TouchInterval = -1 },
		check:   (*env).foundFromBefore,
	},
	{
		name:    "owner/changed by others",
		text:    "A session in which a process without OwnerKey has changed the owner is not found and not ended as one of the owner before, and is found as one of the next once it is extended.",
		not:     []Trait{Private},
		options: func(o *session.Options) { owners(o); o.TouchInterval = -1 },
		check:   (*env).changedByOthers,
	},
}

// owners is the option of the rules. The first value of the key "user" that logs in is the
// owner.
func owners(o *session.Options) { o.OwnerKey = "user" }

// device returns a visitor who has logged in.
func (e *env) device(owner interface{}) *visitor {
	e.Helper()
	return e.visitor().do(func(s session.Session) { s.Set("user", owner) })
}

func (e *env) owned(owner interface{}) []session.Info {
	e.Helper()
	infos, err := session.Owned(e.context(), e.store, owner)
	if err != nil {
		e.Fatalf("Owned: %v", err)
	}
	return infos
}

// wantOwned checks that the owner has the sessions of these visitors and no others.
func (e *env) wantOwned(owner interface{}, visitors ...*visitor) {
	e.Helper()
	var got, want []string
	for _, info := range e.owned(owner) {
		got = append(got, info.Handle)
	}
	for _, v := range visitors {
		want = append(want, v.handle())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.Errorf("the owner %.20q has the sessions %v, want %v", owner, got, want)
	}
}

// handle is that of the session that the browser has.
func (v *visitor) handle() string {
	return session.Handle(session.NewBaseSession(v.cookie.Value, nil, nil))
}

func (e *env) devices() {
	b := e.beside()
	const own = 3 * long
	type device struct {
		*visitor
		lifetime     time.Duration
		issued, seen [2]time.Time // between which times that was
		agent        string
	}
	visit := func(v *visitor, f func(s session.Session)) (at [2]time.Time) {
		at[0] = time.Now()
		v.do(f)
		at[1] = time.Now()
		return at
	}
	devices := make(map[string]device)
	for _, agent := range []string{"phone", "laptop", "tv"} {
		d := device{visitor: e.visitor(), lifetime: long, agent: agent}
		d.issued = visit(d.visitor, func(s session.Session) {
			s.Set("user", "alice")
			s.Set("agent", agent)
			s.SetFlash("not for lists")
		})
		d.seen = d.issued
		devices[agent] = d
	}
	e.device("bob")
	e.device("alice2")
	e.visitor().do(func(s session.Session) { s.Set("agent", "alice") })
	time.Sleep(1500 * time.Millisecond) // so that the times differ, in a store of whole seconds too

	laptop, tv := devices["laptop"], devices["tv"]
	laptop.env = b
	laptop.seen = visit(laptop.visitor, func(s session.Session) { session.Update(s, "n", func(n int) int { return n + 1 }) })
	laptop.seen[1] = time.Now()
	tv.lifetime = own
	tv.seen = visit(tv.visitor, func(s session.Session) { e.check(session.SetLifetime(s, own)) })
	tv.issued[0] = time.Now()
	tv.do(renew)
	tv.issued[1] = time.Now()
	tv.seen = tv.issued
	devices["laptop"], devices["tv"] = laptop, tv

	for _, by := range []*env{e, b} {
		asked := time.Now()
		infos := by.owned("alice")
		took := time.Since(asked)
		if len(infos) != 3 {
			e.Fatalf("%d sessions are listed, want 3", len(infos))
		}
		for i, info := range infos {
			agent, _ := info.Data["agent"].(string)
			d, ok := devices[agent]
			switch {
			case !ok:
				e.Fatalf("a session of %q is listed", agent)
			case info.Handle != d.handle():
				e.Errorf("%s: the handle is %q, want %q", agent, info.Handle, d.handle())
			case i > 0 && info.Seen.After(infos[i-1].Seen):
				e.Errorf("%s: it was used after the one before it in the list", agent)
			case !isBetween(info.Issued, d.issued[0], d.issued[1]):
				e.Errorf("%s: it was issued at %v, want from %v to %v", agent, info.Issued, d.issued[0], d.issued[1])
			}
			// The time that is left may be in whole seconds, and is counted from the end of the list.
			begin, end := d.seen[0].Add(-rounding), d.seen[1].Add(rounding+took)
			if !isBetween(info.Seen, begin, end) {
				e.Errorf("%s: it was seen at %v, want from %v to %v", agent, info.Seen, begin, end)
			}
			if !isBetween(info.Expires, begin.Add(d.lifetime), end.Add(d.lifetime)) {
				e.Errorf("%s: it expires at %v, want from %v to %v", agent, info.Expires, begin.Add(d.lifetime), end.Add(d.lifetime))
			}
			for key, val := range info.Data {
				if text, ok := key.(string); !ok || strings.HasPrefix(text, "flamego::session::") {
					e.Errorf("%s: the list has the value %v of the key %v", agent, val, key)
				}
			}
		}
	}
}

func (e *env) endsOne() {
	b := e.beside()
	a1, a2, a3 := e.device("alice"), e.device("alice"), e.device("alice")
	b1 := e.device("bob")
	end := func(by *env, owner, handle string, want bool) {
		e.Helper()
		ended, err := session.End(e.context(), by.store, owner, handle)
		if ended != want || err != nil {
			e.Errorf("End returns %t, %v, want %t", ended, err, want)
		}
	}
	end(e, "alice", b1.handle(), false)
	end(e, "bob", a1.handle(), false)
	end(e, "carol", a1.handle(), false)
	end(e, "alice", "", false)
	end(e, "alice", a1.sid, false)
	e.wantOwned("alice", a1, a2, a3)
	e.wantOwned("bob", b1)

	end(b, "alice", a1.handle(), true)
	end(b, "alice", a1.handle(), false)
	e.wantExist(a1.sid, false)
	e.wantOwned("alice", a2, a3)
	b.wantOwned("alice", a2, a3)

	a2.do(func(s session.Session, store session.Store) {
		ended, err := session.End(e.context(), store, "alice", a3.handle())
		if !ended || err != nil {
			e.Errorf("End returns %t, %v in a request", ended, err)
		}
		s.Set("key", 1)
	})
	e.want(a2.sid, "user", "alice", "key", 1)
	e.wantOwned("alice", a2)
	e.wantOwned("bob", b1)
	e.want(b1.sid, "user", "bob")
}

func (e *env) endsOthers() {
	for _, by := range []*env{e, e.beside()} {
		others := []*visitor{e.device("alice"), e.device("alice"), e.device("alice")}
		bob := e.device("bob")
		kept := e.device("alice")
		kept.env = by
		kept.do(func(s session.Session, store session.Store) {
			s.Set("before", 1)
			n, err := session.EndOwned(e.context(), store, "alice", s)
			if n != len(others) || err != nil {
				e.Errorf("EndOwned returns %d, %v", n, err)
			}
			s.Set("after", 2)
		})
		e.wantNoCookie(kept)
		e.want(kept.sid, "user", "alice", "before", 1, "after", 2)
		e.wantOwned("alice", kept)
		for _, v := range others {
			e.wantExist(v.sid, false)
		}
		n, err := session.EndOwned(e.context(), by.store, "alice", nil)
		if n != 1 || err != nil {
			e.Errorf("EndOwned of all returns %d, %v", n, err)
		}
		e.wantExist(kept.sid, false)
		e.wantOwned("alice")
		e.wantOwned("bob", bob)
		e.destroy(bob.sid)
	}
}

func (e *env) keepsRenewed() {
	endOthers := func(s session.Session, store session.Store) {
		if n, err := session.EndOwned(e.context(), store, "alice", s); n != 1 || err != nil {
			e.Errorf("EndOwned returns %d, %v", n, err)
		}
	}
	for name, f := range map[string]func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request){
		"before the commit": func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
			renew(s, w, r)
			endOthers(s, store)
		},
		"after the commit": func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
			renew(s, w, r)
			w.WriteHeader(http.StatusOK)
			endOthers(s, store)
		},
		"after a save by hand": func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
			renew(s, w, r)
			e.check(store.Save(e.context(), s))
			endOthers(s, store)
		},
		"before it is renewed": func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
			endOthers(s, store)
			renew(s, w, r)
		},
	} {
		v, other := e.device("alice"), e.device("alice")
		old := v.sid
		v.do(f)
		e.wantExist(other.sid, false)
		e.wantExist(old, false)
		if v.cookie.Value == old || e.read(v.cookie.Value).Get("user") != "alice" {
			e.Errorf("%s: the session that was to be kept is gone", name)
		}
		e.wantOwned("alice", v)
		e.destroy(v.cookie.Value)
	}
	// The login itself: a session that was nobody's, or that is not stored yet.
	login := func(s session.Session, store session.Store, w http.ResponseWriter, r *http.Request) {
		renew(s, w, r)
		s.Set("user", "alice")
		endOthers(s, store)
	}
	for _, v := range []*visitor{e.visitor(), e.visitor().do(func(s session.Session) { s.Set("key", 1) })} {
		other := e.device("alice")
		v.do(login)
		e.wantExist(other.sid, false)
		e.wantOwned("alice", v)
		e.destroy(v.cookie.Value)
	}
}
