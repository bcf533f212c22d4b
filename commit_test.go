package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// fromJSON decodes what an Encoder of JSON has made.
func fromJSON(raw []byte) (session.Data, error) {
	m := make(map[string]interface{})
	err := json.Unmarshal(raw, &m)
	data := make(session.Data)
	for key, val := range m {
		data[key] = val
	}
	return data, err
}

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
	for name, config := range map[string]session.StoreConfig{"gob": {}, "own codec": {Encoder: toStrings, Decoder: fromJSON}} {
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

// A decoder that fails for a moment, as one may that asks a server for a key, loses
// nothing that could be decoded when the session was read.
func TestDecoderFailsDuringACommit(t *testing.T) {
	ctx := context.Background()
	fails := false
	store := session.NewStore(mapbackend.New(), session.StoreConfig{Decoder: func(raw []byte) (session.Data, error) {
		if fails {
			return nil, errors.New("the key server does not answer")
		}
		return session.GobDecoder(raw)
	}})
	save(t, store, "abcdef", "user", 7, "roles", []string{"admin"})
	s, err := store.Read(ctx, "abcdef")
	require.NoError(t, err)
	fails = true
	s.Set("seen", 1)
	require.NoError(t, store.Save(ctx, s))
	fails = false
	require.Equal(t, 7, get(t, store, "abcdef", "user"))
	require.Equal(t, []string{"admin"}, get(t, store, "abcdef", "roles"))
	require.Equal(t, 1, get(t, store, "abcdef", "seen"))
}

// Nor does it lose what another request of this process has written meanwhile, which no
// round trip has looked at.
func TestDecoderFailsAfterACommit(t *testing.T) {
	ctx := context.Background()
	for name, raw := range map[string][]byte{"readable": plainEncode(t, session.Data{"user": 7}), "unreadable": []byte("{")} {
		t.Run(name, func(t *testing.T) {
			fails := false
			b := mapbackend.New()
			store := session.NewStore(b, session.StoreConfig{Decoder: func(raw []byte) (session.Data, error) {
				if fails {
					return nil, errors.New("the key server does not answer")
				}
				return session.GobDecoder(raw)
			}})
			b.Put("abcdef", session.Record{Data: raw, TTL: time.Hour})
			first, _ := store.Read(ctx, "abcdef")
			second, _ := store.Read(ctx, "abcdef")
			first.Set("first", 1)
			require.NoError(t, store.Save(ctx, first))
			fails = true
			second.Set("second", 2)
			require.ErrorContains(t, store.Save(ctx, second), "the key server does not answer")
			fails = false
			require.Equal(t, 1, get(t, store, "abcdef", "first"))
			require.NoError(t, store.Save(ctx, second))
			require.Equal(t, 1, get(t, store, "abcdef", "first"))
			require.Equal(t, 2, get(t, store, "abcdef", "second"))
		})
	}
}

// A session in which no value has changed keeps its bytes, also under a new ID: they
// may say more than the decoder of this process understands.
func TestUnchangedBytesStay(t *testing.T) {
	ctx := context.Background()
	b := mapbackend.New()
	store := session.NewStore(b, session.StoreConfig{
		Encoder: func(session.Data) ([]byte, error) { return nil, errors.New("nothing is to be encoded") },
		Decoder: fromJSON,
	})
	const raw = `{"id":9007199254740993,"list":[1]}`
	b.Put("abcdef", session.Record{Data: []byte(raw), TTL: time.Hour})
	s, err := store.Read(ctx, "abcdef")
	require.NoError(t, err)
	require.NoError(t, store.Save(ctx, s))
	require.NoError(t, s.RegenerateID(nil, nil))
	require.NoError(t, store.Save(ctx, s))
	rec, found, err := b.Load(ctx, s.ID())
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, raw, string(rec.Data))
	require.False(t, store.Exist(ctx, "abcdef"))
	require.NotNil(t, s.Get("list"))
}
