package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// A value that a handler changes in place is changed for this request, and not
// stored, whatever else is set and whoever else commits at the same time.
func TestChangedInPlace(t *testing.T) {
	ctx := context.Background()
	toStrings := func(data session.Data) ([]byte, error) {
		m := make(map[string]interface{})
		for key, val := range data {
			m[fmt.Sprint(key)] = val
		}
		return json.Marshal(m)
	}
	fromStrings := func(raw []byte) (session.Data, error) {
		m := make(map[string]interface{})
		err := json.Unmarshal(raw, &m)
		data := make(session.Data)
		for key, val := range m {
			data[key] = val
		}
		return data, err
	}
	for name, config := range map[string]session.StoreConfig{"gob": {}, "own codec": {Encoder: toStrings, Decoder: fromStrings}} {
		t.Run(name, func(t *testing.T) {
			store := session.NewStore(mapbackend.New(), config)
			read := func() session.Session {
				s, err := store.Read(ctx, "abc")
				require.NoError(t, err)
				return s
			}
			inner := func(s session.Session) map[string]interface{} { return s.Get("m").(map[string]interface{}) }
			first := session.NewBaseSessionWithData("abc", nil, nil, session.Data{"m": map[string]interface{}{"a": "stored"}, "n": "1"})
			require.NoError(t, store.Save(ctx, first))

			for _, contended := range []bool{false, true} {
				s := read()
				inner(s)["a"] = "changed"
				require.Equal(t, "changed", inner(s)["a"], "the same value each time")
				s.Set("k", "1")
				if contended {
					other := read()
					other.Set("other", "1")
					require.NoError(t, store.Save(ctx, other))
				}
				require.NoError(t, store.Save(ctx, s))
				require.Equal(t, "stored", inner(read())["a"])

				// The same for what it set itself, once that is stored.
				own := map[string]interface{}{"b": "set"}
				s.Set("own", own)
				own["b"] = "changed before the commit"
				require.NoError(t, store.Save(ctx, s))
				own["b"] = "changed after it"
				s.Set("k", "2")
				require.NoError(t, store.Save(ctx, s))
				require.Equal(t, map[string]interface{}{"b": "changed before the commit"}, read().Get("own"))
				require.Equal(t, "stored", inner(read())["a"])
			}

			s := read()
			inner(s)["a"] = "changed"
			require.NoError(t, store.Save(ctx, s), "with nothing set")
			require.Equal(t, "stored", inner(read())["a"])
		})
	}
}
