package state_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/flamego/session/internal/state"
)

// forms returns the same values in each form that there is.
func forms(m map[any]any) map[string]state.Values {
	list := state.ListOf(state.Map(m).Copy()).Stored()
	return map[string]state.Values{"map": state.Map(m), "list": &list}
}

// Each form has the same values, few or many, and a copy is the caller's.
func TestValues(t *testing.T) {
	for n := range 20 {
		want := make(map[any]any)
		for i := range n {
			want[fmt.Sprint("key", i)] = i
		}
		for name, v := range forms(want) {
			for key, val := range want {
				if got := v.Get(key); got != val {
					t.Errorf("%s of %d: %v is %v", name, n, key, got)
				}
			}
			if got := v.Get("none"); got != nil {
				t.Errorf("%s of %d: there is %v under a key that was never set", name, n, got)
			}
			c := v.Copy()
			if !reflect.DeepEqual(c, want) {
				t.Errorf("%s of %d: the copy is %v", name, n, c)
			}
			c["key0"] = "changed"
			if n > 0 && v.Get("key0") != 0 {
				t.Errorf("%s of %d: a change of the copy is seen", name, n)
			}
		}
	}
	if state.Get(nil, "key") != nil || len(state.Copy(nil)) != 0 {
		t.Error("no values are not empty")
	}
}

var errCodec = errors.New("no")

func TestCodec(t *testing.T) {
	c := state.Codec{
		EncodeFunc: func(m map[any]any) ([]byte, error) {
			if m["panic"] != nil {
				panic(m["panic"])
			}
			if m["fail"] != nil {
				return nil, errCodec
			}
			return []byte(fmt.Sprint(m["text"])), nil
		},
		DecodeFunc: func(data []byte) (map[any]any, error) {
			switch string(data) {
			case "panic":
				panic("secret")
			case "fail":
				return nil, errCodec
			case "nothing":
				return nil, nil
			}
			return map[any]any{"text": string(data)}, nil
		},
		MaxSize: 10,
	}
	check := func(err error, want string) {
		t.Helper()
		if got := fmt.Sprint(err); !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("the error is %q, want one with %q", got, want)
		}
	}
	data, err := c.Encode(map[any]any{"text": "0123456789"}, nil)
	if err != nil || string(data) != "0123456789" {
		t.Errorf("got %q, %v", data, err)
	}
	m, _, err := c.Decode(data)
	if err != nil || m["text"] != "0123456789" {
		t.Errorf("got %v, %v", m, err)
	}
	if m, _, err = c.Decode([]byte("nothing")); err != nil || m == nil {
		t.Errorf("got %v, %v, want a map to write to", m, err)
	}
	_, err = c.Encode(map[any]any{"text": "0123456789+"}, nil)
	check(err, "takes 11 bytes, more than the limit of 10")
	_, _, err = c.Decode([]byte("0123456789+"))
	check(err, "11 bytes, more than the limit of 10")
	_, err = c.Encode(map[any]any{"fail": 1}, nil)
	check(err, errCodec.Error())
	_, _, err = c.Decode([]byte("fail"))
	check(err, errCodec.Error())
	_, err = c.Encode(map[any]any{"panic": "secret"}, nil)
	check(err, "the encoder panicked with a string")
	_, _, err = c.Decode([]byte("panic"))
	check(err, "the decoder panicked with a string")
}

// What can be changed in place, or may hold what can, is not fixed.
func TestFixed(t *testing.T) {
	type role string
	type user struct {
		Name  string
		Roles [2]role
		Since time.Time
		Inner struct{ N int }
	}
	for _, val := range []any{
		nil, "a", true, 1, int8(1), uint64(1), 1.5, complex64(1), role("admin"), time.Now(), time.Second,
		user{}, user{}, [2]user{}, struct{}{},
	} {
		if !(state.Map{"key": val}).Fixed() {
			t.Errorf("a %T is not fixed", val)
		}
	}
	for _, val := range []any{[]byte{1}, []string{"a"}, map[string]int{}, new(int), struct{ A []int }{}, [1]*int{}, func() {}, errCodec,
		struct{ A any }{}, struct{ A struct{ B *user } }{}, &user{}, [1]map[string]int{}, struct{ c chan int }{}} {
		if (state.Map{"before": 1, "key": val, "after": 1}).Fixed() {
			t.Errorf("a %T is fixed", val)
		}
	}
}
