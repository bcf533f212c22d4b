package gobmap_test

import (
	"math"
	"reflect"
	"strings"
	"time"
)

// A builder makes values of bytes.
type builder struct{ src []byte }

func (b *builder) next() byte {
	if len(b.src) == 0 {
		return 0
	}
	c := b.src[0]
	b.src = b.src[1:]
	return c
}

func (b *builder) num() (u uint64) {
	for range b.next() % 9 {
		u = u<<8 | uint64(b.next())
	}
	return u
}

func (b *builder) text() string {
	n := min(int(b.next())%40, len(b.src))
	s := string(b.src[:n])
	b.src = b.src[n:]
	return s
}

func (b *builder) float() float64 {
	f := math.Float64frombits(b.num())
	switch b.next() % 8 {
	case 0:
		return math.Copysign(0, -1)
	case 1:
		return math.NaN()
	case 2:
		return float64(int8(b.next()))
	}
	return f
}

func (b *builder) time() time.Time {
	zone := time.UTC
	if n := int16(b.num()); n%3 != 0 && n/60 != -1 { // this one cannot be encoded
		zone = time.FixedZone("", int(n))
	}
	return time.Unix(int64(b.num()>>20), int64(b.next())).In(zone)
}

// basic returns a value that can also be a key.
func (b *builder) basic() interface{} {
	switch b.next() % 20 {
	case 0:
		return b.next()%2 == 0
	case 1:
		return int(b.num())
	case 2:
		return int8(b.num())
	case 3:
		return int16(b.num())
	case 4:
		return int32(b.num())
	case 5:
		return int64(b.num())
	case 6:
		return uint(b.num())
	case 7:
		return uint8(b.num())
	case 8:
		return uint16(b.num())
	case 9:
		return uint32(b.num())
	case 10:
		return b.num()
	case 11:
		return uintptr(b.num())
	case 12:
		return float32(b.float())
	case 13:
		return b.float()
	case 14:
		return complex64(complex(float32(b.float()), float32(b.float())))
	case 15:
		return complex(b.float(), b.float())
	case 16:
		return time.Duration(b.num())
	case 17:
		return b.time()
	default:
		return b.text()
	}
}

func (b *builder) key() interface{} {
	key := b.basic()
	if b.next()%16 == 0 {
		key = gobString(b.text())
	}
	if key != key { // a NaN is not equal to itself, nor found again
		return "NaN"
	}
	return key
}

func (b *builder) value(depth int) interface{} {
	if depth > 5 {
		return b.basic()
	}
	n := int(b.next()) % 5
	switch kind := b.next() % 24; kind {
	case 0:
		return nil
	case 1:
		return []byte(b.text())
	case 2:
		return strings.Split(b.text(), "a")
	case 3:
		list := make([]interface{}, n)
		for i := range list {
			list[i] = b.value(depth + 1)
		}
		return list
	case 4:
		m := make(map[string]interface{})
		for range n {
			m[b.text()] = b.value(depth + 1)
		}
		return m
	case 5:
		m := make(map[interface{}]interface{})
		for range n {
			m[b.key()] = b.value(depth + 1)
		}
		return m
	case 6:
		return map[string]string{b.text(): b.text(), "": b.text()}
	case 7:
		return map[string]bool{b.text(): n == 1}
	case 8:
		return map[string]int{b.text(): int(b.num())}
	case 9:
		return map[string][]string{b.text(): {b.text(), ""}, "x": nil}
	case 10:
		return []interface{}{[]string(nil), []byte(nil), map[string]string(nil), map[string]interface{}(nil), []interface{}(nil)}[n]
	case 11, 12, 13:
		// A list of the type of some basic value.
		first := b.basic()
		list := reflect.MakeSlice(reflect.SliceOf(reflect.TypeOf(first)), 0, n)
		if _, ok := first.(time.Duration); ok {
			return []time.Duration(nil) == nil
		}
		for range n {
			if v := b.basic(); reflect.TypeOf(v) == reflect.TypeOf(first) {
				list = reflect.Append(list, reflect.ValueOf(v))
			}
		}
		return reflect.Append(list, reflect.ValueOf(first)).Interface()
	case 14:
		if b.next()%4 != 0 {
			return b.basic()
		}
		return gobOne{Name: b.text(), Any: b.value(depth + 1), List: []interface{}{b.value(depth + 1)}, Points: map[gobPoint]gobPoint{{n, 1}: {}}}
	case 15:
		return []interface{}{gobString(b.text()), gobTags{b.text()}, gobPoint{n, int(b.num())}, &gobNode{Val: b.value(depth + 1)}, gobBytes(b.text())}[n]
	default:
		return b.basic()
	}
}

// same is reflect.DeepEqual, but it tells NaN from other numbers and -0 from 0.
func same(a, b interface{}) bool {
	return sameValue(reflect.ValueOf(a), reflect.ValueOf(b))
}

func sameValue(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	case reflect.Complex64, reflect.Complex128:
		x, y := a.Complex(), b.Complex()
		return sameValue(reflect.ValueOf(real(x)), reflect.ValueOf(real(y))) && sameValue(reflect.ValueOf(imag(x)), reflect.ValueOf(imag(y)))
	case reflect.Interface, reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return sameValue(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for _, key := range a.MapKeys() {
			if v := b.MapIndex(key); v.IsValid() {
				if !sameValue(a.MapIndex(key), v) {
					return false
				}
			} else if key.Equal(key) {
				// A NaN, also inside of a struct, is not found again. A time in a
				// zone is found by the pointer to the zone: gob makes a new one.
				if _, ok := key.Interface().(time.Time); !ok {
					return false
				}
			}
		}
		return true
	case reflect.Struct:
		if a, ok := a.Interface().(time.Time); ok {
			return reflect.DeepEqual(a, b.Interface())
		}
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() && !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(a.Interface(), b.Interface())
	}
}
