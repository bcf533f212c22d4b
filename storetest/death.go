package storetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/flamego/session"
)

var deathRules = []rule{
	{
		name: "dead/destroyed",
		text: "A destroyed session is gone; to destroy what is not there is no error.",
		check: func(e *env) {
			e.set("session1", "key", 1)
			e.set("session2", "key", 2)
			e.destroy("session1")
			e.wantExist("session1", false)
			e.want("session1", "key", nil)
			e.want("session2", "key", 2)
			e.destroy("session1")
			e.destroy("unknown0")
		},
	},
	{
		name: "dead/destroyed stays so",
		text: "A session that was destroyed after it was read does not come back by saving it, nor by touching it.",
		check: func(e *env) {
			e.set("session1", "key", 1)
			changed, unchanged := e.read("session1"), e.read("session1")
			e.destroy("session1")

			changed.Set("late", 2)
			e.save(changed)
			e.wantExist("session1", false)
			changed.Set("later", 3)
			e.save(changed)
			e.wantExist("session1", false)
			e.save(unchanged)
			e.touch("session1")
			e.wantExist("session1", false)
			e.want("session1", "key", nil, "late", nil, "later", nil)
		},
	},
	{
		name: "dead/destroyed in parallel",
		text: "However saves, touches and one destruction of a session fall together, it is gone in the end.",
		check: func(e *env) {
			for round := range 50 {
				sid := fmt.Sprintf("session%d", round)
				e.set(sid, "key", 1)
				a, b := e.read(sid), e.read(sid)
				a.Set("a", round)
				b.Set("b", round)
				e.together(
					func() error { return e.store.Save(e.context(), a) },
					func() error { return e.store.Save(e.context(), b) },
					func() error { return e.store.Touch(e.context(), sid) },
					func() error { return e.store.Destroy(e.context(), sid) },
				)
				e.wantExist(sid, false)
			}
		},
	},
	{
		name: "dead/touch creates nothing",
		text: "To touch what is not there is no error and makes nothing.",
		check: func(e *env) {
			e.touch("unknown0")
			e.wantExist("unknown0", false)
		},
	},
	{
		name:     "dead/expired",
		waits:    true,
		text:     "A session is dead one lifetime after the last access, whether GC has been there or not.",
		lifetime: short,
		check: func(e *env) {
			var sid string
			e.inTime(short, func(next string) bool {
				sid = next
				e.set(sid, "key", 1)
				return e.store.Exist(e.context(), sid)
			})
			time.Sleep(shortDead)
			e.wantExist(sid, false)
			e.want(sid, "key", nil)
		},
	},
	{
		name:     "dead/expired stays so",
		waits:    true,
		text:     "A session that expired after it was read does not come back by saving it; what is then stored under its ID is new.",
		lifetime: short,
		check: func(e *env) {
			var s session.Session
			e.inTime(short, func(sid string) bool {
				e.set(sid, "key", 1)
				s = e.read(sid)
				return s.Get("key") == 1
			})
			sid := s.ID()
			time.Sleep(shortDead)
			s.Set("late", 2)
			e.save(s)
			e.wantExist(sid, false)

			e.inTime(short, func(string) bool {
				e.set(sid, "new", 3)
				s := e.read(sid)
				if s.Get("key") != nil || s.Get("late") != nil {
					e.Error("what has expired is back")
				}
				return s.Get("new") == 3
			})
		},
	},
	{
		name:     "dead/access keeps alive",
		waits:    true,
		text:     "A session that is touched, or saved, every half lifetime stays alive.",
		lifetime: 2 * time.Second,
		check: func(e *env) {
			const rounds = 4
			e.inTime((rounds+1)*time.Second, func(sid string) bool {
				touched, saved := sid+"touched", sid+"saved"
				e.set(touched, "key", 1)
				e.set(saved, "key", 1)
				for range rounds {
					time.Sleep(time.Second)
					e.touch(touched)
					e.set(saved, "more", 2)
				}
				return e.read(touched).Get("key") == 1 && e.read(saved).Get("key") == 1
			})
		},
	},
	{
		name:     "dead/gc",
		waits:    true,
		text:     "GC removes what has expired and nothing else, and may run at any time.",
		lifetime: short,
		check: func(e *env) {
			const n = 5
			e.gc() // nothing there
			for i := range n {
				e.set(fmt.Sprintf("dead%d", i), "key", i)
			}
			keepsTheLiving := func(sid string) bool {
				e.set(sid, "key", "value")
				e.gc()
				return e.read(sid).Get("key") == "value"
			}
			e.inTime(short, keepsTheLiving)
			time.Sleep(shortDead)
			e.inTime(short, keepsTheLiving)
			for i := range n {
				e.wantExist(fmt.Sprintf("dead%d", i), false)
			}
		},
	},
	{
		name:  "dead/lifetime has a default",
		waits: true,
		text:  "A lifetime below one second means the default of an hour, and not a session that dies at once.",
		check: func(e *env) {
			envs := []*env{newEnv(e, e.open, 0), newEnv(e, e.open, -long), newEnv(e, e.open, time.Second-1)}
			for _, e := range envs {
				e.set("session1", "key", 1)
			}
			time.Sleep(shortDead)
			for _, e := range envs {
				e.want("session1", "key", 1)
			}
		},
	},
	{
		name: "dead/renewed",
		text: "RegenerateID moves the data to the new ID; under the old one there is nothing any more.",
		check: func(e *env) {
			e.set("session1", "key", 1)
			s := e.read("session1")
			stale := e.read("session1")
			s.Set("more", 2)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if err := s.RegenerateID(httptest.NewRecorder(), r); err != nil {
				e.Fatalf("RegenerateID: %v", err)
			}
			if s.ID() == "session1" || !s.HasChanged() {
				e.Fatal("RegenerateID gave no new ID, or the session has not changed")
			}
			if s.Get("key") != 1 {
				e.Error("RegenerateID lost the data")
			}
			e.save(s)
			e.want(s.ID(), "key", 1, "more", 2)
			e.wantExist("session1", false)

			stale.Set("late", 3)
			e.save(stale)
			e.wantExist("session1", false)
			e.want(s.ID(), "late", nil)
		},
	},
}
