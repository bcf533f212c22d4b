package storetest

import (
	"bytes"
	"math"
	"reflect"
	"time"

	"github.com/flamego/session"
)

// oneStorage is the first rule. Where it is broken, half of the others are, and none says why.
var oneStorage = rule{
	name: "basic/one storage",
	text: "Two stores on the same storage see the same sessions: session.New is called twice with what Open returned. (A store that can share its storage with no other one has the trait Private.)",
	not:  []Trait{Private},
	check: func(e *env) {
		e.set("session1", "key", 1)
		e.another().want("session1", "key", 1)
	},
}

var basicRules = []rule{
	{
		name: "basic/absent is empty",
		text: "Reading an unknown session gives an empty one, without error, and leaves nothing behind.",
		check: func(e *env) {
			s := e.read("unknown0")
			if s.HasChanged() {
				e.Error("a session that was only read has changed")
			}
			if got := s.Get("key"); got != nil {
				e.Errorf("a key of an empty session is %v", got)
			}
			e.wantExist("unknown0", false)
		},
	},
	{
		name: "basic/saved is read",
		text: "What was saved is read back, value by value with its type.",
		check: func(e *env) {
			values := commonValues()
			s := e.read("values00")
			for key, val := range values {
				s.Set(key, val)
			}
			e.save(s)
			e.wantExist("values00", true)

			s = e.read("values00")
			for key, want := range values {
				got := s.Get(key)
				if t, ok := want.(time.Time); ok {
					if g, ok := got.(time.Time); !ok || !g.Equal(t) {
						e.Errorf("key %v is %v, want %v", key, got, want)
					}
				} else if !reflect.DeepEqual(got, want) {
					e.Errorf("key %v is %#v, want %#v", key, got, want)
				}
			}
		},
	},
	{
		name: "basic/empty is saved",
		text: "A session that is saved with nothing in it is there.",
		check: func(e *env) {
			e.save(e.read("empty000"))
			e.wantExist("empty000", true)
			s := e.read("empty000")
			s.Set("key", 1)
			e.save(s)
			s.Flush()
			e.save(s)
			e.wantExist("empty000", true)
			e.want("empty000", "key", nil)
		},
	},
	{
		name: "basic/sessions are apart",
		text: "A session holds what was saved under its ID, and nothing of another.",
		check: func(e *env) {
			e.set("session1", "key", 1, "only1", true)
			e.set("session2", "key", 2)
			e.set("session", "key", 3)
			e.want("session1", "key", 1, "only1", true)
			e.want("session2", "key", 2, "only1", nil)
			e.want("session", "key", 3, "only1", nil)
		},
	},
	{
		name: "basic/views are apart",
		text: "A change is seen by others when it is saved and not before.",
		check: func(e *env) {
			e.set("session1", "key", "old")
			s := e.read("session1")
			s.Set("key", "new")
			s.Set("other", 1)
			e.want("session1", "key", "old", "other", nil)
			e.save(s)
			e.want("session1", "key", "new", "other", 1)
		},
	},
	{
		name: "basic/saved again",
		text: "A session may be changed and saved again without being read again.",
		check: func(e *env) {
			s := e.read("session1")
			for i := range 3 {
				s.Set("key", i)
				if !s.HasChanged() {
					e.Error("a session that was set has not changed")
				}
				e.save(s)
				e.want("session1", "key", i)
			}
			s.Delete("key")
			e.save(s)
			e.want("session1", "key", nil)
		},
	},
	{
		name: "basic/encode",
		text: "Encode returns the data of any session, as NewBaseSession's encoder makes it.",
		check: func(e *env) {
			e.set("session1", "key", "value")
			s := e.read("session1")
			s.Set("more", 2)
			raw, err := s.Encode()
			if err != nil || len(raw) == 0 {
				e.Fatalf("Encode returns %d bytes and error %v", len(raw), err)
			}
			// Saved under another ID it must be the same session.
			copied := session.NewBaseSessionWithData("session2", func(session.Data) ([]byte, error) { return raw, nil }, nil,
				session.Data{"key": "value", "more": 2})
			e.save(copied)
			e.want("session2", "key", "value", "more", 2)
		},
	},
	{
		name: "basic/large",
		text: "A session may hold some tens of kilobytes, of any bytes.",
		check: func(e *env) {
			all := make([]byte, 60_000)
			for i := range all {
				all[i] = byte(i)
			}
			for range 2 { // the second time with an old value as large
				s := e.read("session1")
				s.Set("blob", all)
				e.save(s)
			}
			got, _ := e.read("session1").Get("blob").([]byte)
			if !bytes.Equal(got, all) {
				e.Error("the bytes read are not the bytes saved")
			}
		},
	},
}

// commonValues are values of the types that sessions commonly hold.
func commonValues() map[interface{}]interface{} {
	return map[interface{}]interface{}{
		"bool":           true,
		"int":            math.MinInt,
		"int8":           int8(-8),
		"int64":          int64(math.MaxInt64),
		"uint":           uint(math.MaxUint),
		"uint16":         uint16(16),
		"float64":        math.Pi,
		"string":         "héllo, \x00 \xff wörld",
		"empty":          "",
		"bytes":          []byte{0, 1, 0xff},
		"strings":        []string{"a", "", "b"},
		"ints":           []int{1, -2},
		"time":           time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		"duration":       90 * time.Second,
		"list":           []interface{}{1, "a", true},
		"map":            map[string]interface{}{"a": 1, "b": []interface{}{"c"}},
		"map of strings": map[string]string{"a": "b"},
		42:               "a key that is an int",
		true:             "a key that is a bool",
		"":               "a key that is empty",
		2.5:              "a key that is a float",
	}
}
