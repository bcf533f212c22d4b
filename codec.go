package session

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"maps"
	"time"
)

// Encoder encodes the data of a session. It may be called in parallel and does
// not change the data.
type Encoder func(Data) ([]byte, error)

// Decoder decodes what an Encoder made. It may be called in parallel; the bytes
// may be anything. The result is the caller's.
type Decoder func([]byte) (Data, error)

// Values that sessions commonly hold work without gob.Register in the app. A
// second registration of the same type by the app does no harm.
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
// gob cannot encode at all, names its key and type. Gob knows no nil: a key
// whose value is nil is left out, which Get cannot tell apart.
func GobEncoder(data Data) ([]byte, error) {
	for _, val := range data {
		if val == nil {
			data = maps.Clone(data)
			maps.DeleteFunc(data, func(_, val interface{}) bool { return val == nil })
			break
		}
	}

	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(data)
	if err == nil {
		return buf.Bytes(), nil
	}
	for key, val := range data {
		if gob.NewEncoder(&bytes.Buffer{}).Encode(Data{key: val}) != nil {
			return nil, fmt.Errorf("encode the value of type %T under key %q: %w", val, fmt.Sprint(key), err)
		}
	}
	return nil, fmt.Errorf("encode: %w", err)
}

// GobDecoder decodes what GobEncoder made. It returns an error for bytes that
// are no gob of a map, for values of unregistered types and for keys that a map
// cannot hold.
func GobDecoder(raw []byte) (data Data, err error) {
	// Gob trusts the sizes it reads: a map that is there already is not made in
	// the size that the bytes claim. An unhashable key makes it panic.
	defer func() {
		if v := recover(); v != nil {
			data, err = nil, fmt.Errorf("decode: %T", v)
		}
	}()
	data = make(Data)
	if err = gob.NewDecoder(bytes.NewReader(raw)).Decode(&data); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return data, nil
}
