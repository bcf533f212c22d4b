package storetest

import (
	"context"
	"errors"
	"strings"

	"github.com/flamego/session"
)

var badInputRules = []rule{
	{
		name: "bad input/ids",
		text: "An ID that cannot be one is refused by every method, with an error that does not repeat it, and touches nothing.",
		check: func(e *env) {
			e.set("session1", "key", 1)
			for _, sid := range hostileIDs {
				e.refuses(sid)
			}
			e.want("session1", "key", 1)
		},
	},
	{
		name: "bad input/short ids",
		text: "An ID of less than 3 characters is refused with ErrMinimumSIDLength.",
		check: func(e *env) {
			for _, sid := range []string{"", "a", "ab"} {
				if _, err := e.store.Read(e.context(), sid); !errors.Is(err, session.ErrMinimumSIDLength) {
					e.Errorf("Read of an ID of %d characters returns %v", len(sid), err)
				}
			}
		},
	},
	{
		name: "bad input/no session",
		text: "Saving nil is an error.",
		check: func(e *env) {
			if err := e.store.Save(e.context(), nil); err == nil {
				e.Error("Save(nil) returns no error")
			}
			if err := e.store.Save(e.context(), (*session.BaseSession)(nil)); err == nil {
				e.Error("Save of a nil *BaseSession returns no error")
			}
		},
	},
	{
		name: "bad input/type",
		text: "A value that cannot be encoded fails the save with its key and type named; what is stored stays, and so does the session.",
		not:  []Trait{Live},
		check: func(e *env) {
			type unregistered struct{ N int }
			text := e.saveFails("culprit", unregistered{1})
			if !strings.Contains(text, "culprit") || !strings.Contains(text, "storetest.unregistered") {
				e.Errorf("the error names not both key and type: %s", text)
			}
		},
	},
	{
		name:  "bad input/size",
		text:  "More data than the store can hold fails the save, and what is stored stays.",
		not:   []Trait{Live},
		check: func(e *env) { e.saveFails("blob", make([]byte, 2<<20)) },
	},
	{
		name: "bad input/nil value",
		text: "A key that is set to nil reads as one that is not there, and keeps no other from being saved.",
		check: func(e *env) {
			e.set("session1", "nothing", nil, "key", 1)
			e.want("session1", "nothing", nil, "key", 1)
		},
	},
	{
		name: "bad input/context",
		text: "With a context that is done every method returns, with an error or with its work done.",
		check: func(e *env) {
			e.set("session1", "key", 1)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			e.store.Exist(ctx, "session1")
			s, err := e.store.Read(ctx, "session1")
			if err == nil && s.Get("key") != 1 {
				e.Error("Read returns neither the session nor an error")
			}
			_ = e.store.Touch(ctx, "session1")
			_ = e.store.GC(ctx)
			changed := e.read("session1")
			changed.Set("key", 2)
			if e.store.Save(ctx, changed) == nil {
				e.want("session1", "key", 2)
			} else if !changed.HasChanged() {
				e.Error("after a save that failed the session has not changed")
			}
			e.save(changed)
			e.want("session1", "key", 2)
		},
	},
}

// saveFails sets a key to a value that cannot be saved and returns the text of
// the error. What was stored must stay, and the session must be good for
// another save once the key is gone.
func (e *env) saveFails(key string, val interface{}) string {
	e.Helper()
	e.set("session1", "key", 1)
	s := e.read("session1")
	s.Set(key, val)
	err := e.store.Save(e.context(), s)
	if err == nil {
		e.Fatal("it is saved without error")
	}
	e.want("session1", "key", 1, key, nil)

	s.Delete(key)
	s.Set("key", 2)
	e.save(s)
	e.want("session1", "key", 2, key, nil)
	return err.Error()
}

// hostileIDs are IDs that no store must take for a file, a query or a key.
var hostileIDs = []string{
	"", "a", "ab", "../x", "..", "a/../../b", "abc/def", `a\b\c`, "/etc/passwd",
	"abc\x00def", "abc\ndef", "ABCDEF", "äöüäöü", "abc def", "abc'--", `abc"def`, "*", "abc%00", "%s%d%n",
	"{$gt: 1}", ".lock", ".session-tmp-1", strings.Repeat("a", 256), strings.Repeat("a", 4096),
}

func (e *env) refuses(sid string) {
	e.Helper()
	ctx := e.context()
	if e.store.Exist(ctx, sid) {
		e.Errorf("%.20q exists", sid)
	}
	_, readErr := e.store.Read(ctx, sid)
	saved := session.NewBaseSessionWithData(sid, session.GobEncoder, nil, session.Data{"key": "hostile"})
	for method, err := range map[string]error{
		"Read":    readErr,
		"Save":    e.store.Save(ctx, saved),
		"Touch":   e.store.Touch(ctx, sid),
		"Destroy": e.store.Destroy(ctx, sid),
	} {
		switch {
		case err == nil:
			e.Errorf("%s of %.20q returns no error", method, sid)
		case len(sid) > 2 && strings.Contains(err.Error(), sid):
			e.Errorf("%s of %.20q repeats the ID", method, sid)
		}
	}
}
