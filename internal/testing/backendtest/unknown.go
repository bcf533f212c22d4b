package backendtest

import (
	"bytes"
	"context"
	"encoding/gob"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session"
)

// prefs is a type that another version of the app has registered, and this one has not:
// its name is another in the bytes of that version, and as long.
type prefs struct{ Theme string }

const here, elsewhere = "backendtest.prefs.here", "backendtest.prefs.then"

func init() {
	gob.RegisterName(here, prefs{})
	gob.Register([]interface{}{})
}

// UnknownTypes checks that a store on the backend shows what it can decode of a record,
// and that the rest is still there after requests that change the record, at once and
// under a new ID.
func UnknownTypes(t testing.TB, b session.Backend, sid string) {
	t.Helper()
	ctx := context.Background()
	want := map[interface{}]interface{}{"user": 7, "prefs": prefs{"dark"}, "more": []interface{}{prefs{}, "x"}, "old": prefs{}}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(want); err != nil {
		t.Fatal(err)
	}
	raw := bytes.ReplaceAll(buf.Bytes(), []byte(here), []byte(elsewhere))
	ok, err := b.Insert(ctx, sid, session.Record{Data: raw, TTL: time.Hour})
	done(t, "insert", ok, err)

	store := session.NewStore(b, session.StoreConfig{})
	read := func() session.Session {
		t.Helper()
		s, err := store.Read(ctx, sid)
		if err == nil || !strings.Contains(err.Error(), elsewhere) {
			t.Errorf("the error is %v", err)
		}
		if s.Get("user") != 7 || s.Get("prefs") != nil {
			t.Errorf("the user is %v, what cannot be decoded %v", s.Get("user"), s.Get("prefs"))
		}
		return s
	}
	first, second := read(), read()
	first.Set("first", 1)
	done(t, "save", true, store.Save(ctx, first))
	second.Set("second", 2)
	second.Delete("old")
	done(t, "save on top of the first", true, store.Save(ctx, second))
	third := read()
	done(t, "renew", true, third.RegenerateID(nil, nil))
	third.Set("third", 3)
	done(t, "save under the new ID", true, store.Save(ctx, third))

	rec, found, err := b.Load(ctx, third.ID())
	done(t, "load", found, err)
	got := make(map[interface{}]interface{})
	raw = bytes.ReplaceAll(rec.Data, []byte(elsewhere), []byte(here))
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&got); err != nil {
		t.Fatal(err)
	}
	delete(want, "old")
	want["first"], want["second"], want["third"] = 1, 2, 3
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a process that knows all types finds %v, should find %v", got, want)
	}
}
