package session

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/flamego/session/internal/state"
)

// Session is the data of one visitor. It may be used by several goroutines of
// one request.
//
// A key is any comparable value; by Go's rules for maps a key that is not
// (a slice, for example) panics.
type Session interface {
	// ID returns the session ID.
	ID() string
	// RegenerateID gives the session a new ID, sends it with w, and keeps the data. The old ID
	// is dead when the request has been committed. For ten seconds another request may still
	// come with the old ID: what it changes is dropped. Only if it calls RegenerateID too, what
	// it set itself is stored, in a session of its own. Call RegenerateID whenever a visitor
	// gains rights: otherwise an ID that was planted before the login is good after it (session
	// fixation). It returns an error and changes nothing when the random source fails or the
	// header of the response is already sent.
	RegenerateID(w http.ResponseWriter, r *http.Request) error
	// Get returns the value of the key, or nil when there is none.
	Get(key interface{}) interface{}
	// Set sets the value of the key.
	Set(key, val interface{})
	// SetFlash sets the value that the next request receives as its Flash.
	SetFlash(val interface{})
	// Delete removes the key. If the key is not there, that is no change.
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

// Value returns the value of the key and true, or the zero T and false if there is no value of
// type T.
func Value[T any](s Session, key interface{}) (T, bool) {
	val, ok := s.Get(key).(T)
	return val, ok
}

// Pop is [Value] that also removes the key from the session. A value of another type stays.
func Pop[T any](s Session, key interface{}) (T, bool) {
	val, ok := Value[T](s, key)
	if ok {
		s.Delete(key)
	}
	return val, ok
}

// Destroy ends the session of a visitor, as a logout does: all data is gone at
// once, the record when the request has been committed, and the cookie is
// expired in this response. Whatever other requests of the same session were
// under way, none of them brings it back. What this request sets afterwards is
// not kept; to begin anew at once, use Flush, RegenerateID and then SetFlash instead.
//
// It returns an error when the header of the response is already sent: then the session ends
// all the same, but the visitor keeps a cookie that is good for nothing. It also returns an
// error for a session that neither is nor embeds a [BaseSession]: use the Destroy of its own
// store.
//
// With Options.WriteIDFunc, telling the client is up to the caller.
func Destroy(w http.ResponseWriter, r *http.Request, s Session) error {
	b, _ := baseOf(s)
	if b == nil {
		return fmt.Errorf("session: a session of type %T is for its own store to destroy", s)
	}
	b.noteLate()
	b.destroy()
	if b.headerSent(w) {
		return errHeaderSent
	}
	return nil
}

var _ Session = (*BaseSession)(nil)

// BaseSession is the Session of all stores of this module. A store of one's own
// may use it as it is or embed it.
//
// It holds what was read from the store, and a log of the changes since, which the store
// commits.
type BaseSession struct {
	funcs *sessionFuncs // nil in the zero value

	committing sync.Mutex // held while a commit is under way
	request    *request   // nil outside of one, and with a store of another make

	mu      sync.Mutex
	sid     string
	base    state.Values // as read or last committed
	pending state.Log    // laid over base: the changes of the commit that is under way
	log     state.Log    // laid over both: what happened since
	origin  origin       // where base is from

	changes   uint32 // moves whenever base, pending or log does, so that equal numbers mean equal values
	first     bool   // the session is that of a visitor who was not here before
	fresh     bool   // nobody but the request that has made the session knows its ID
	destroyed bool   // by Destroy, through this session
	vanished  bool   // the record was gone when it was to be changed: nothing is saved any more
}

// sessionFuncs are the functions that all sessions of a store have.
type sessionFuncs struct {
	encode  Encoder  // for Encode
	writeID IDWriter // for RegenerateID
}

// NewBaseSession returns an empty session. The encoder is used by Encode, which fails
// without one. The writer is used by RegenerateID: without one nobody tells the client
// of its new ID. A store finds the writer among the args of its [Initer].
func NewBaseSession(sid string, encoder Encoder, writer IDWriter) *BaseSession {
	return NewBaseSessionWithData(sid, encoder, writer, nil)
}

// NewBaseSessionWithData returns a session with the given data. It is for a store of your own,
// which may go on using the data: just before the middleware calls the Save of such a store, it
// writes the changes of the request into the data. Nothing else writes to the data.
func NewBaseSessionWithData(sid string, encoder Encoder, writer IDWriter, data Data) *BaseSession {
	s := &BaseSession{sid: sid, funcs: &sessionFuncs{encoder, writer}}
	if data != nil {
		s.base = state.Share(data)
	}
	return s
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

// RegenerateID gives the session a new ID and sends it with w. The ID has the length that
// Options.IDLength says; outside of a request of the middleware, that of the old one.
// RegenerateID returns an error and changes nothing when the random source fails, when
// the session has ended, or when the header is already sent. The middleware knows
// whether it is; any other w may tell by a method Written() bool, as Flamego's does.
func (s *BaseSession) RegenerateID(w http.ResponseWriter, r *http.Request) error {
	if s.headerSent(w) {
		return errHeaderSent
	}

	sid, err := s.renew()
	if err != nil {
		return err
	}
	if f := s.funcs; f != nil && f.writeID != nil {
		f.writeID(w, r, sid) // not under the lock: it may look at the session
	}
	return nil
}

// renew gives the session a new ID and returns it.
func (s *BaseSession) renew() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hasEnded() {
		return "", errEnded
	}
	length := len(s.sid)
	if s.request != nil {
		length = s.request.m.opts.IDLength
	}
	sid, err := newID(length)
	if err != nil {
		return "", err
	}
	s.sid = sid
	s.log.Renewed = true
	s.changes++
	return sid, nil
}

func (s *BaseSession) headerSent(w http.ResponseWriter) bool {
	if s.request != nil && (s.request.over.Load() || s.request.begun()) {
		return true
	}
	hw, ok := w.(interface{ Written() bool })
	return ok && hw.Written()
}

// Get returns the value of the key, or nil. Keys that start with "flamego::session::" belong to
// this module: for them Get returns nil, except for the key of the flash.
func (s *BaseSession) Get(key interface{}) interface{} {
	if state.IsReserved(key) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(key)
}

// get is Get for a caller that has the lock.
func (s *BaseSession) get(key interface{}) interface{} {
	if val, ok := s.log.Get(key); ok {
		return val
	}
	if val, ok := s.pending.Get(key); ok {
		return val
	}
	return state.Get(s.base, key)
}

// change makes a change of the log.
func (s *BaseSession) change(f func(log *state.Log)) {
	s.noteLate()
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.log)
	s.changes++
}

// noteLate tells ErrorFunc of a change that no commit follows.
func (s *BaseSession) noteLate() {
	if s.request != nil && s.request.over.Load() {
		s.request.reportLost(errAfterEnd)
	}
}

// Set sets the value of the key. A key that belongs to this module (see Get) is not set, and
// ErrorFunc is told.
func (s *BaseSession) Set(key, val interface{}) {
	if s.mayChange(key) {
		s.change(func(log *state.Log) { log.Set(key, val) })
	}
}

var errReserved = errors.New("session: a key that starts with \"flamego::session::\" was set or deleted, which is for the session library alone: nothing was changed")

// mayChange reports whether the app may change the value of the key.
func (s *BaseSession) mayChange(key interface{}) bool {
	if !state.IsReserved(key) {
		return true
	}
	if s.request != nil {
		s.request.m.opts.ErrorFunc(errReserved)
	}
	return false
}

// SetFlash sets the flash of the next request.
func (s *BaseSession) SetFlash(val interface{}) {
	s.Set(state.FlashKey, val)
}

// Delete removes the key. For a key that is not there that is no change.
func (s *BaseSession) Delete(key interface{}) {
	if s.mayChange(key) && (s.Get(key) != nil || s.holdsUndecoded(key)) {
		s.change(func(log *state.Log) { log.Delete(key) })
	}
}

// holdsUndecoded reports whether the store has a value of the key that could not be decoded.
func (s *BaseSession) holdsUndecoded(key interface{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origin.Rest.Has(key)
}

// Flush removes all keys.
func (s *BaseSession) Flush() {
	s.change((*state.Log).Flush)
}

// destroy ends the session: its data is gone, the next commit deletes its record,
// and nothing is saved any more.
func (s *BaseSession) destroy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Destroy()
	s.changes++
	s.destroyed = true
}

// Encode returns the data as the encoder makes it, with the changes of this
// request. It returns the error of the encoder, and one of its own for a
// session without an encoder.
func (s *BaseSession) Encode() ([]byte, error) {
	if s.funcs == nil || s.funcs.encode == nil {
		return nil, errors.New("session: encode: the session has no encoder")
	}
	return s.funcs.encode(s.data())
}

// data returns the data with the changes of this request. It is not to be written
// to, and a commit that ends after this call does not write to it either.
func (s *BaseSession) data() Data {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.base.(state.Map); ok && s.pending.IsEmpty() && s.log.IsEmpty() {
		return Data(m)
	}
	data := state.Copy(s.base)
	s.pending.Apply(data)
	s.log.Apply(data)
	return data
}

// HasChanged reports whether there are changes that have not been saved.
func (s *BaseSession) HasChanged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.log.IsEmpty()
}

// hasEnded reports whether the session was destroyed by Destroy, or its record was
// gone when it was to be changed. The caller has the lock.
func (s *BaseSession) hasEnded() bool { return s.destroyed || s.vanished }

// baseOf returns the BaseSession that a session is or embeds. It reports whether the
// session is of a type that has one; the pointer to it may be nil all the same.
func baseOf(s Session) (base *BaseSession, ok bool) {
	b, ok := s.(interface{ baseSession() *BaseSession })
	if !ok {
		return nil, false
	}
	return b.baseSession(), true
}

func (s *BaseSession) baseSession() *BaseSession { return s }
