package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// native is what the stores of this module do for the middleware beyond Store:
// the same steps in fewer round trips.
type native interface {
	Store
	// setTimeout sets how long one operation may take.
	setTimeout(d time.Duration)
	// maxIdle returns the lifetime of the sessions.
	maxIdle() time.Duration
	// fresh returns a session with nothing in it, without asking anybody.
	fresh(sid string) *BaseSession
	// load returns the session with the ID: Exist and Read in one. With an
	// error that is errUnreadable it returns an empty session as well.
	load(ctx context.Context, sid string) (*BaseSession, error)
	// takeFlash takes the flash out of the stored session. Of many requests that
	// do so at once only one gets it, the others get nil.
	takeFlash(ctx context.Context, s *BaseSession) (Flash, error)
	// giveFlash undoes that, unless there is another flash by now.
	giveFlash(ctx context.Context, s *BaseSession, flash Flash) error
}

// errUnreadable says that there is a record that makes no sense.
var errUnreadable = errors.New("unreadable data")

// pending is the changes of a session on their way into the store.
type pending struct {
	sid    string  // the ID the session shall have
	origin origin  // where base is from
	base   values  // what the changes apply to
	log    changes // the changes

	when  condition   // the changes are void if it does not hold
	flash interface{} // the flash that was taken
	gone  bool        // the record vanished: the changes are void
	copy  bool        // the session is another store's and stays as it is

	wasBase values // to undo begin
	wasLog  changes

	deadline time.Time // while it waits in a lane
	joint    *joint    // what it was made a part of meanwhile, guarded by the lane
}

// condition is what must be true of a session for changes to be made.
type condition int

const (
	always    condition = iota
	ifFlash             // to take it
	ifNoFlash           // to give one back
)

// begin hands out the changes of the session; end must follow. Changes made
// in between belong to the next commit.
func (s *BaseSession) begin(store Store) *pending {
	s.committing.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()

	p := &pending{
		sid: s.sid, origin: s.origin, base: s.base, log: s.log, gone: s.gone,
		wasBase: s.base, wasLog: s.log,
	}
	if o, ok := s.base.(*overlay); ok {
		p.base = o.base // what the store holds, beneath what was committed before
	}
	view := s.base
	if s.log.any() {
		view = &overlay{s.base, s.log}
	}
	if s.origin.store != store {
		// Made by hand or read from another store: all of it is new to this one.
		p.origin = origin{store: store, sid: s.sid}
		p.log = changes{flushed: true, ended: s.log.ended, keys: dataOf(view)}
		p.gone = false
		if p.copy = s.origin.store != nil; p.copy {
			return p
		}
	}
	s.base, s.log = view, changes{count: s.log.count}
	return p
}

// end takes back what became of the changes: after an error they are still to
// be committed, otherwise the session shows what the store now holds.
func (s *BaseSession) end(p *pending, err error) {
	defer s.committing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.copy {
		return
	}
	if err != nil {
		s.base, s.log = p.wasBase, p.wasLog.then(s.log)
		return
	}
	s.base, s.origin, s.gone = p.base, p.origin, p.gone
}

// changeCount returns a number that grows with every change.
func (s *BaseSession) changeCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.count
}

// settle forgets the changes, which a store that cannot say so has saved; unless
// there are more than when it began.
func (s *BaseSession) settle(count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.count == count {
		s.base, s.log = s.log.apply(s.base), changes{count: count}
	}
}

// discard undoes the changes since the last commit.
func (s *BaseSession) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sid, s.log = s.origin.sid, changes{count: s.log.count}
}

// follow puts the changes on what the store has by now.
func (s *BaseSession) follow(now *BaseSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.origin = now.base, now.origin
}

// isStored reports whether the store has a record of the session.
func (s *BaseSession) isStored() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origin.stored && !s.gone
}

// isEnded reports whether the session was destroyed, or its record vanished
// after it was read.
func (s *BaseSession) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone || s.log.ended
}

// isDestroyed reports whether it was this session that was destroyed, and not
// its record by somebody else.
func (s *BaseSession) isDestroyed() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// isQuiet reports whether there is nothing to save and the session goes on, and how
// long ago its record was written or extended when it was read.
func (s *BaseSession) isQuiet() (quiet bool, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.gone && !s.log.ended && !s.log.any(), s.origin.idle
}

// rebase puts the changes on other data than they were made on. It reports
// false when there is nothing left to do.
func (p *pending) rebase(base values) bool {
	p.base = base
	return p.holds()
}

// holds reports whether the condition of the changes does.
func (p *pending) holds() bool {
	return p.when == always || (p.when == ifFlash) == (p.base != nil && p.base.get(flashKey) != nil)
}

// orphan decides what becomes of the changes when the record has vanished: it
// was destroyed, it expired, or another request gave it a new ID. It reports
// whether there is something left to insert: a session that has a new ID too
// keeps what it set itself, and nothing of the old data.
func (p *pending) orphan() bool {
	if p.sid == p.origin.sid {
		p.end()
		return false
	}
	p.base = nil
	p.origin = origin{store: p.origin.store, sid: p.sid}
	return len(p.log.keys) > 0
}

// end notes that the store holds nothing any more, and never will.
func (p *pending) end() {
	p.base, p.gone = nil, true
}

// stored notes that the store now holds data.
func (p *pending) stored(now values, raw []byte) {
	if p.when == ifFlash {
		p.flash = p.base.get(flashKey)
	}
	p.base = now
	p.origin = origin{store: p.origin.store, sid: p.sid, stored: true, raw: raw}
}

// orNone returns a session as the interface, which is nil if there is none.
func orNone(s *BaseSession, err error) (Session, error) {
	if s == nil {
		return nil, err
	}
	return s, err
}

// sessionOf returns the BaseSession in a session that somebody saves. One of
// another make is known by what it encodes to.
func sessionOf(s Session, decode Decoder) (*BaseSession, error) {
	if b, ok := s.(based); ok {
		if base := b.baseSession(); base != nil {
			return base, nil
		}
		s = nil
	}
	if s == nil {
		return nil, errors.New("no session given")
	}

	raw, err := s.Encode()
	if err != nil {
		return nil, err
	}
	data, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("session of type %T: %w", s, err)
	}
	return NewBaseSessionWithData(s.ID(), nil, nil, data), nil
}
