package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/flamego/session/internal/state"
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
	// Touch makes the session with the ID live for a full lifetime from now on.
	// It changes no data and is no error if there is no such session.
	Touch(ctx context.Context, sid string) error
	// Save commits the changes of a session to the store. A session that was
	// destroyed or that expired since it was read stays so, without an error.
	Save(ctx context.Context, session Session) error
	// GC deletes what has expired. The middleware calls it every GCInterval.
	GC(ctx context.Context) error
}

// Initer opens a store. Its args hold, in any order, the Config of the backend
// (by value, not a pointer to it) and an [IDWriter]; other values are refused.
// It returns an error that names what is missing or wrong.
type Initer func(ctx context.Context, args ...interface{}) (Store, error)

// ErrMinimumSIDLength is returned by the methods of the stores of this module
// for a session ID of less than 3 characters.
var ErrMinimumSIDLength = errors.New("the SID does not have the minimum required length 3")

var errInvalidSID = errors.New("the SID is not 3 to 255 characters of 0-9 and a-z")

const (
	minSIDLength = 3
	maxSIDLength = 255
)

// checkSID returns an error for a session ID that no store of ours can hold.
// One alphabet for all of them: a file system may fold case, a database may
// compare without it, and a path separator must never reach either.
func checkSID(sid string) error {
	if len(sid) < minSIDLength {
		return ErrMinimumSIDLength
	}
	if len(sid) > maxSIDLength {
		return errInvalidSID
	}
	for i := range len(sid) {
		if !isIDChar(sid[i]) {
			return errInvalidSID
		}
	}
	return nil
}

func isIDChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
}

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
			return config, false, nil, fmt.Errorf("unexpected argument of type %T, want a config of type %T and an IDWriter", arg, config)
		}
	}
	if writer == nil {
		return config, given, nil, errors.New("IDWriter not given")
	}
	return config, given, writer, nil
}

// lifetime is how long the sessions of a store live without access. This is the one
// place where a time to live is computed, for the records of all backends and for the
// memory store.
type lifetime time.Duration

const defaultLifetime = lifetime(time.Hour)

// lifetimeOf returns the lifetime that a Config asks for.
func lifetimeOf(d time.Duration) lifetime {
	if d < time.Second {
		return defaultLifetime
	}
	return lifetime(d)
}

// ttl is how long a session that is written or extended now is to live.
func (l lifetime) ttl() time.Duration { return time.Duration(l) }

// idle is how long ago a session was written or extended that has this much time
// left.
func (l lifetime) idle(left time.Duration) time.Duration { return time.Duration(l) - left }

// keeper is what the middleware needs of a store, whatever its make. There are two:
// ours, below, for the stores of this module, and foreign, for stores that have the
// six methods of Store and no more.
type keeper interface {
	// read returns the session with the ID, an empty one if there is none, and
	// whether the store has it. With an error that is errUnreadable it returns an
	// empty session as well.
	read(ctx context.Context, sid string) (sess Session, found bool, err error)
	// create returns a new session.
	create(ctx context.Context, sid string) (Session, error)
	// attach tells the session of a request which request that is, and returns the
	// Store that the handlers receive.
	attach(rq *request) Store
	// takeFlash takes the flash out of the session, or else returns nil. Of several
	// requests that do so at once only one gets it. A client that hangs up does not
	// end it.
	takeFlash(ctx context.Context, v *visit) (Flash, error)
	// giveFlash undoes takeFlash, and all that happened to the session since.
	giveFlash(ctx context.Context, v *visit, flash Flash) error
	// look tells whether there are changes that the store must know, whether the
	// session is over, and how long it had not been extended when it was read.
	look(v *visit) (changed, dead bool, idle time.Duration)
	// exact reports whether changed can be believed right after the session was saved.
	exact() bool
	// isEmpty reports whether there is nothing that the store must know.
	isEmpty(v *visit) bool
	// save saves the session.
	save(ctx context.Context, v *visit) error
	// follow puts the changes of a session that was not stored when it was read on
	// the session that is stored by now.
	follow(v *visit, now Session)
	// touch makes a stored session live for a full lifetime from now on.
	touch(ctx context.Context, sid string) error
}

// visit is the session of one request, and what is known of it.
type visit struct {
	sess     Session
	base     *BaseSession // the one in sess, nil if there is none
	storedID string       // the ID that the session was read or last saved under
	savedAs  []byte       // used by foreign
	stored   bool         // the store has the session
	created  bool         // the ID is new to the client
	extended bool         // the session lives a full lifetime from this request on
}

// isDead reports whether there is no session any more.
func (v *visit) isDead() bool { return v.base != nil && v.base.status().dead }

// isDestroyed reports whether it was this request that destroyed the session.
func (v *visit) isDestroyed() bool { return v.base != nil && v.base.status().destroyed }

// ours is the keeper of the stores of this module. All their sessions are of type
// BaseSession.
type ours struct{ committer }

func (k ours) read(ctx context.Context, sid string) (Session, bool, error) {
	b, err := k.load(ctx, sid)
	if b == nil {
		return nil, false, err
	}
	return b, b.status().stored, err
}

func (k ours) create(_ context.Context, sid string) (Session, error) { return k.newSession(sid), nil }

func (k ours) attach(rq *request) Store {
	rq.base.request = rq
	rq.store = requestStore{Store: rq.m.store, rq: rq}
	return &rq.store
}

func (k ours) takeFlash(ctx context.Context, v *visit) (Flash, error) {
	if v.created || v.base.Get(state.FlashKey) == nil {
		return nil, nil
	}
	flash, err := v.base.takeFlash(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	v.stored, v.extended = v.base.status().stored, true
	return flash, nil
}

func (k ours) giveFlash(ctx context.Context, v *visit, flash Flash) error {
	return v.base.giveFlash(ctx, flash)
}

// look reports no changes of a session that is neither stored nor holds anything, and
// not the end of one that nobody knew. A change of the ID alone counts if the client
// sent the old ID: another request may have stored something under it.
func (k ours) look(v *visit) (changed, dead bool, idle time.Duration) {
	now := v.base.status()
	switch {
	case !now.changed || v.stored:
		changed = now.changed
	case now.dead:
		changed = !v.created
	default:
		changed = !v.base.isEmpty() || !v.created && now.sid != v.storedID
	}
	return changed, now.dead, now.idle
}

func (k ours) exact() bool { return true }

func (k ours) isEmpty(v *visit) bool { return v.base.isEmpty() }

func (k ours) save(ctx context.Context, v *visit) error {
	if err := k.Save(ctx, v.sess); err != nil {
		return err
	}
	now := v.base.status()
	v.storedID, v.stored = now.sid, now.stored
	return nil
}

func (k ours) follow(v *visit, now Session) {
	if b, _ := baseOf(now); b != nil {
		v.base.follow(b)
	}
}

func (k ours) touch(ctx context.Context, sid string) error { return k.Touch(ctx, sid) }
