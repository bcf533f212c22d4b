package state

import (
	"fmt"

	"github.com/flamego/session/internal/gobmap"
)

// Codec turns the values of a session into the bytes of a record and back. The
// functions are those of the app or of the root package; a Codec adds the limit,
// and takes a panic for an error, since the values of an app may have methods that
// the functions call.
type Codec struct {
	// EncodeFunc does not write to the map.
	EncodeFunc func(map[any]any) ([]byte, error)
	// DecodeFunc gets bytes that may be anything and returns a map that is the
	// caller's. If it is based on gobmap.Decode, its error may be one of
	// gobmap.UndecodedError, or wrap one.
	DecodeFunc func([]byte) (map[any]any, error)
	// Joins says that EncodeFunc returns what gobmap.Encode does, so that a rest can be
	// joined to it.
	Joins bool
	// MaxSize is the greatest number of bytes.
	MaxSize int
}

// Encode returns the bytes of the values and of the rest. It returns the error of
// EncodeFunc, a RestError if the rest cannot be encoded, and an error for more bytes than
// MaxSize.
func (c *Codec) Encode(m map[any]any, rest *Rest) (raw []byte, err error) {
	defer recovered("encoder", &err)
	if rest != nil && (rest.hidden || !c.Joins) {
		return nil, &RestError{rest}
	}
	raw, err = c.EncodeFunc(m)
	if err == nil && rest != nil {
		raw, err = gobmap.Join(raw, rest.undecoded.Rest)
	}
	if err == nil && len(raw) > c.MaxSize {
		return nil, fmt.Errorf("the data takes %d bytes, more than the limit of %d", len(raw), c.MaxSize)
	}
	return raw, err
}

// Decode returns the values in the bytes, in a map that is the caller's. It
// returns the error of DecodeFunc, and an error for more bytes than MaxSize, which
// it does not look into. The map is nil if there is an error, unless it is known what
// could not be decoded: then there is a rest, too.
func (c *Codec) Decode(raw []byte) (m map[any]any, rest *Rest, err error) {
	if len(raw) > c.MaxSize {
		return nil, nil, fmt.Errorf("%d bytes, more than the limit of %d", len(raw), c.MaxSize)
	}
	if m, err = c.decode(raw); err != nil {
		if rest = restOf(m, err); rest == nil {
			return nil, nil, err
		}
	}
	if m == nil {
		m = make(map[any]any)
	}
	return m, rest, err
}

func (c *Codec) decode(raw []byte) (m map[any]any, err error) {
	defer recovered("decoder", &err)
	return c.DecodeFunc(raw)
}

// recovered makes an error of a panic. The text names the type of what was thrown,
// and not the value, which may be data of the session.
func recovered(who string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the %s panicked with a %T", who, v)
	}
}
