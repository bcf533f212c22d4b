package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/flamego/session/internal/state"
)

// Options configures the session middleware.
type Options struct {
	// Initer opens the store. Default is MemoryIniter().
	Initer Initer
	// Config is the configuration that the Initer takes, by value, for example a
	// redis.Config. Default is none, which the memory and the file store accept.
	Config interface{}
	// Cookie configures the cookie that carries the session ID. Default is
	// "flamego_session=ID; Path=/; HttpOnly; SameSite=Lax".
	Cookie CookieOptions
	// IDLength is the number of characters of a session ID, up to 255. Values
	// under 3 mean the default. Default is 16.
	IDLength int
	// GCInterval is the time between two calls of the store's GC. The first call comes
	// earlier: at a random time between half and all of GCInterval, or of a minute if that
	// is less. Values under one second mean the default. Default is 5 minutes.
	GCInterval time.Duration
	// Timeout is how long one operation of the store may take. Values of zero
	// and below mean the default. Default is 5 seconds.
	Timeout time.Duration
	// TouchInterval is how often a session that is only read is extended. An interval
	// saves a write in most requests. Its price is that a session may end up to an
	// interval too early, counted from its last access. It must be shorter than the
	// Lifetime. A negative value extends at every request.
	// Stores that are not of this module are touched at every request. Default is a
	// sixtieth of the Lifetime (and of Cookie.MaxAge, if that is set), at most one minute,
	// and every request with a Lifetime below one minute.
	TouchInterval time.Duration
	// TouchFor tells whether a request that changes nothing counts as an access, which extends
	// the session. It may return false for polls, for example: then a page that is left open
	// does not keep the session alive. For FirstLifetime such a request is not the return of
	// the visitor either. A request that changes the session extends it in any case. Default is
	// every request.
	TouchFor func(r *http.Request) bool
	// MaxLifetime is how long a session lives at most, however much it is used. The time begins
	// when the session is first stored, and anew with each RegenerateID: see [IssuedAt]. A
	// session from before the option was set is counted from when it is next changed or
	// extended. The clocks of the instances must agree to within a minute. A value below one
	// second is an error, and so is the option with a store of another make: one that is
	// neither of this module nor made by NewStore. Default is no limit.
	MaxLifetime time.Duration
	// FirstLifetime is how long the session of a new visitor lives until the visitor comes back
	// with its ID: then it has the whole Lifetime. So bots, which never come back, do not fill
	// the store. A visitor is new who sent no ID that the store knows. So FirstLifetime holds
	// for a login too, if the client had no session before and sends no other request. It does
	// not hold for a session with a lifetime of its own, see SetLifetime. A value below one
	// second, or not shorter than the Lifetime, is an error, and so is the option with a store
	// of another make, as for MaxLifetime. Default is the Lifetime.
	FirstLifetime time.Duration
	// OwnerKey is the key of the value that says whose session it is: what the app sets at
	// login, as "user_id". With it [Owned], [End] and [EndOwned] find the sessions of an owner.
	//
	// The value is a string, an integer, or an encoding.TextMarshaler, whose text must always be
	// the same and whose method must not use sessions. It is compared as text: 7 is "7". A float64
	// that is a whole number, as JSON makes it, is an integer; 0 is an owner; nil and the empty
	// string are nobody. To set any other value is an error of the save. A type of the app must be
	// registered with gob, like any other.
	//
	// Sessions from before the option was set, and those that a process without it has changed,
	// are found once they are changed or extended. With a store that cannot find sessions by
	// their owner, New returns an error for which errors.Is(err, errors.ErrUnsupported) is
	// true. Default is none.
	OwnerKey interface{}
	// MaxOwned is how many sessions an owner has at most. A login that makes one more ends the
	// oldest, by [IssuedAt]: so give the session a new ID at login. Each login costs a list of
	// the sessions of the owner. If the list fails, the login counts all the same, and
	// ErrorFunc is told. It needs OwnerKey. Default is no limit.
	MaxOwned int
	// Keys encrypt the data of sessions in the store, so that whoever can read the database reads no
	// session, and whoever can write to it makes none: data that was changed, or copied to another
	// session, does not open. Each key is 32 random bytes. The first one seals what is written, and each
	// opens. The index of OwnerKey has an HMAC in place of the owner. A record takes 29 bytes more,
	// which count for MaxDataSize. The memory store has nothing to encrypt.
	//
	// A key that is nil stands for data that is not encrypted. So a running app begins with {nil, k},
	// goes on with {k, nil} when all instances have k, and with {k} when the longest lifetime is over.
	// A new key goes last at first: {k, new}, then {new, k}, and {new} when the longest lifetime is
	// over. The way back is the same in the other order.
	//
	// What no key opens is data that cannot be decoded: ErrorFunc is told, the session is empty, and
	// the data stays until the session is changed. To give a key of another length, or a key twice, is
	// an error. So is the option with a store of another make, as for MaxLifetime. Default is none.
	Keys [][]byte
	// HashIDs keeps records under a hash of the session ID, so that whoever can read the database finds no
	// ID there: "h" and the SHA-256 of the ID in hexadecimal digits. HashOnly costs no round trip. The
	// memory store has no records.
	//
	// A new app begins with HashOnly. A running app begins with HashRead, goes on with HashWrite when all
	// instances have HashRead, and with HashOnly when the longest lifetime is over. The way back is the
	// same in the other order, and before HashNone waits for the longest lifetime and ten seconds more.
	// On the way a session that is known costs up to one round trip more, and one that is not
	// known two more.
	//
	// Any other value is an error. So is the option with a store of another make, as for MaxLifetime.
	// Default is HashNone: records stand under the ID.
	HashIDs HashMode
	// Observe is told of each operation on the database, and of what becomes of sessions, for logs and
	// metrics: see [Event] and [LogEvents]. It is called in the goroutine of the request (or of GC), after the
	// operation, with the context of the request; so it must be fast, and it may be called in
	// parallel. If it panics, ErrorFunc is told, and the request goes on. It must not save the session
	// of the event: that waits for the save that the event is of, until Timeout. The memory store has no
	// database; there Observe is told of sessions only. It is an error with a store of another make, as
	// for MaxLifetime. Default is none, which costs nothing.
	Observe func(ctx context.Context, e Event)
	// Trace is called before each operation on the database, for traces. The backend works with the context
	// that it returns. The function that it returns is called when the operation is over, with its
	// error. Both may be nil. As for Observe, Trace is called in parallel, may panic, needs a store of
	// this module or of NewStore, and is not called by the memory store. Default is none.
	Trace func(ctx context.Context, op Op) (context.Context, func(err error))
	// FailFunc answers a request whose session could not be loaded or saved, in the form of the
	// app. The status is 500 unless FailFunc writes another one of 200 and above. Headers that
	// handlers have set for the page are removed before. ErrorFunc is told the error; FailFunc
	// cannot reach the session. The answer is kept in memory until FailFunc returns. If it
	// writes nothing or panics, the answer is the default one. Default is the text "Internal
	// Server Error".
	FailFunc func(w http.ResponseWriter, r *http.Request)
	// AdoptUnknownIDs lets a session be stored under an ID that came from the client and that
	// the store does not know. Without it, a request with such an ID has a session under a new
	// ID from the start, so that nobody can choose the ID of somebody else's session. (IDs that
	// this process gave out lately are kept.) An ID must have the length that IDLength says.
	// Default is false.
	AdoptUnknownIDs bool
	// FlashFor tells whether a request may show a flash. From any other the flash is kept
	// for the next one. Default is every request but HEAD and OPTIONS, a prefetch
	// (Sec-Purpose), and what a browser fetches as an image, a style, a script or the
	// like (Sec-Fetch-Dest).
	FlashFor func(r *http.Request) bool
	// ErrorFunc receives the errors of the store, from requests and from GC. It is also told of
	// values in a stored session that cannot be decoded, of changes that came too late to be
	// stored, and, before New returns, of cookie options that are wrong but not fatal. It may
	// be called in parallel. Default is to drop all that.
	ErrorFunc func(err error)
	// ReadIDFunc reads the session ID from the request; an empty string means
	// there is none. Default is to read the cookie.
	ReadIDFunc func(r *http.Request) string
	// WriteIDFunc sends the session ID to the client. It is called once for
	// every request, before the handlers, with created telling whether the ID is
	// new to the client, and for every RegenerateID. Default is to send the cookie when
	// the ID is new, with the exceptions that the guide names.
	WriteIDFunc func(w http.ResponseWriter, r *http.Request, sid string, created bool)
}

func (o Options) withDefaults() Options {
	if o.Initer == nil {
		o.Initer = MemoryIniter()
	}
	o.Cookie = o.Cookie.withDefaults()
	if o.IDLength < minSIDLength {
		o.IDLength = defaultIDLength
	}
	if o.GCInterval < time.Second {
		o.GCInterval = 5 * time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.ErrorFunc == nil {
		o.ErrorFunc = func(error) {}
	}
	if o.FlashFor == nil {
		o.FlashFor = canShowFlash
	}
	return o
}

// check returns an error for options that cannot work with any store.
func (o *Options) check() error {
	switch {
	case o.IDLength > maxSIDLength:
		return fmt.Errorf("IDLength is %d, more than %d", o.IDLength, maxSIDLength)
	case o.MaxLifetime != 0 && o.MaxLifetime < time.Second:
		return fmt.Errorf("MaxLifetime is %v, less than a second", o.MaxLifetime)
	case o.FirstLifetime != 0 && o.FirstLifetime < time.Second:
		return fmt.Errorf("FirstLifetime is %v, less than a second", o.FirstLifetime)
	case !o.HashIDs.isValid():
		return fmt.Errorf("HashIDs is %d, which is none of HashNone, HashRead, HashWrite and HashOnly", o.HashIDs)
	case o.MaxOwned < 0:
		return fmt.Errorf("MaxOwned is %d", o.MaxOwned)
	case o.MaxOwned > 0 && o.OwnerKey == nil:
		return errors.New("MaxOwned needs OwnerKey")
	case o.OwnerKey != nil && !reflect.ValueOf(o.OwnerKey).Comparable():
		return fmt.Errorf("OwnerKey is a %T, which cannot be a key", o.OwnerKey)
	case o.OwnerKey == "":
		return errors.New("OwnerKey is empty")
	case o.OwnerKey != nil && !state.IsOfApp(o.OwnerKey):
		return fmt.Errorf("OwnerKey is %q, a key of this module", o.OwnerKey)
	}
	return o.Cookie.check()
}

// forOurStores returns the name of an option that only the stores of this module can keep, and
// that is set; empty if none is.
func (o *Options) forOurStores() string {
	switch {
	case o.MaxLifetime > 0:
		return "MaxLifetime"
	case o.FirstLifetime > 0:
		return "FirstLifetime"
	case o.OwnerKey != nil:
		return "OwnerKey"
	case len(o.Keys) > 0:
		return "Keys"
	case o.HashIDs != HashNone:
		return "HashIDs"
	case o.Observe != nil:
		return "Observe"
	case o.Trace != nil:
		return "Trace"
	}
	return ""
}
