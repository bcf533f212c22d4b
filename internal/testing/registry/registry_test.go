// Package registry tests what an app may register with encoding/gob. It has a package of
// its own since nothing else in it registers anything, and each test runs in a process of
// its own since nothing is ever forgotten.
package registry

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/child"
)

// values are one of each type that the library reads and writes without gob, and that gob
// does not know by itself.
var values = []interface{}{
	time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Hour,
	[]interface{}{1, "a"}, map[string]interface{}{"a": 1}, map[interface{}]interface{}{1: "a"},
	map[string]string{"a": "b"}, map[string]bool{"a": true}, map[string]int{"a": 1}, map[string][]string{"a": {"b"}},
}

type (
	user struct{ Any interface{} }
	ints map[string]int
)

// inProcess runs f in a process of its own.
func inProcess(t *testing.T, f func(t *testing.T)) {
	const env = "SESSION_TEST_IN_PROCESS"
	if os.Getenv(env) != "" {
		f(t)
		return
	}
	child.Start(t, env+"=1").Wait()
}

func encode(t *testing.T, data session.Data) []byte {
	t.Helper()
	raw, err := session.GobEncoder(data)
	require.NoError(t, err)
	return raw
}

// requireDecoded checks that the library and, where it must, plain gob decode the data.
func requireDecoded(t *testing.T, data session.Data, raw []byte, plain bool) {
	t.Helper()
	got, err := session.GobDecoder(raw)
	require.NoError(t, err)
	require.Equal(t, data, got)
	if plain {
		m := make(map[interface{}]interface{})
		require.NoError(t, gob.NewDecoder(bytes.NewReader(raw)).Decode(&m))
		require.Equal(t, map[interface{}]interface{}(data), m)
	}
}

func nameOf(i int) string { return fmt.Sprint("name of the app ", i) }

func registerNames(t *testing.T) {
	t.Helper()
	for i, val := range values {
		require.NotPanics(t, func() { gob.RegisterName(nameOf(i), val) })
	}
}

// What an app has registered under a name of its own is written under that name, as a
// process without this library knows no other.
func TestNamesOfTheApp(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		registerNames(t)
		gob.Register(user{})
		all := session.Data{"n": 1}
		for i, val := range values {
			data := session.Data{"v": val, "n": 1}
			raw := encode(t, data)
			require.True(t, bytes.Contains(raw, []byte(nameOf(i))))
			requireDecoded(t, data, raw, true)
			all[i], all[fmt.Sprint("inside", i)] = val, []interface{}{user{val}, map[string]interface{}{"v": val}}
		}
		requireDecoded(t, all, encode(t, all), true)
	})
}

// The same if the data itself is deep, which must not exhaust the stack in gob.
func TestNamesOfTheAppInDeepData(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		registerNames(t)
		itself := map[string]interface{}{}
		itself["again"] = []interface{}{itself}
		_, err := session.GobEncoder(session.Data{"culprit": itself})
		require.ErrorContains(t, err, `"culprit"`)
	})
}

// What was written under the usual names is read all the same.
func TestUsualNames(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		raw := make(map[int][]byte)
		for i, val := range values {
			raw[i] = encode(t, session.Data{"v": val})
		}
		registerNames(t)
		for i, val := range values {
			requireDecoded(t, session.Data{"v": val}, raw[i], false)
		}
	})
}

// To read and write these types nothing is registered. Nor is it by what cannot be done.
func TestNothingIsRegistered(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		for _, val := range values {
			data := session.Data{"v": val}
			requireDecoded(t, data, encode(t, data), false)
			_, err := session.GobEncoder(session.Data{"culprit": user{val}})
			require.ErrorContains(t, err, "user")
		}
		registerNames(t)
	})
}

// Of the types, those are registered that gob needs, wherever it comes upon them.
func TestWhatGobNeeds(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		gob.Register(user{})
		for i, val := range values {
			for _, data := range []session.Data{{"u": user{val}}, {"u": user{}, "v": val}, {"u": []interface{}{user{val}}}} {
				requireDecoded(t, data, encode(t, data), true)
			}
			require.Panics(t, func() { gob.RegisterName(nameOf(i), val) }, "gob needs it, and has it")
			require.NotPanics(t, func() { gob.Register(val) })
		}
	})
}

// The types are registered one by one.
func TestWhatGobDoesNotNeed(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		gob.Register(user{})
		data := session.Data{"u": user{time.Hour}}
		raw := encode(t, data)
		requireDecoded(t, data, raw, true)
		for i, val := range values {
			if _, ok := val.(time.Duration); !ok {
				require.NotPanics(t, func() { gob.RegisterName(nameOf(i), val) })
			}
		}
	})
}

// A process that has registered none of the types reads what gob has written, alone and
// beside what is for gob.
func TestWhatGobHasWritten(t *testing.T) {
	const env = "SESSION_TEST_WRITTEN"
	gob.Register(user{})
	if written := os.Getenv(env); written != "" {
		for i, text := range strings.Fields(written) {
			raw, err := hex.DecodeString(text)
			require.NoError(t, err)
			requireDecoded(t, session.Data{"v": values[i], "u": user{values[i]}}, raw, false)
		}
		return
	}
	var written []string
	for _, val := range values {
		gob.Register(val)
		var buf bytes.Buffer
		require.NoError(t, gob.NewEncoder(&buf).Encode(session.Data{"v": val, "u": user{val}}))
		written = append(written, hex.EncodeToString(buf.Bytes()))
	}
	require.Len(t, written, len(values))
	child.Start(t, env+"="+strings.Join(written, " ")).Wait()
}

// A name that the app has given to another type is that of this type.
func TestTakenName(t *testing.T) {
	inProcess(t, func(t *testing.T) {
		raw := encode(t, session.Data{"v": map[string]bool{"a": true}})
		gob.RegisterName("map[string]int", ints{})
		data := session.Data{"v": ints{"a": 1}, "n": 1}
		requireDecoded(t, data, encode(t, data), true)
		_, err := session.GobEncoder(session.Data{"v": map[string]int{"a": 1}, "n": 1})
		require.ErrorContains(t, err, `the value of type map[string]int under key "v"`)
		requireDecoded(t, session.Data{"v": map[string]bool{"a": true}}, raw, false)
	})
}
