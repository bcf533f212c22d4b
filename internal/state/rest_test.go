package state_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/flamego/session/internal/gobmap"
	"github.com/flamego/session/internal/state"
)

type later struct{ N int }

func init() { gob.RegisterName("state.here", later{}) }

// rename gives a type the name of one that is not registered, or takes it back.
func rename(raw []byte, from, to string) []byte {
	return bytes.ReplaceAll(raw, []byte("state."+from), []byte("state."+to))
}

func written(t *testing.T, m map[any]any) []byte {
	t.Helper()
	raw, err := gobmap.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return rename(raw, "here", "then")
}

// The rest follows the changes of a log as the values do.
func TestRest(t *testing.T) {
	c := state.Codec{EncodeFunc: gobmap.Encode, DecodeFunc: gobmap.Decode, Joins: true, MaxSize: 1000}
	base := map[any]any{"a": later{1}, "b": 2, "c": later{3}, "old": later{4}}
	for range 500 {
		names, log, do := play(4)
		values, rest, err := c.Decode(written(t, base))
		if err == nil || !reflect.DeepEqual(values, map[any]any{"b": 2}) || !rest.Has("a") || rest.Has("b") {
			t.Fatalf("got %v and %v, %v", values, rest, err)
		}
		log.Apply(values)
		raw, err := c.Encode(values, rest.After(&log))
		if err != nil {
			t.Fatal(err)
		}
		got, err := gobmap.Decode(rename(raw, "then", "here"))
		want := state.Map(base).Copy()
		do(want)
		for key, val := range want {
			if val == nil {
				delete(want, key)
			}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: got %v, %v, want %v", names, got, err, want)
		}
		if !rest.Has("a") || !rest.Has("c") || !rest.Has("old") {
			t.Fatalf("%v: the rest has changed", names)
		}
	}
	var none *state.Rest
	if none.Has("a") || none.After(new(state.Log)) != nil {
		t.Error("nothing is something")
	}
	_, rest, _ := c.Decode(written(t, map[any]any{"b": 1, "large": []any{later{}, strings.Repeat("x", 700)}}))
	_, err := c.Encode(map[any]any{"b": strings.Repeat("x", 300)}, rest)
	if err == nil || !strings.Contains(err.Error(), "more than the limit of 1000") {
		t.Errorf("the error is %v", err)
	}
}

// What cannot be written along is not lost.
func TestRestThatCannotBeEncoded(t *testing.T) {
	raw := written(t, map[any]any{"a": later{1}, "b": 2})
	decoded := errors.New("never seen")
	for name, tt := range map[string]struct {
		codec  state.Codec
		values map[any]any
		del    bool // it is enough to delete the key
	}{
		"another encoder": {state.Codec{DecodeFunc: gobmap.Decode}, map[any]any{"b": 2}, true},
		"nothing": {state.Codec{Joins: true, DecodeFunc: func(raw []byte) (map[any]any, error) {
			_, err := gobmap.Decode(raw)
			return nil, fmt.Errorf("%w: %w", decoded, err)
		}}, map[any]any{}, false},
		"not all": {state.Codec{Joins: true, DecodeFunc: func(raw []byte) (map[any]any, error) {
			_, err := gobmap.Decode(raw)
			return map[any]any{}, err
		}}, map[any]any{}, false},
	} {
		c := tt.codec
		c.MaxSize, c.EncodeFunc = 1000, func(map[any]any) ([]byte, error) { return []byte("encoded"), nil }
		values, rest, err := c.Decode(raw)
		if err == nil || !reflect.DeepEqual(values, tt.values) || rest == nil {
			t.Fatalf("%s: got %v and %v, %v", name, values, rest, err)
		}
		var del, flush state.Log
		del.Delete("a")
		flush.Flush()
		for what, encodes := range map[*state.Log]bool{{}: false, &del: tt.del, &flush: true} {
			raw, err := c.Encode(values, rest.After(what))
			if encodes {
				if err != nil || string(raw) != "encoded" {
					t.Errorf("%s: got %q, %v", name, raw, err)
				}
				continue
			}
			var re *state.RestError
			if !errors.As(err, &re) || raw != nil {
				t.Fatalf("%s: got %q, %v", name, raw, err)
			}
			for _, text := range []string{`type "state.then" under key "a"`, "register the type", "flush"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s: the error is %v", name, err)
				}
			}
		}
	}
	values, rest, err := (&state.Codec{MaxSize: 1000, DecodeFunc: func([]byte) (map[any]any, error) { return map[any]any{"b": 2}, decoded }}).Decode(raw)
	if values != nil || rest != nil || !errors.Is(err, decoded) {
		t.Errorf("got %v and %v, %v", values, rest, err)
	}
}
