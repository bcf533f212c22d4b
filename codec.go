package session

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"time"

	"github.com/flamego/session/internal/gobmap"
)

// Encoder encodes the data of a session. It may be called in parallel and does
// not change the data.
type Encoder func(Data) ([]byte, error)

// Decoder decodes what an Encoder made. It may be called in parallel; the bytes
// may be anything. The result is the caller's.
type Decoder func([]byte) (Data, error)

// Values that sessions commonly hold work without gob.Register in the app. A
// second registration of the same type by the app does no harm. Package gobmap reads
// and writes these types, the basic ones and slices of them by itself, which is faster
// than encoding/gob.
func init() {
	for _, val := range []interface{}{
		time.Time{},
		time.Duration(0),
		[]interface{}{},
		map[string]interface{}{},
		map[string]string{},
		map[string]bool{},
		map[string]int{},
		map[string][]string{},
		map[interface{}]interface{}{},
	} {
		gob.Register(val)
	}
}

// GobEncoder encodes data as package encoding/gob does. Values of types beyond
// Go's basic ones, slices of those, time.Time, time.Duration and plain maps
// must be registered by gob.Register; the error for one that is not, or that
// gob cannot encode at all, names its key and type. A key whose value is nil is
// left out: Get returns nil either way.
//
// What GobDecoder would refuse is an error here already: data nested deeper than
// 1,000 levels, which includes data that holds itself, and data that takes much
// more memory than bytes, as half a million empty strings do. One case is not caught:
// a value of a registered type that holds itself overflows the stack in gob, which
// ends the process.
func GobEncoder(data Data) ([]byte, error) {
	raw, err := encodeGob(data)
	if err == nil {
		return raw, nil
	}
	for key, val := range data {
		if _, err := encodeGob(Data{key: val}); err != nil {
			return nil, fmt.Errorf("encode the value of type %T under key %q: %w", val, fmt.Sprint(key), err)
		}
	}
	return nil, fmt.Errorf("encode: %w", err)
}

func encodeGob(data Data) ([]byte, error) {
	raw, err := gobmap.Write(data)
	// No message of common types takes too much memory below this size.
	const small = 64 << 10
	if err == nil && len(raw) <= small {
		return raw, nil
	}
	if errors.Is(err, gobmap.ErrOther) {
		raw, err = encodePlainGob(data)
	}
	if err == nil {
		err = gobmap.Readable(raw)
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

func encodePlainGob(data Data) ([]byte, error) {
	for _, val := range data {
		if val == nil {
			data = maps.Clone(data)
			maps.DeleteFunc(data, func(_, val interface{}) bool { return val == nil })
			break
		}
	}
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(data)
	return buf.Bytes(), err
}

// GobDecoder decodes what GobEncoder or encoding/gob made. It returns an error
// for bytes that are no gob of a map, for values of unregistered types and for
// keys that a map cannot hold. It also refuses what gob would decode, if that
// takes more than about 4 MiB of memory and 8 times the number of bytes, or is
// nested deeper than 1,000 levels; the bytes may be hostile. What the methods
// GobDecode and UnmarshalBinary of registered types do is up to them.
func GobDecoder(raw []byte) (data Data, err error) {
	if m, ok := gobmap.Read(raw); ok {
		return m, nil
	}
	// An unhashable key makes gob panic, and so may methods of registered types.
	defer func() {
		switch v := recover().(type) {
		case nil:
		case runtime.Error:
			data, err = nil, fmt.Errorf("decode: %w", v)
		default:
			data, err = nil, fmt.Errorf("decode: %T", v)
		}
	}()
	data = make(Data)
	if err = gobmap.Check(raw); err == nil {
		err = gob.NewDecoder(bytes.NewReader(raw)).Decode(&data)
	}
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return data, nil
}
