package session

import (
	"fmt"
	"reflect"

	"github.com/flamego/session/internal/gobmap"
)

// Encoder encodes the data of a session. It may be called in parallel and does
// not change the data.
type Encoder func(Data) ([]byte, error)

// Decoder decodes what an Encoder made. It may be called in parallel; the bytes may be
// anything. The caller may change the result. If there is an error, the result counts only if
// the error is, or wraps, one of [GobDecoder] that came with a part of the data.
type Decoder func([]byte) (Data, error)

// GobEncoder encodes data as package encoding/gob does. Values of types beyond
// Go's basic ones, slices of those, time.Time, time.Duration and plain maps
// must be registered by gob.Register; the error for one that is not, or that
// gob cannot encode at all, names its key and type. A key whose value is nil is
// left out: Get returns nil either way.
//
// What GobDecoder would refuse is an error here already: data nested deeper than 1,000 levels,
// which includes data that holds itself, and data that takes much more memory than its encoded
// bytes, such as half a million empty strings. One case is not caught: a value of a registered
// type that holds itself overflows the stack in gob, which ends the process.
//
// An app may register time.Time, time.Duration and the plain maps as well, also under
// names of its own, before the first session is read or saved. Data with such a value is then
// encoded by gob, under that name.
func GobEncoder(data Data) ([]byte, error) {
	raw, err := gobmap.Encode(data)
	if err == nil {
		return raw, nil
	}
	for key, val := range data {
		if _, err := gobmap.Encode(Data{key: val}); err != nil {
			return nil, fmt.Errorf("encode the value of type %T under key %q: %w", val, fmt.Sprint(key), err)
		}
	}
	return nil, fmt.Errorf("encode: %w", err)
}

// GobDecoder decodes what GobEncoder or encoding/gob made. It returns an error for bytes that
// are no gob of a map, for values of unregistered types and for keys that a map cannot hold.
// The bytes may be hostile. So it also refuses data that is nested deeper than 1,000 levels,
// and data that takes more memory than 8 times its bytes and than about 4 MiB. What the methods
// GobDecode and UnmarshalBinary of registered types do is up to them.
//
// If it can decode some of the keys and not others, as in a process that does not know a
// type yet, it returns those that it can decode and an error, which names a key and its
// type. A Decoder that calls it should return both, or wrap the error: then the store
// knows that there is more, and loses nothing of it.
func GobDecoder(raw []byte) (Data, error) {
	data, err := gobmap.Decode(raw)
	if err != nil && data == nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return data, err
}

// isGobEncoder reports whether an Encoder is GobEncoder itself.
func isGobEncoder(e Encoder) bool {
	return reflect.ValueOf(e).Pointer() == reflect.ValueOf(GobEncoder).Pointer()
}
