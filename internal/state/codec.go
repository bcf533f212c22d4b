package state

import "fmt"

// Codec turns the values of a session into the bytes of a record and back. The
// functions are those of the app or of the root package; a Codec adds the limit,
// and takes a panic for an error, since the values of an app may have methods that
// the functions call.
type Codec struct {
	// EncodeFunc does not write to the map.
	EncodeFunc func(map[any]any) ([]byte, error)
	// DecodeFunc gets bytes that may be anything and returns a map that is the
	// caller's.
	DecodeFunc func([]byte) (map[any]any, error)
	// MaxSize is the greatest number of bytes.
	MaxSize int
}

// Encode returns the bytes of the values. It returns the error of EncodeFunc, and
// an error for more bytes than MaxSize.
func (c *Codec) Encode(m map[any]any) (raw []byte, err error) {
	defer recovered("encoder", &err)
	raw, err = c.EncodeFunc(m)
	if err == nil && len(raw) > c.MaxSize {
		return nil, fmt.Errorf("the data takes %d bytes, more than the limit of %d", len(raw), c.MaxSize)
	}
	return raw, err
}

// Decode returns the values in the bytes, in a map that is the caller's. It
// returns the error of DecodeFunc, and an error for more bytes than MaxSize, which
// it does not look into.
func (c *Codec) Decode(raw []byte) (m map[any]any, err error) {
	if len(raw) > c.MaxSize {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(raw), c.MaxSize)
	}
	defer recovered("decoder", &err)
	m, err = c.DecodeFunc(raw)
	if m == nil && err == nil {
		m = make(map[any]any)
	}
	return m, err
}

// recovered makes an error of a panic. The text names the type of what was thrown,
// and not the value, which may be data of the session.
func recovered(who string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the %s panicked with a %T", who, v)
	}
}
