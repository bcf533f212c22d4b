package gobmap

import (
	"bytes"
	"encoding/gob"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The types are registered, and encoded before any other has one of them for a
// field, by which gob would name it.
func init() {
	for typ := range byType {
		v := reflect.New(typ).Elem()
		gob.Register(v.Interface())
		if err := gob.NewEncoder(new(bytes.Buffer)).EncodeValue(v); err != nil {
			panic(err)
		}
	}
}

// The definitions that Write sends are, to the byte, those of gob, but for the
// IDs, which gob gives out in the order of first use.
func TestDefinitionsAreThoseOfGob(t *testing.T) {
	for typ, c := range byType {
		if c.defs == 0 {
			continue
		}
		v := reflect.New(typ).Elem()
		if typ.Kind() == reflect.Map {
			v.Set(reflect.MakeMap(typ))
		}
		var buf bytes.Buffer
		if err := gob.NewEncoder(&buf).EncodeValue(v); err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		cur := newCursor(buf.Bytes())
		id := cur.typeSequence(false)
		if cur.err != nil || !c.match(&cur, id) {
			t.Fatalf("%v does not match %+v: %v", typ, cur.typeOf(id), cur.err)
		}
		w := newWriter()
		w.define(id, typ.Name(), cur.typeOf(id))
		if want := w.buf[w.pos:]; !bytes.HasPrefix(buf.Bytes(), want) {
			t.Errorf("%v: gob has %x, ours is %x", typ, buf.Bytes(), want)
		}
	}
}

// A message that is for gob is no message that nothing is found wrong with.
func TestOther(t *testing.T) {
	type named string
	gob.Register(named(""))
	data := map[interface{}]interface{}{"a": named("x"), "t": time.Unix(0, 0).UTC()}
	if _, err := Write(data); !errors.Is(err, ErrOther) {
		t.Errorf("Write says %v", err)
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(data); err != nil {
		t.Fatal(err)
	}
	if _, ok := Read(buf.Bytes()); ok {
		t.Error("Read takes a type it does not know")
	}
	if err := Check(buf.Bytes()); err != nil {
		t.Errorf("Check says %v", err)
	}
}

// The common types go through Write and Read, not only through gob.
func TestCommon(t *testing.T) {
	for typ := range byType {
		v := reflect.New(typ).Elem()
		if typ.Kind() == reflect.Map {
			v.Set(reflect.MakeMap(typ))
		}
		data := map[interface{}]interface{}{"v": v.Interface()}
		raw, err := Write(data)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		if got, ok := Read(raw); !ok || !reflect.DeepEqual(got, data) {
			t.Errorf("%v: got %#v", typ, got)
		}
		if err := Check(raw); err != nil {
			t.Errorf("%v: %v", typ, err)
		}
		for i := range raw {
			if got, ok := Read(raw[:i]); ok {
				t.Errorf("%v cut at %d: got %#v", typ, i, got)
			}
		}
	}
}

// An interface in an interface is a level, too: nobody writes one, and the stack is memory.
func TestDeepInterfaces(t *testing.T) {
	w := newWriter()
	w.bytes(bytes.Repeat([]byte{1, 'x', idAny << 1, 0, 0}, 2000))
	w.byte(0) // the key is nil
	w.begin(1, 0)
	raw := w.buf[w.pos:]
	if err := Check(raw); err == nil || !strings.Contains(err.Error(), "nesting") {
		t.Errorf("Check says %v", err)
	}
	if _, err := scan(raw, true); err == nil || !strings.Contains(err.Error(), "nesting") {
		t.Errorf("scan says %v", err)
	}
}
