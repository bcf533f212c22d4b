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
