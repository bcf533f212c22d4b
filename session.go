// Package session is session management for the Flamego web framework.
//
// [Sessioner] is a middleware: every handler after it may ask for a [Session]
// (the data of one visitor), a [Flash] (a value handed from one request to the
// next) and the [Store] that keeps them.
//
//	f := flamego.Classic()
//	f.Use(session.Sessioner())
//	f.Get("/", func(s session.Session) string {
//		n, _ := session.Value[int](s, "visits")
//		s.Set("visits", n+1)
//		return fmt.Sprintf("visit number %d", n+1)
//	})
//
// # Model
//
// A request works on its own view of the session: what was stored when it was
// read, and the log of what this request changed since. The log is committed
// before the first byte of the response leaves, and once more at the end when
// something changed after that. Where another request was faster, the log is
// applied to what that one left behind, so two requests that change different
// keys never undo each other, and a request changes no key that it did not
// set, delete or flush. Changing a value in place (an element of a map or a
// slice that Get returned) is not seen as a change: call Set.
//
// Data lives in memory ([MemoryIniter]), in files ([FileIniter]) or in one of
// the servers that the subpackages postgres, mysql, sqlite, redis and mongo
// stand for. A store of one's own is either a [Backend], a few atomic
// operations on records that [NewStore] makes a store of, or an implementation
// of [Store] with sessions that embed [BaseSession]. Package storetest proves
// either.
//
// # Errors and limits
//
// [New] and [Sessioner] refuse a bad configuration at start. A request whose
// session cannot be read or written is answered with status 500 and a generic
// body; the error goes to Options.ErrorFunc and holds no session ID, no
// connection string and no data. Absence is not an error: an unknown or
// expired ID means an empty session.
//
// Everywhere but in memory, data is encoded with [GobEncoder] unless the
// Config says otherwise, and may take up to MaxDataSize bytes (default 1 MiB).
package session

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// Session is the data of one visitor. It may be used by several goroutines of
// one request.
//
// A key is any comparable value; by Go's rules for maps a key that is not
// (a slice, for example) panics.
type Session interface {
	// ID returns the session ID.
	ID() string
	// RegenerateID gives the session a new ID, sends it with w, and keeps the
	// data. The old ID is dead when the request has been committed. Call it
	// whenever a visitor gains rights, or an ID planted before the login is good
	// after it (session fixation). It returns an error and changes nothing when
	// the random source fails or the header of the response is already out.
	RegenerateID(w http.ResponseWriter, r *http.Request) error
	// Get returns the value of the key, or nil when there is none.
	Get(key interface{}) interface{}
	// Set sets the value of the key.
	Set(key, val interface{})
	// SetFlash sets the value that the next request receives as its Flash.
	SetFlash(val interface{})
	// Delete removes the key.
	Delete(key interface{})
	// Flush removes all keys, a waiting flash included.
	Flush()
	// Encode returns the data in the form the store keeps it.
	Encode() ([]byte, error)
	// HasChanged reports whether there is something to save.
	HasChanged() bool
}

// Data is the data of a session.
type Data map[interface{}]interface{}

// IDWriter sends a session ID to the client. Stores receive one from the
// middleware and hand it to their sessions for RegenerateID.
type IDWriter func(w http.ResponseWriter, r *http.Request, sid string)

var _ Session = (*BaseSession)(nil)

// BaseSession is the Session of all stores of this module. A store of one's own
// may use it as it is or embed it.
type BaseSession struct {
	encode  Encoder
	writeID IDWriter

	committing sync.Mutex // held from begin to end
	request    *request   // nil outside of one, and with a store of another make

	mu     sync.Mutex
	sid    string
	base   values  // as read or last committed; shared with others, never written to
	log    changes // what happened since, laid over base
	origin origin  // where base is from
	ended  bool    // destroyed through this session
	gone   bool    // the record vanished after it was read: nothing is saved any more
}

// origin is what a store knew about a session when it was read.
type origin struct {
	store  Store         // the store, nil for a session made by hand
	sid    string        // the ID it is stored under, other than the current one after RegenerateID
	stored bool          // there is a record
	raw    []byte        // its bytes, for a swap to compare with
	seen   uint64        // how many commits there had been when it was read
	idle   time.Duration // since the record was last written or extended
}

// NewBaseSession returns an empty session. The encoder is used by Encode, the
// writer by RegenerateID.
func NewBaseSession(sid string, encoder Encoder, writer IDWriter) *BaseSession {
	return NewBaseSessionWithData(sid, encoder, writer, nil)
}

// NewBaseSessionWithData returns a session with the given data, which it never
// writes to: the first change makes a view of its own.
func NewBaseSessionWithData(sid string, encoder Encoder, writer IDWriter, data Data) *BaseSession {
	return &BaseSession{sid: sid, encode: encoder, writeID: writer, base: data}
}

// ID returns the session ID.
func (s *BaseSession) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sid
}

var (
	errHeaderSent = errors.New("session: the header of the response is already sent")
	errEnded      = errors.New("session: the session has been destroyed or has expired")
)

// RegenerateID gives the session a new ID of the same length and sends it with
// w. It returns an error and changes nothing when the random source fails, when
// the session has been destroyed, or when the header is out, which the
// middleware knows, or w tells by a method Written() bool, as Flamego's does.
func (s *BaseSession) RegenerateID(w http.ResponseWriter, r *http.Request) error {
	if s.headerSent(w) {
		return errHeaderSent
	}

	sid, err := s.renew()
	if err != nil {
		return err
	}
	if s.writeID != nil {
		s.writeID(w, r, sid) // not under the lock: it may look at the session
	}
	return nil
}

// renew gives the session a new ID and returns it.
func (s *BaseSession) renew() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.log.ended {
		return "", errEnded
	}
	sid, err := newID(len(s.sid))
	if err != nil {
		return "", err
	}
	s.sid = sid
	s.log.renewed = true
	s.log.count++
	return sid, nil
}

func (s *BaseSession) headerSent(w http.ResponseWriter) bool {
	hw, ok := w.(interface{ Written() bool })
	return ok && hw.Written() || s.request != nil && s.request.begun()
}

// Get returns the value of the key, or nil.
func (s *BaseSession) Get(key interface{}) interface{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.get(s.base, key)
}

// Set sets the value of the key.
func (s *BaseSession) Set(key, val interface{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.put(key, val)
}

// SetFlash sets the flash of the next request.
func (s *BaseSession) SetFlash(val interface{}) {
	s.Set(flashKey, val)
}

// Delete removes the key.
func (s *BaseSession) Delete(key interface{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.put(key, deleted)
}

// Flush removes all keys.
func (s *BaseSession) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.flush()
}

// Encode returns the data as the encoder makes it, with the changes of this
// request. It returns the error of the encoder, and one of its own for a
// session without an encoder.
func (s *BaseSession) Encode() ([]byte, error) {
	if s.encode == nil {
		return nil, errors.New("session: encode: the session has no encoder")
	}
	return s.encode(s.data())
}

// HasChanged reports whether there are changes that have not been saved.
func (s *BaseSession) HasChanged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.any()
}

// endSession destroys the session: its data is gone, the next commit deletes its
// record, and nothing is saved any more.
func (s *BaseSession) endSession() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.end()
	s.ended = true
}

// data returns the data with the changes of this request, not to be written to. A
// commit that ends after this call does not write to it either.
func (s *BaseSession) data() Data {
	s.mu.Lock()
	defer s.mu.Unlock()
	return dataOf(s.log.apply(s.base))
}

// isEmpty reports whether the session holds nothing.
func (s *BaseSession) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.leavesNothing(s.base)
}

// based is implemented by every session that is or embeds a BaseSession.
type based interface{ baseSession() *BaseSession }

func (s *BaseSession) baseSession() *BaseSession { return s }
