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
			store := e.store(long)
			e.set(store, "session1", "key", 1)
			e.set(store, "session2", "key", 2)
			e.destroy(store, "session1")
			e.wantExist(store, "session1", false)
			e.want(store, "session1", "key", nil)
			e.want(store, "session2", "key", 2)
			e.destroy(store, "session1")
			e.destroy(store, "unknown0")
		},
	},
	{
		name: "dead/destroyed stays so",
		text: "A session that was destroyed after it was read does not come back by saving it, nor by touching it.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 1)
			changed, unchanged := e.read(store, "session1"), e.read(store, "session1")
			e.destroy(store, "session1")

			changed.Set("late", 2)
			e.save(store, changed)
			e.wantExist(store, "session1", false)
			changed.Set("later", 3)
			e.save(store, changed)
			e.wantExist(store, "session1", false)
			e.save(store, unchanged)
			e.touch(store, "session1")
			e.wantExist(store, "session1", false)
			e.want(store, "session1", "key", nil, "late", nil, "later", nil)
		},
	},
	{
		name: "dead/destroyed in parallel",
		text: "However saves, touches and one destruction of a session fall together, it is gone in the end.",
		check: func(e *env) {
			store := e.store(long)
			for round := range 50 {
				sid := fmt.Sprintf("session%d", round)
				e.set(store, sid, "key", 1)
				a, b := e.read(store, sid), e.read(store, sid)
				a.Set("a", round)
				b.Set("b", round)
				e.together(
					func() error { return store.Save(e.context(), a) },
					func() error { return store.Save(e.context(), b) },
					func() error { return store.Touch(e.context(), sid) },
					func() error { return store.Destroy(e.context(), sid) },
				)
				e.wantExist(store, sid, false)
			}
		},
	},
	{
		name: "dead/touch creates nothing",
		text: "To touch what is not there is no error and makes nothing.",
		check: func(e *env) {
			store := e.store(long)
			e.touch(store, "unknown0")
			e.wantExist(store, "unknown0", false)
		},
	},
	{
		name: "dead/expired",
		text: "A session is dead one lifetime after the last access, whether GC has been there or not.",
		check: func(e *env) {
			store := e.store(short)
			e.set(store, "session1", "key", 1)
			e.wantExist(store, "session1", true)
			time.Sleep(shortDead)
			e.wantExist(store, "session1", false)
			e.want(store, "session1", "key", nil)
		},
	},
	{
		name: "dead/expired stays so",
		text: "A session that expired after it was read does not come back by saving it; what is then stored under its ID is new.",
		check: func(e *env) {
			store := e.store(short)
			e.set(store, "session1", "key", 1)
			s := e.read(store, "session1")
			time.Sleep(shortDead)
			s.Set("late", 2)
			e.save(store, s)
			e.wantExist(store, "session1", false)

			e.set(store, "session1", "new", 3)
			e.want(store, "session1", "new", 3, "key", nil, "late", nil)
		},
	},
	{
		name: "dead/access keeps alive",
		text: "A session that is touched, or saved, every half lifetime stays alive.",
		check: func(e *env) {
			store := e.store(2 * time.Second)
			e.set(store, "touched0", "key", 1)
			e.set(store, "saved000", "key", 1)
			for range 4 {
				time.Sleep(time.Second)
				e.touch(store, "touched0")
				e.set(store, "saved000", "more", 2)
			}
			e.want(store, "touched0", "key", 1)
			e.want(store, "saved000", "key", 1)
		},
	},
	{
		name: "dead/gc",
		text: "GC removes what has expired and nothing else, and may run at any time.",
		check: func(e *env) {
			opts := e.open(e, short)
			store := e.manager(opts).Store()
			e.gc(store) // nothing there
			for i := range 20 {
				e.set(store, fmt.Sprintf("dead%04d", i), "key", i)
			}
			e.gc(store)
			e.wantExist(store, "dead0000", true)
			time.Sleep(shortDead)
			e.set(store, "alive000", "key", "value")
			e.gc(store)
			e.want(store, "alive000", "key", "value")
			for i := range 20 {
				e.wantExist(store, fmt.Sprintf("dead%04d", i), false)
			}
		},
	},
	{
		name: "dead/lifetime has a default",
		text: "A lifetime below one second means the default of an hour, and not a session that dies at once.",
		check: func(e *env) {
			stores := []session.Store{e.store(0), e.store(time.Second - 1), e.store(-long)}
			for _, store := range stores {
				e.set(store, "session1", "key", 1)
			}
			time.Sleep(shortDead)
			for _, store := range stores {
				e.want(store, "session1", "key", 1)
			}
		},
	},
	{
		name: "dead/renewed",
		text: "RegenerateID moves the data to the new ID; under the old one there is nothing any more.",
		check: func(e *env) {
			store := e.store(long)
			e.set(store, "session1", "key", 1)
			s := e.read(store, "session1")
			stale := e.read(store, "session1")
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
			e.save(store, s)
			e.want(store, s.ID(), "key", 1, "more", 2)
			e.wantExist(store, "session1", false)

			stale.Set("late", 3)
			e.save(store, stale)
			e.wantExist(store, "session1", false)
			e.want(store, s.ID(), "late", nil)
		},
	},
}
