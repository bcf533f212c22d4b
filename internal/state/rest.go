package state

import (
	"errors"
	"fmt"

	"github.com/flamego/session/internal/gobmap"
)

// Rest is what a record holds beside its values: values that could not be decoded, as
// those of a type that only a newer version of the app knows. A commit carries them along.
// It does not change. A nil Rest is nothing.
type Rest struct {
	undecoded *gobmap.UndecodedError
	hidden    bool // the decoder of the app has not returned all that could be decoded
}

// restOf returns the rest that the error of a decoder tells of, nil if it tells of none.
// The values are those that the decoder returned.
func restOf(values map[any]any, err error) *Rest {
	var u *gobmap.UndecodedError
	if !errors.As(err, &u) {
		return nil
	}
	return &Rest{undecoded: u, hidden: len(values) < u.Decoded}
}

// After returns what is left of the rest after the changes of a log. A value whose key was
// set or removed is gone.
func (r *Rest) After(l *Log) *Rest {
	switch {
	case r == nil || l.flushed:
		return nil
	case r.hidden: // nobody knows what else is there
		return r
	}
	left := r.undecoded.Rest.Without(func(key any) bool { _, ok := l.changes().get(key); return ok })
	if left == nil {
		return nil
	}
	return &Rest{undecoded: &gobmap.UndecodedError{Rest: left}}
}

// IsAll reports whether nothing could be decoded beside the rest. It is for a rest as a
// Codec returns it.
func (r *Rest) IsAll() bool { return r != nil && r.undecoded.Decoded == 0 }

// Has reports whether there is a value of the key.
func (r *Rest) Has(key any) bool { return r != nil && r.undecoded.Rest.Has(key) }

// A RestError says that there is a rest that the encoder of the app cannot carry along.
type RestError struct{ rest *Rest }

// Error names a key and its type, and says what is to be done.
func (e *RestError) Error() string {
	if e.rest.hidden {
		return fmt.Sprintf("%v, and the Decoder of the app returned no other values: register the type, or flush the session", e.rest.undecoded)
	}
	return fmt.Sprintf("%v, and the Encoder of the app would lose it: register the type, delete the key, or flush the session", e.rest.undecoded)
}

// Unwrap returns the error of the decoder.
func (e *RestError) Unwrap() error { return e.rest.undecoded }
