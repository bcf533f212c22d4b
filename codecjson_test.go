package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

func TestJSONEncoder(t *testing.T) {
	t.Parallel()
	type point struct{ X, Y float64 }
	type text string
	deep := map[string]interface{}{"list": []interface{}{1, 1.0, "a", nil, true, map[string]interface{}{}}}
	for name, test := range map[string]struct{ val, want interface{} }{
		"text":            {"<a> \u2028 \uFFFD \\ufffd \\\\ufffd \"", nil},
		"int":             {-7, nil},
		"int, largest":    {math.MaxInt, nil},
		"bool":            {true, nil},
		"float64":         {1.5, nil},
		"float64, whole":  {7.0, nil},
		"float64, large":  {1e300, nil},
		"float64, small":  {-1e-300, nil},
		"float64, -0":     {math.Copysign(0, -1), nil},
		"maps and lists":  {deep, nil},
		"int64":           {int64(7), 7},
		"uint8":           {uint8(7), 7},
		"uint64, largest": {uint64(math.MaxUint64), nil},
		"float32":         {float32(0.5), 0.5},
		"float32, whole":  {float32(2), 2.0},
		"named text":      {text("a"), "a"},
		"struct":          {point{1, 2.5}, map[string]interface{}{"X": 1, "Y": 2.5}},
		"strings":         {[]string{"a"}, []interface{}{"a"}},
		"bytes":           {[]byte("a"), "YQ=="},
		"time":            {time.Date(2026, 11, 27, 1, 2, 3, 0, time.UTC), "2026-11-27T01:02:03Z"},
		"number":          {json.Number("123456789012345678901234567890"), nil},
		"raw":             {json.RawMessage(`{"a":1}`), map[string]interface{}{"a": 1}},
		"nil map":         {map[string]interface{}(nil), "none"},
		"nil":             {nil, "none"},
		"nil pointer":     {(*point)(nil), "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := session.JSONEncoder(session.Data{"key": test.val})
			require.NoError(t, err)
			require.True(t, json.Valid(raw), "%s", raw)
			got, err := session.JSONDecoder(raw)
			require.NoError(t, err)
			want := test.want
			switch want {
			case nil:
				want = test.val
			case "none":
				require.Nil(t, got["key"])
				return
			}
			require.Equal(t, want, got["key"], "%s", raw)
			if f, ok := want.(float64); ok {
				require.Equal(t, math.Signbit(f), math.Signbit(got["key"].(float64)))
			}
		})
	}
}

func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	type node struct{ Next *node }
	ring, self := new(node), map[string]interface{}{}
	ring.Next, self["self"] = ring, self
	for _, test := range []struct {
		key, val interface{}
		want     string
	}{
		{7, "a", `encode: the key "7" is a int, and a key of JSON is a string`},
		{"k", "canary\xff", `encode the value of type string under key "k": it holds text that is not UTF-8`},
		{"canary\xff", 1, `it holds text that is not UTF-8`},
		{"k", struct{ S string }{"canary\xff"}, `it holds text that is not UTF-8`},
		{"k", []interface{}{math.NaN()}, `encode the value of type []interface {} under key "k": a number is infinite or none`},
		{"k", math.Inf(-1), `a number is infinite or none`},
		{"k", make(chan int), `json: unsupported type: chan int`},
		{"k", self, `it is nested deeper than 1,000 levels`},
		{"k", ring, `it holds itself`},
		{"k", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), `the MarshalJSON or MarshalText of time.Time has failed`},
	} {
		_, err := session.JSONEncoder(session.Data{test.key: test.val})
		require.ErrorContains(t, err, test.want)
		if test.key == "k" {
			require.NotContains(t, err.Error(), "canary")
		}
	}
	for raw, want := range map[string]string{
		"": "no JSON object", "null": "no JSON object", "[]": "no JSON object", `{"a":`: "no JSON object", "7": "no JSON object",
		`{"a":1} {"b":2}`: "something follows", `{"a":1}]`: "something follows", `{"a":1}x`: "something follows",
		`{"a":1e999}`: "too large", `{"a":[{"b":-1e999}]}`: "too large", "{\"a\":\"\xff\"}": "not UTF-8",
		strings.Repeat(`{"a":`, 20_000):                                             "no JSON object",
		`{"a":` + strings.Repeat("[", 1000) + "1" + strings.Repeat("]", 1000) + `}`: "deeper than 1,000 levels",
	} {
		got, err := session.JSONDecoder([]byte(raw))
		require.ErrorContains(t, err, want, raw)
		require.Nil(t, got)
	}
}

// celsius is a number that writes itself as a text.
type celsius float64

func (c celsius) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d °C", int(c)), nil }

// branch is a map of its own type, with text as the names.
type branch map[branchName]branch

type branchName string

func (n branchName) MarshalText() ([]byte, error) {
	if n == "canary" {
		return nil, errors.New("canary")
	}
	return []byte(n), nil
}

func branchOf(levels int) branch {
	top := branch{}
	for range levels {
		top = branch{"a": top}
	}
	return top
}

// TestJSONByMethods: what a method of the app or encoding/json writes comes back, or is an error of the save. A
// single value that the decoder refuses would cost the whole session.
func TestJSONByMethods(t *testing.T) {
	t.Parallel()
	for name, val := range map[string]interface{}{
		"text of a float":    celsius(5),
		"text in a list":     []interface{}{celsius(5)},
		"deep":               branchOf(990),
		"deeper":             branchOf(1100),
		"deepest":            branchOf(12_000),
		"deep list":          json.RawMessage(strings.Repeat("[", 1100) + strings.Repeat("]", 1100)),
		"not UTF-8":          json.RawMessage("\"canary\xff\""),
		"large number":       json.Number("1e999"),
		"large number, deep": json.RawMessage(`[{"canary":1e999}]`),
		"no number":          json.Number("canary"),
		"name of a map":      branch{"canary": nil, "b": nil},
	} {
		raw, err := session.JSONEncoder(session.Data{"key": val})
		if err != nil {
			require.ErrorContains(t, err, `under key "key": `, name)
			require.NotContains(t, err.Error(), "canary", name)
			require.NotContains(t, []string{"text of a float", "text in a list", "deep"}, name)
			continue
		}
		back, err := session.JSONDecoder(raw)
		require.NoError(t, err, name)
		again, err := session.JSONEncoder(back)
		require.NoError(t, err, name)
		require.JSONEq(t, string(raw), string(again), name)
	}
}

// An app moves from gob to JSON and back, and keeps its sessions.
func TestGobOrJSON(t *testing.T) {
	t.Parallel()
	b := mapbackend.New()
	open := func(e session.Encoder, d session.Decoder) *app {
		a := newApp(t, session.Options{OwnerKey: "user", Initer: func(context.Context, ...interface{}) (session.Store, error) {
			return session.NewStore(b, session.StoreConfig{Encoder: e, Decoder: d}), nil
		}})
		a.Get("/set", func(r *http.Request, s session.Session) { s.Set(r.URL.RawQuery, 7); s.Set("user", 1) })
		a.Get("/get", func(r *http.Request, s session.Session) string {
			if val, _ := session.Value[int](s, r.URL.RawQuery); val != 7 {
				t.Errorf("%s is %v", r.URL.RawQuery, s.Get(r.URL.RawQuery))
			}
			return "ok"
		})
		return a
	}
	both, cookie := session.Decoder(session.GobOrJSONDecoder), ""
	for i, step := range []struct {
		e session.Encoder
		d session.Decoder
	}{{nil, nil}, {nil, both}, {session.JSONEncoder, both}, {session.JSONEncoder, session.JSONDecoder}, {session.JSONEncoder, both}, {nil, both}, {nil, nil}} {
		a := open(step.e, step.d)
		a.cookie = cookie
		if i > 0 {
			a.get("/get?0")
		}
		a.get("/set?" + string(rune('0'+i)))
		cookie = a.cookie
		a.get("/get?" + string(rune('0'+i)))
		for _, rec := range b.Records {
			isJSON := json.Valid(rec.Data)
			require.Equal(t, step.e != nil, isJSON, "step %d", i)
		}
	}
	require.Len(t, b.Records, 1)
}

func FuzzGobOrJSON(f *testing.F) {
	gob, err := session.GobEncoder(session.Data{"a": 1, "b": []string{"c"}})
	require.NoError(f, err)
	for _, raw := range []string{string(gob), `{"a":1}`, ` {"a":[1.0,1e3,{"b":null}]}`, `{}`, `{"a":123456789012345678901}`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		data, err := session.JSONDecoder(raw)
		if err != nil {
			require.Nil(t, data)
			_, _ = session.GobOrJSONDecoder(raw)
			return
		}
		again, err := session.JSONEncoder(data)
		require.NoError(t, err)
		both, err := session.GobOrJSONDecoder(again)
		require.NoError(t, err)
		for key, val := range data {
			if val == nil {
				delete(data, key)
			}
		}
		require.Equal(t, data, both)
	})
}
