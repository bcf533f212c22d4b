package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/state"
)

// How changes leave a BaseSession and come back to it. In between they are a
// commit.Change, which knows nothing of BaseSession. The engine of internal/commit
// brings it into a store with a backend, memoryStore.write into the memory store.

// ownStore is what a store of this module does beyond Store.
type ownStore interface {
	Store
	// configure makes the store keep to the options, before it is used. It returns an error
	// if it cannot.
	configure(o *Options) error
	// rules returns what the options say of the sessions.
	rules() *rules
	// begin makes b a session with nothing in it, without asking anybody.
	begin(b *BaseSession, sid string)
	// load makes b the session with the ID: Exist and Read in one. After an error nothing is
	// known of the ID, and its status is Gone. Only with errUnreadable b holds what can be decoded.
	load(ctx context.Context, sid string, b *BaseSession) error
	// commit brings the changes of a session into the store, if the condition holds
	// there. It returns the flash that the changes have taken.
	commit(ctx context.Context, s *BaseSession, when commit.Condition) (Flash, error)
	// extend makes a session that was read live for its whole time from now on.
	extend(ctx context.Context, s *BaseSession) error
	// owned returns the live sessions of an owner, with nothing in them that is not stored.
	owned(ctx context.Context, owner string) ([]ownedSession, error)
	// end ends a session, by its ID or by what owned returned for it, and tells the observer why.
	end(ctx context.Context, id string, why Op) error
}

// errUnreadable says that there is a record of which nothing can be decoded, or not all.
var errUnreadable = errors.New("unreadable data")

// origin is what a store knew about a session when it was read or last written.
type origin struct {
	commit.Origin
	store  ownStore      // nil for a session made by hand
	idle   time.Duration // since the record was last written or extended
	custom time.Duration // the custom lifetime of the session, 0 if it has none
}

// checkOut hands the changes of the session to a commit; checkIn must follow.
// Changes that are made in between belong to the next commit.
//
// To a store that it was not read from, a session is new with all that it holds. If it
// was read from another store, it is only copied, and still belongs to that store.
func (s *BaseSession) checkOut(store ownStore, when commit.Condition, c *commit.Change) {
	s.committing.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()

	c.ID, c.When, c.First = s.sid, when, s.first
	if s.origin.store == store {
		c.Log, c.Origin, c.Values, c.Vanished = s.log, s.origin.Origin, s.base, s.vanished
		if c.Fresh = s.fresh; s.fresh && !c.IsDoubtful() {
			c.Origin.ID = s.sid // an ID that was replaced at once leaves no trace
		}
	} else {
		all := state.Copy(s.base)
		s.log.Apply(all)
		c.Log.SetAll(all)
		c.Log.Destroyed = s.log.Destroyed
		c.Origin.ID, c.Fresh = s.sid, true // the app has just made it
	}
	if s.isOf(store) {
		s.pending, s.log = s.log, state.Log{}
		s.changes++
	}
}

// checkIn takes back what became of the changes. Those that were committed are what
// the session now is based on; others are still to be committed.
func (s *BaseSession) checkIn(store ownStore, c *commit.Change, committed bool) {
	defer s.committing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.isOf(store): // it was only copied
		return
	case committed:
		s.changes++
		s.base, s.vanished = c.Values, c.Vanished
		s.origin, s.fresh = origin{Origin: c.Origin, store: store, custom: state.Lifetime(c.Values)}, false
		if c.IsVoid() && !c.Vanished {
			s.log = s.pending.Then(s.log)
		}
	case c.IsDoubtful() && s.origin.store == store:
		s.log = c.Log.Then(s.log) // without what an earlier commit has stored after all
		s.origin.Origin = c.Origin
	default:
		s.log = s.pending.Then(s.log)
	}
	s.pending = state.Log{}
}

// stored returns the ID and the values of the session as they are stored, and whether these are all
// that is stored.
func (s *BaseSession) stored() (sid string, values state.Values, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origin.ID, s.base, !s.origin.Unreadable && s.origin.Rest == nil
}

// likeness returns a session that is stored like this one. What becomes of it makes no difference
// to this one.
func (s *BaseSession) likeness() *BaseSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &BaseSession{sid: s.origin.ID, funcs: s.funcs, base: s.base, origin: s.origin}
}

// setFirst says whether the session is that of a visitor who was not here before.
func (s *BaseSession) setFirst(first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = first
}

// isOf reports whether the session belongs to the store, or to none yet. The caller
// has the lock.
func (s *BaseSession) isOf(store ownStore) bool {
	return s.origin.store == nil || s.origin.store == store
}

// isOfOurStore reports whether a store of ours has made the session.
func (s *BaseSession) isOfOurStore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origin.store != nil
}

// undo drops the changes that are not committed. The ID stays if the client has been
// sent it.
func (s *BaseSession) undo(sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !sent {
		s.sid = s.origin.ID
	}
	s.log, s.destroyed = state.Log{}, false
	s.changes++
}

// settle marks the changes as saved, for a store that does not do so itself; unless
// there are more changes by now than the count says.
func (s *BaseSession) settle(count uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes != count || s.log.IsEmpty() {
		return
	}
	if _, shared := s.base.(state.Shared); !shared { // else writeThrough has applied them
		values := state.Copy(s.base)
		s.log.Apply(values)
		s.base = state.Map(values)
	}
	s.log = state.Log{}
}

// writeThrough makes the changes to the data that the session was made with, for a store
// that keeps that data. It returns the number of changes for settle.
func (s *BaseSession) writeThrough() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if shared, ok := s.base.(state.Shared); ok {
		shared.Apply(&s.log)
	}
	return s.changes
}

// follow puts the changes on top of what is stored by now.
func (s *BaseSession) follow(now *BaseSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.origin = now.base, now.origin
}

// view is what the middleware asks of a session, in one look.
type view struct {
	sid       string
	idle      time.Duration // how long ago the record was written or extended when it was read
	changed   bool          // there is something that the store must know
	destroyed bool          // by Destroy, through this session
	ended     bool          // destroyed, or its record was gone when it was to be changed
	inStore   commit.Status // what the store has under the ID, as far as the session knows
	custom    time.Duration // the custom lifetime of the session, 0 if it has none
}

func (s *BaseSession) view() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{
		sid: s.sid, changed: !s.log.IsEmpty(), destroyed: s.destroyed, ended: s.hasEnded(),
		inStore: s.origin.Status, idle: s.origin.idle, custom: s.customLifetime(),
	}
	if s.vanished {
		v.inStore = commit.Gone
	}
	return v
}

// isEmpty reports whether the session holds nothing.
func (s *BaseSession) isEmpty() bool {
	s.mu.Lock()
	sets := s.log.SetsKeys()
	s.mu.Unlock()
	return !sets && len(s.data()) == 0
}

// readSession is Read of a store of ours.
func readSession(ctx context.Context, store ownStore, sid string) (Session, error) {
	b := new(BaseSession)
	err := store.load(ctx, sid, b)
	if err != nil && b.origin.Status == commit.Gone {
		return nil, err
	}
	return b, err
}

// toSave returns the BaseSession in a session that somebody saves. A session of
// another make is known by what it encodes to.
func toSave(s Session, decode func([]byte) (map[interface{}]interface{}, error)) (*BaseSession, error) {
	b, ok := baseOf(s)
	switch {
	case b != nil:
		return b, nil
	case ok || s == nil:
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
