package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Store keeps sessions. Handlers may ask for the one in use, for example to end
// somebody else's session with Destroy. All methods may be called in parallel.
//
// The stores of this module take session IDs of 3 to 255 characters of 0-9 and
// a-z; for any other their methods return [ErrMinimumSIDLength] or an error
// that says so (Exist returns false) and do nothing.
type Store interface {
	// Exist reports whether there is a live session with the ID. It reports
	// false when the store cannot be asked.
	Exist(ctx context.Context, sid string) bool
	// Read returns the session with the ID, an empty one if there is none.
	Read(ctx context.Context, sid string) (Session, error)
	// Destroy deletes the session with the ID. It is no error if there is none.
	Destroy(ctx context.Context, sid string) error
	// Touch makes the session with the ID live for a full lifetime from now on (a Backend calls
	// that Extend), or for as long as Options.MaxLifetime leaves. It changes no value and is no
	// error if there is no such session. A process that has not seen a session with a lifetime
	// of its own (SetLifetime) yet assumes that this one has none, and extends it by the
	// Lifetime of the store.
	Touch(ctx context.Context, sid string) error
	// Save commits the changes of a session to the store. A session that was destroyed or that
	// expired since it was read stays so, without an error. A session that is nil, or a nil
	// pointer, is an error.
	Save(ctx context.Context, session Session) error
	// GC deletes what has expired. The middleware calls it every GCInterval.
	GC(ctx context.Context) error
}

// Initer opens a store. Its args hold, in any order, the Config of the backend
// (by value, not a pointer to it) and an [IDWriter]; other values are refused.
// It returns an error that names what is missing or wrong.
type Initer func(ctx context.Context, args ...interface{}) (Store, error)

// startTimeout is how long it may take to open a backend.
const startTimeout = 5 * time.Second

// NewIniter returns an Initer that takes a Config of type C and an IDWriter
// from its args, calls open, and makes a store of the backend it returns.
// The context of open ends after 5 seconds. The IDWriter of the StoreConfig is
// filled in.
func NewIniter[C any](open func(ctx context.Context, config C) (Backend, StoreConfig, error)) Initer {
	return func(ctx context.Context, args ...interface{}) (Store, error) {
		config, given, writer, err := initArgs[C](args)
		if err != nil {
			return nil, err
		}
		if !given {
			return nil, fmt.Errorf("config of type %T not given", config)
		}

		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		backend, sc, err := open(ctx, config)
		if err != nil {
			return nil, err
		}
		sc.IDWriter = writer
		return NewStore(backend, sc), nil
	}
}

// initArgs finds the Config and the IDWriter among the args of an Initer.
func initArgs[C any](args []interface{}) (config C, given bool, writer IDWriter, err error) {
	for _, arg := range args {
		switch arg := arg.(type) {
		case nil:
		case IDWriter:
			writer = arg
		case func(http.ResponseWriter, *http.Request, string):
			writer = arg
		case C:
			config, given = arg, true
		default:
			return config, false, nil, fmt.Errorf("unexpected argument of type %T, want a config of type %T and an IDWriter%s", arg, config, hint[C](arg))
		}
	}
	if writer == nil {
		return config, given, nil, errors.New("IDWriter not given")
	}
	return config, given, writer, nil
}

// hint says what is probably wrong with an argument that is not the Config C.
func hint[C any](arg interface{}) string {
	if _, ok := arg.(*C); ok {
		return ": the config must not be a pointer"
	}
	return ": do Options.Initer and Options.Config belong together?"
}
