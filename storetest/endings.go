package storetest

import (
	"net/http"
	"sync"
	"time"

	"github.com/flamego/session"
)

var endingRules = []rule{
	{
		name: "destroy/logout",
		text: "session.Destroy ends the session with its request: the record is gone, the cookie is expired, and the next request has a new ID.",
		check: func(e *env) {
			v := e.loggedIn()
			old := v.sid
			v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
				s.Set("before", 1)
				e.check(session.Destroy(w, r, s))
				s.Set("after", 2)
				if got := s.Get("user"); got != nil {
					e.Errorf("after Destroy the session still has %v", got)
				}
			})
			e.wantExist(old, false)
			if v.cookie == nil || v.cookie.MaxAge >= 0 {
				e.Error("the cookie is not expired")
			}
			v.cookie = nil
			v.do(func(s session.Session) {})
			if v.sid == old {
				e.Error("the ID of a destroyed session is in use again")
			}
		},
	},
	{
		name: "destroy/beside another request",
		text: "A request that was under way when its session was destroyed changes nothing any more, also if it renews the session; it leaves the cookie alone, and its status is its own.",
		check: func(e *env) {
			v := e.loggedIn()
			late := v.copy()
			late.do(func(s session.Session) {
				v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) { e.check(session.Destroy(w, r, s)) })
				s.Set("late", 1)
				s.SetFlash("late")
			})
			e.wantExist(late.sid, false)
			e.wantNoCookie(late)

			// An administrator ends a session while its owner logs in again.
			renewing, sid := e.loggedIn(), ""
			old := renewing.sid
			renewing.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
				user := s.Get("user")
				e.check(e.store.Destroy(e.context(), old))
				e.check(s.RegenerateID(w, r))
				s.Set("user", user)
				sid = s.ID()
			})
			e.wantExist(old, false)
			e.wantExist(sid, false)
			e.wantNoCookie(renewing)
		},
	},
	{
		name: "destroy/by another instance",
		text: "A session that was destroyed through one store is not brought back by a request that another store serves.",
		not:  []Trait{Private},
		check: func(e *env) {
			v := e.loggedIn()
			late := v.copy()
			v.env = e.another()
			for range 20 {
				late.do(func(s session.Session) {
					v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) { e.check(session.Destroy(w, r, s)) })
					s.Set("late", 1)
				})
				e.wantExist(late.sid, false)
				late = e.loggedIn()
				v.cookie = late.cookie
			}
		},
	},
	{
		name: "destroy/fresh session",
		text: "A session that is destroyed by the request that began it is never stored, through session.Destroy or the store.",
		check: func(e *env) {
			byHand := func(s session.Session, store session.Store) {
				s.Set("key", 1)
				e.check(store.Destroy(e.context(), s.ID()))
			}
			inOne := func(s session.Session, w http.ResponseWriter, r *http.Request) {
				s.Set("key", 1)
				e.check(session.Destroy(w, r, s))
			}
			for _, v := range []*visitor{e.visitor().do(byHand), e.visitor().do(inOne)} {
				e.wantExist(v.sid, false)
			}
		},
	},
	{
		name: "destroy/flash",
		text: "A flash that waits in a session goes with it.",
		check: func(e *env) {
			v := e.loggedIn()
			v.do(func(s session.Session) { s.SetFlash("hello") })
			v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
				s.SetFlash("goodbye")
				e.check(session.Destroy(w, r, s))
			})
			e.wantExist(v.sid, false)
			v.do(func(flash session.Flash) {
				if flash != nil {
					e.Errorf("a flash of the destroyed session is seen: %v", flash)
				}
			})
		},
	},
	{
		name: "id/planted",
		text: "Nothing is ever stored under an ID that a client made up: the request has a session under a new ID from the start, which is sent once.",
		check: func(e *env) {
			v := e.visitor()
			v.cookie = planted()
			sid := ""
			v.do(func(s session.Session) { s.Set("key", 1); sid = s.ID() })
			e.wantExist(planted().Value, false)
			if len(v.setCookies) != 1 || sid == planted().Value {
				e.Fatalf("%d cookies were sent, the ID is new: %t", len(v.setCookies), sid != planted().Value)
			}
			if v.cookie.Value != sid {
				e.Error("the handler has seen another ID than the one that was sent")
			}
			e.want(sid, "key", 1)

			// Nor through the store that handlers get.
			v.cookie = planted()
			v.do(func(store session.Store) {
				s, err := store.Read(e.context(), planted().Value)
				e.check(err)
				s.Set("key", 1)
				if err := store.Save(e.context(), s); err == nil {
					e.Error("Save of a session with such an ID returns no error")
				}
			})
			e.wantExist(planted().Value, false)
		},
	},
	{
		name: "id/issued",
		text: "An ID that was given to a visitor for whom nothing was stored is the one under which something is stored later.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) {})
			sid := v.sid
			v.do(func(s session.Session) { s.Set("key", 1) })
			if v.sid != sid || len(v.setCookies) != 0 {
				e.Error("the ID has changed, or was sent again")
			}
			e.want(sid, "key", 1)
		},
	},
	{
		name:     "id/expired",
		waits:    true,
		text:     "An ID whose session has expired is not used again.",
		lifetime: short,
		check: func(e *env) {
			v := e.loggedIn()
			sid := v.sid
			time.Sleep(shortDead)
			v.do(func(s session.Session) { s.Set("key", 1) })
			e.wantExist(sid, false)
			if v.cookie.Value == sid {
				e.Error("no new ID was sent")
			}
			e.want(v.cookie.Value, "key", 1, "user", nil)
		},
	},
	{
		name: "id/renewed",
		text: "What arrives under an ID that was given up for a new one, up to ten seconds later, changes nothing and sends no cookie, unless it renews too: then what it set itself is stored under its own new ID.",
		check: func(e *env) {
			v := e.loggedIn()
			old, late, twice := v.sid, v.copy(), v.copy()
			v.do(renew)
			e.want(v.cookie.Value, "user", 123)
			e.wantExist(old, false)
			e.want(old, "user", nil)

			late.do(func(s session.Session) {
				if got := s.Get("user"); got != nil {
					e.Errorf("under the old ID the user is still %v", got)
				}
				s.Set("late", 1)
				s.SetFlash("late")
			})
			e.wantNoCookie(late)
			e.want(old, "late", nil)
			e.want(v.cookie.Value, "user", 123, "late", nil)

			s, err := e.store.Read(e.context(), old)
			e.check(err)
			s.Set("late", 1)
			e.check(e.store.Save(e.context(), s))
			e.wantExist(old, false)

			twice.do(func(s session.Session) { s.Set("user", 123) }, renew)
			e.want(twice.cookie.Value, "user", 123)
			e.want(v.cookie.Value, "user", 123)
			if twice.cookie.Value == old || twice.cookie.Value == v.cookie.Value {
				e.Error("the second login has no ID of its own")
			}
		},
	},
	{
		name: "id/renewed by another instance",
		text: "The same holds where another store on the same storage has renewed the session, before the request or while it is under way.",
		not:  []Trait{Private},
		check: func(e *env) {
			v := e.loggedIn()
			old, late := v.sid, v.copy()
			v.env = e.another()
			late.do(func(s session.Session) {
				v.do(renew)
				s.Set("late", 1)
			})
			e.wantNoCookie(late)
			late.do(func(s session.Session) { s.Set("late", 1) })
			e.wantNoCookie(late)
			e.wantExist(old, false)
			e.want(v.cookie.Value, "user", 123, "late", nil)
			late.do(renew)
			e.wantNoCookie(late)

			v, overlapping := e.loggedIn(), e.visitor()
			v.env = e.another()
			overlapping.cookie = v.cookie
			overlapping.do(func() { v.do(renew) }, renew)
			e.wantNoCookie(overlapping)
			e.want(v.cookie.Value, "user", 123)
		},
	},
	{
		name: "id/renewed twice in parallel",
		text: "Of two requests that renew the same session one inherits its data, the other has what it set itself. If it has set nothing, it leaves the cookie alone.",
		check: func(e *env) {
			for range 20 {
				a := e.loggedIn()
				b := a.copy()
				old := a.sid
				var begun, ended sync.WaitGroup
				begun.Add(2)
				for name, v := range map[string]*visitor{"a": a, "b": b} {
					ended.Go(func() {
						v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
							s.Set(name, true)
							begun.Done()
							begun.Wait()
							e.check(s.RegenerateID(w, r))
						})
					})
				}
				ended.Wait()
				e.wantExist(old, false)
				heirs := 0
				for _, v := range []*visitor{a, b} {
					if e.read(v.cookie.Value).Get("user") != nil {
						heirs++
					}
				}
				if heirs != 1 {
					e.Fatalf("%d requests have the old data", heirs)
				}
				e.want(a.cookie.Value, "a", true, "b", nil)
				e.want(b.cookie.Value, "b", true, "a", nil)
			}
		},
	},
}

// planted is the cookie of a victim: well formed, and chosen by somebody else.
func planted() *http.Cookie {
	return &http.Cookie{Name: "flamego_session", Value: "attackersession0"}
}

// renew gives the session a new ID, as a login does.
func renew(s session.Session, w http.ResponseWriter, r *http.Request) {
	if err := s.RegenerateID(w, r); err != nil {
		panic(err)
	}
}

// wantNoCookie checks that the last response has left the cookie alone.
func (e *env) wantNoCookie(v *visitor) {
	e.Helper()
	if len(v.setCookies) > 0 {
		e.Error("the response sends a cookie")
	}
}

// loggedIn returns a visitor whose session is stored.
func (e *env) loggedIn() *visitor {
	e.Helper()
	return e.visitor().do(func(s session.Session) { s.Set("user", 123) })
}

func (e *env) check(err error) {
	e.Helper()
	if err != nil {
		e.Error(err)
	}
}
