package session

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSONEncoder encodes data as a JSON object (RFC 8259), which programs in other languages can read
// and databases can look into. It is an Encoder for the Config of a store, with [JSONDecoder], or with
// [GobOrJSONDecoder] where sessions are stored by gob already.
//
// JSON knows fewer types than Go does. So it is for data that is text, numbers, true or false, and maps and
// lists of those:
//
//   - Text, bool, int and float64 come back as they went, also in a map[string]interface{} and in a
//     []interface{}. The text must be valid UTF-8.
//   - Other integers come back as an int, or as an int64 or a uint64 where an int has no room. A float32
//     comes back as a float64.
//   - A struct and any other map come back as a map[string]interface{}, and any other list as a
//     []interface{}. Numbers in them are written by encoding/json: there 7.0 is 7, which comes back as
//     an int.
//   - A []byte comes back as a string of base64, and a time.Time as a string (RFC 3339).
//
// An owner (Options.OwnerKey) is the same in all of these forms. For a flash the same holds as for any
// other value.
//
// An error names the key and the type of what cannot be encoded: a key that is no string, text that is
// not UTF-8, a number that is infinite, none or too large, a type that encoding/json refuses, and data
// nested deeper than 1,000 levels; also where a method of the app has written it. A key whose value is
// nil is left out: Get returns nil either way.
func JSONEncoder(data Data) ([]byte, error) {
	object := make(map[string]interface{}, len(data))
	for key, val := range data {
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("encode: the key %q is a %T, and a key of JSON is a string", fmt.Sprint(key), key)
		}
		if val != nil {
			object[name] = val
		}
	}
	out := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(object)) {
		var err error
		if out, err = appendMember(out, i, name, object[name], 1); err != nil {
			return nil, fmt.Errorf("encode the value of type %T under key %q: %w", object[name], name, err)
		}
	}
	return append(out, '}'), nil
}

// maxJSONDepth is that of GobEncoder.
const maxJSONDepth = 1000

var (
	errDeep = errors.New("it is nested deeper than 1,000 levels")
	errUTF8 = errors.New("it holds text that is not UTF-8")
)

// appendMember appends a member of an object, which is the i-th one.
func appendMember(out []byte, i int, name string, val interface{}, depth int) ([]byte, error) {
	if i > 0 {
		out = append(out, ',')
	}
	out, err := appendJSON(out, name, depth)
	if err != nil {
		return nil, err
	}
	return appendJSON(append(out, ':'), val, depth)
}

// appendJSON appends a value. What it does not know is for encoding/json. It sees to the floats that
// encoding/json would write as integers.
func appendJSON(out []byte, val interface{}, depth int) (_ []byte, err error) {
	if depth > maxJSONDepth {
		return nil, errDeep
	}
	switch val := val.(type) {
	case map[string]interface{}:
		if val == nil {
			return append(out, "null"...), nil
		}
		out = append(out, '{')
		for i, name := range slices.Sorted(maps.Keys(val)) {
			if out, err = appendMember(out, i, name, val[name], depth+1); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	case []interface{}:
		if val == nil {
			return append(out, "null"...), nil
		}
		out = append(out, '[')
		for i, element := range val {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendJSON(out, element, depth+1); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(val); err != nil {
		return nil, jsonError(err)
	}
	text := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if replacesText(text) {
		return nil, errUTF8
	}
	if !isBasic(val) { // a method of the app may have written what JSONDecoder refuses
		if err := checkJSON(text, depth); err != nil {
			return nil, err
		}
	}
	out = append(out, text...)
	if isFloat(val) && !bytes.ContainsAny(text, ".e") {
		out = append(out, ".0"...)
	}
	return out, nil
}

// checkJSON returns an error for a value that JSONDecoder would refuse at a depth.
func checkJSON(text []byte, depth int) error {
	if !utf8.Valid(text) {
		return errUTF8
	}
	var val interface{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&val) != nil { // encoding/json has written it, so it is well formed
		return errDeep
	}
	_, err := withNumbers(val, depth)
	return err
}

// isBasic reports whether a value has one of Go's own types, which have no methods.
func isBasic(val interface{}) bool {
	switch val.(type) {
	case nil, string, bool, float64, float32, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		return true
	}
	return false
}

// isFloat reports whether a value is written as a number that may have a fraction.
func isFloat(val interface{}) bool {
	switch val.(type) {
	case json.Marshaler, encoding.TextMarshaler, nil:
		return false
	}
	kind := reflect.TypeOf(val).Kind()
	return kind == reflect.Float32 || kind == reflect.Float64
}

// replacesText reports whether encoding/json has put the escape of U+FFFD in place of a byte that is not
// UTF-8. A U+FFFD that the text really has it writes as it is.
func replacesText(text []byte) bool {
	if !bytes.Contains(text, []byte(`\ufffd`)) {
		return false
	}
	return bytes.Contains(bytes.ReplaceAll(text, []byte(`\\`), nil), []byte(`\ufffd`))
}

// jsonError returns an error of encoding/json whose text shows no value.
func jsonError(err error) error {
	var value *json.UnsupportedValueError
	var marshaler *json.MarshalerError
	var unsupported *json.UnsupportedTypeError
	switch {
	case errors.As(err, &value) && value.Value.Kind() != reflect.Float64 && value.Value.Kind() != reflect.Float32:
		return errors.New("it holds itself")
	case errors.As(err, &value):
		return errors.New("a number is infinite or none")
	case errors.As(err, &marshaler):
		return fmt.Errorf("the MarshalJSON or MarshalText of %v has failed", marshaler.Type)
	case errors.As(err, &unsupported):
		return err
	}
	return errors.New("encoding/json refuses it")
}

// JSONDecoder decodes what [JSONEncoder] made, or any other JSON object: a number without a fraction and
// an exponent is an int, or an int64, a uint64 or a json.Number where that has no room, and any other
// number a float64. It returns an error for bytes that are no JSON object, for text that is not UTF-8,
// for a number that is too large for a float64, and for data nested deeper than 1,000 levels. Data may
// take some 30 times the memory of its bytes, of which StoreConfig.MaxDataSize sets a limit.
func JSONDecoder(raw []byte) (Data, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("decode: the JSON is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var object map[string]interface{}
	if err := d.Decode(&object); err != nil || object == nil {
		return nil, errors.New("decode: it is no JSON object")
	}
	if d.More() || d.InputOffset() < int64(len(bytes.TrimRight(raw, " \t\r\n"))) {
		return nil, errors.New("decode: something follows the JSON object")
	}
	data := make(Data, len(object))
	for name, val := range object {
		val, err := withNumbers(val, 1)
		if err != nil {
			return nil, fmt.Errorf("decode the value under key %q: %w", name, err)
		}
		data[name] = val
	}
	return data, nil
}

// withNumbers returns a value with numbers of Go, which it puts into maps and lists in place.
func withNumbers(val interface{}, depth int) (_ interface{}, err error) {
	if depth > maxJSONDepth {
		return nil, errDeep
	}
	switch val := val.(type) {
	case json.Number:
		return number(val)
	case map[string]interface{}:
		for name, member := range val {
			if val[name], err = withNumbers(member, depth+1); err != nil {
				return nil, err
			}
		}
	case []interface{}:
		for i, element := range val {
			if val[i], err = withNumbers(element, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return val, nil
}

func number(n json.Number) (interface{}, error) {
	text := n.String()
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errors.New("a number is too large")
		}
		return f, nil
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		if i < math.MinInt || i > math.MaxInt {
			return i, nil
		}
		return int(i), nil
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return u, nil
	}
	return n, nil
}

// GobOrJSONDecoder decodes what [GobEncoder] or [JSONEncoder] made. With it an app moves from one to the
// other and keeps its sessions: first all instances get this Decoder, then the other Encoder. A session that
// is only read stays as it is, so the Decoder has to stay, too. What is neither is an error of GobDecoder.
func GobOrJSONDecoder(raw []byte) (Data, error) {
	if isJSON(raw) {
		return JSONDecoder(raw)
	}
	return GobDecoder(raw)
}

// isJSON tells JSON from gob. A map in gob begins with the definition of its type: the length of the
// definition, and then 0xFF, as the number of the type is below -64.
func isJSON(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 1 && raw[0] == '{' && raw[1] < utf8.RuneSelf
}
