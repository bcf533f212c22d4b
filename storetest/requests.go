package storetest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

var requestRules = []rule{
	{
		name: "request/kept",
		text: "What one request sets the next one gets.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) { s.Set("key", "value") })
			v.do(func(s session.Session) {
				if got := s.Get("key"); got != "value" {
					e.Errorf("the next request gets %v", got)
				}
			})
		},
	},
	{
		name: "request/nothing left behind",
		text: "A visitor for whom nothing is set leaves nothing in the store.",
		check: func(e *env) {
			for range 10 {
				v := e.visitor()
				for range 2 {
					v.do(func(s session.Session) { s.Get("key") })
					e.wantExist(v.sid, false)
				}
			}
		},
	},
	{
		name: "request/renewed",
		text: "After RegenerateID the visitor has a new ID with the old data, and the old ID is dead.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) { s.Set("key", 1) })
			old := v.sid
			v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
				if err := s.RegenerateID(w, r); err != nil {
					e.Errorf("RegenerateID: %v", err)
				}
			})
			if v.sid == old {
				e.Fatal("the visitor received no new ID")
			}
			e.wantExist(old, false)
			e.want(v.sid, "key", 1)
		},
	},
	{
		name: "request/destroyed under way",
		text: "A session that is destroyed while a request runs stays gone when that request ends, without an error.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) { s.Set("key", 1) })
			sid := v.sid
			v.do(func(s session.Session) {
				e.destroy(sid)
				s.Set("late", 2)
			})
			e.wantExist(sid, false)
		},
	},
	{
		name: "request/panic",
		text: "A handler that panics before it answers changes nothing, and its flash is for the next request.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) { s.Set("key", 1); s.SetFlash("hello") })
			func() {
				defer func() { _ = recover() }()
				v.do(func(s session.Session, w http.ResponseWriter, r *http.Request) {
					s.Set("key", 2)
					e.check(s.RegenerateID(w, r))
					panic("handler")
				})
			}()
			e.want(v.sid, "key", 1)
			v.do(func(s session.Session, flash session.Flash) {
				if flash != "hello" || s.Get("key") != 1 {
					e.Errorf("the next request gets the flash %v and the value %v", flash, s.Get("key"))
				}
			})
		},
	},
	{
		name: "flash/none is nil",
		text: "A request for which no flash was set receives nil.",
		check: func(e *env) {
			v := e.visitor()
			for i := range 100 {
				v.do(func(s session.Session, flash session.Flash) {
					if flash != nil {
						e.Errorf("request %d receives a %T", i, flash)
					}
					s.Set("key", i)
				})
			}
		},
	},
	{
		name: "flash/once",
		text: "A flash is seen by the next request and by no other.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) { s.SetFlash("hello") })
			for i := range 3 {
				v.do(func(flash session.Flash) {
					if seen := flash == "hello"; seen != (i == 0) || !seen && flash != nil {
						e.Errorf("request %d after the flash receives %v", i+1, flash)
					}
				})
			}
		},
	},
	{
		name: "flash/once in parallel",
		text: "Of many requests that overlap exactly one receives the flash.",
		check: func(e *env) {
			for range 10 {
				v := e.visitor()
				v.do(func(s session.Session) {
					s.Set("key", 1)
					s.SetFlash("hello")
				})
				// Each request waits in its handler until all have begun.
				const n = 8
				var seen atomic.Int32
				var begun, ended sync.WaitGroup
				begun.Add(n)
				for range n {
					ended.Go(func() {
						here := sync.OnceFunc(begun.Done)
						defer here() // also when the request fails before its handler
						v.copy().do(func(flash session.Flash) {
							if flash != nil {
								seen.Add(1)
							}
							here()
							begun.Wait()
						})
					})
				}
				ended.Wait()
				if n := seen.Load(); n != 1 {
					e.Errorf("%d requests received the flash", n)
				}
				e.want(v.sid, "key", 1)
			}
		},
	},
	{
		name: "flash/next while taken",
		text: "A flash that is set by the request that receives one is for the request after it.",
		check: func(e *env) {
			v := e.visitor()
			v.do(func(s session.Session) { s.SetFlash(0) })
			for i := range 3 {
				v.do(func(s session.Session, flash session.Flash) {
					if flash != i {
						e.Errorf("the flash is %v, want %d", flash, i)
					}
					s.SetFlash(i + 1)
				})
			}
		},
	},
	{
		name: "request/many visitors",
		text: "Among many visitors at the same time each sees its own data, all of it.",
		check: func(e *env) {
			var wg sync.WaitGroup
			for i := range 20 {
				v := e.visitor()
				wg.Go(func() {
					for n := range 10 {
						v.do(func(s session.Session) {
							if n > 0 && (s.Get("visitor") != i || s.Get("n") != n-1) {
								e.Errorf("visitor %d sees visitor %v, count %v", i, s.Get("visitor"), s.Get("n"))
							}
							s.Set("visitor", i)
							s.Set("n", n)
						})
					}
				})
			}
			wg.Wait()
		},
	},
}

// visitor is a client with a cookie.
type visitor struct {
	env        *env
	sid        string         // the ID that the handler saw
	cookie     *http.Cookie   // what the browser has
	setCookies []*http.Cookie // of the last response
}

func (e *env) visitor() *visitor { return &visitor{env: e} }

func (v *visitor) copy() *visitor {
	c := *v
	return &c
}

// do makes a request that runs the handlers, keeps the cookie of the answer and
// returns the visitor.
func (v *visitor) do(handlers ...flamego.Handler) *visitor {
	v.env.Helper()
	f := flamego.NewWithLogger(io.Discard)
	f.Use(v.env.m.Handler())
	f.Get("/", append(handlers, func(s session.Session) string {
		v.sid = s.ID()
		return fmt.Sprintf("%d bytes", len(s.ID()))
	})...)

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if v.cookie != nil {
		r.AddCookie(v.cookie)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		v.env.Errorf("status %d", w.Code)
	}
	v.setCookies = w.Result().Cookies()
	for _, c := range v.setCookies {
		v.cookie = c
	}
	return v
}
