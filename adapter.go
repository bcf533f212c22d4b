package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/state"
)

// storeAdapter is what the middleware needs of a store. There are two implementations:
// ownAdapter, below, for the stores of this module, and foreignAdapter, for stores of
// others, which have the six methods of Store and no more.
type storeAdapter interface {
	// read returns what the store knows of the ID, and the session, which is empty if the
	// ID was given up, and nil if the store does not know it. With an error that is
	// errUnreadable it returns a session as well, with what can be decoded. A session of a
	// store of ours is in the room.
	read(ctx context.Context, sid string, room *BaseSession) (Session, commit.Status, error)
	// create returns a new session. It is fresh if nobody else knows its ID.
	create(ctx context.Context, sid string, fresh bool, room *BaseSession) (Session, error)
	// attach tells the session of a request which request that is, and returns the
	// Store that the handlers receive.
	attach(rq *request) Store
	// takeFlash takes the flash out of a session that has one. With a store of ours only
	// one of several requests at once gets it, and none if the session holds what this
	// process cannot write: the others get nil.
	takeFlash(ctx context.Context, rs *requestSession) (Flash, error)
	// giveFlash undoes takeFlash, unless there is another flash by now.
	giveFlash(ctx context.Context, rs *requestSession, flash Flash) error
	// undo drops the changes that are not committed, but for a new ID that was sent
	// already, and reports whether it could.
	undo(rs *requestSession, sent bool) bool
	// view tells what became of the session by now.
	view(rs *requestSession) view
	// changedIsReliable is false if a session may say that it has changed right after
	// it was saved. Flamego's hook then does not commit what our writer has committed.
	changedIsReliable() bool
	// isEmpty reports whether the session is known to hold nothing.
	isEmpty(rs *requestSession) bool
	// save saves the session.
	save(ctx context.Context, rs *requestSession) error
	// follow puts the changes of a session that was not stored when it was read on
	// the session that is stored by now.
	follow(rs *requestSession, now Session)
	// touch makes a stored session live for its whole time from now on.
	touch(ctx context.Context, rs *requestSession) error
	// lookUp reports whether the store has the session by now, and what lifetime of its own it
	// has then.
	lookUp(ctx context.Context, sid string) (custom time.Duration, live bool)
}

// requestSession is the session of one request, and what the request knows of it.
type requestSession struct {
	// Set when the request is opened, and fixed then.
	sess    Session
	base    *BaseSession // the one in sess, nil if there is none
	room    BaseSession  // of sess, if a store of ours has made it; in one piece with the request
	created bool         // the request brought no ID that is good

	extended bool          // nothing more is to be done to extend the session
	inStore  commit.Status // what the store has under lastID
	returned bool          // the flash was given back
	closed   bool          // nothing is committed any more
	failed   bool          // the session could not be saved: nothing is committed any more
	lastID   string        // the ID that the session was read under, or the last save has used
	savedAs  *[]byte       // what Encode returned after the last save; only with foreignAdapter
}

func (rs *requestSession) stored() bool { return rs.inStore == commit.Live }

// hasEnded reports whether the session was destroyed, or its record was gone when it
// was to be changed.
func (rs *requestSession) hasEnded() bool { return rs.base != nil && rs.base.view().ended }

// isDestroyed reports whether it was this request that destroyed the session.
func (rs *requestSession) isDestroyed() bool { return rs.base != nil && rs.base.view().destroyed }

// customLifetime returns the custom lifetime of the session, 0 if it has none.
func (rs *requestSession) customLifetime() time.Duration {
	if rs.base == nil {
		return 0
	}
	rs.base.mu.Lock()
	defer rs.base.mu.Unlock()
	return rs.base.customLifetime()
}

// ownAdapter is the adapter of the stores of this module. All their sessions are of
// type BaseSession.
type ownAdapter struct {
	ownStore
	touching *sync.Map // the IDs that are being extended
}

func (a ownAdapter) read(ctx context.Context, sid string, room *BaseSession) (Session, commit.Status, error) {
	err := a.load(ctx, sid, room)
	if room.origin.Status == commit.Gone { // nobody else has the session yet, so no lock
		return nil, commit.Gone, err
	}
	return room, room.origin.Status, err
}

func (a ownAdapter) create(_ context.Context, sid string, fresh bool, room *BaseSession) (Session, error) {
	a.begin(room, sid)
	room.fresh = fresh
	return room, nil
}

func (a ownAdapter) attach(rq *request) Store {
	rq.base.request = rq
	rq.store.rq = rq
	return &rq.store
}

func (a ownAdapter) takeFlash(ctx context.Context, rs *requestSession) (Flash, error) {
	rs.base.Delete(state.FlashKey)
	flash, err := a.commit(ctx, rs.base, commit.IfFlash)
	if errors.As(err, new(*state.RestError)) {
		// It waits for a process that may write the session. The visitor need not.
		rs.base.undo(false)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rs.inStore, rs.extended = rs.base.view().inStore, true
	return flash, nil
}

// giveFlash leaves nothing in the log of the session. If it fails, a later commit of the request
// would put the flash over a newer one, which others have set meanwhile.
func (a ownAdapter) giveFlash(ctx context.Context, rs *requestSession, flash Flash) error {
	b := rs.base.likeness()
	b.SetFlash(flash)
	_, err := a.commit(ctx, b, commit.IfNoFlash)
	return err
}

func (a ownAdapter) undo(rs *requestSession, sent bool) bool {
	rs.base.undo(sent)
	return true
}

func (a ownAdapter) view(rs *requestSession) view { return rs.ownView() }

// ownView is the view of a session of a store of ours.
func (rs *requestSession) ownView() view {
	now := rs.base.view()
	if !now.changed || rs.stored() {
		return now
	}
	switch hasNewID := now.sid != rs.lastID; {
	case rs.inStore == commit.Renewed:
		now.changed = hasNewID && !now.ended && !rs.base.isEmpty()
	case now.ended: // and the store does not have it: others may know the ID, unless it is new
		now.changed = !rs.created
	case rs.base.isEmpty():
		// A new ID alone: another request may have stored something under the old one.
		now.changed = hasNewID && !rs.created
	}
	return now
}

func (a ownAdapter) changedIsReliable() bool { return true }

func (a ownAdapter) isEmpty(rs *requestSession) bool { return rs.base.isEmpty() }

func (a ownAdapter) save(ctx context.Context, rs *requestSession) error {
	if err := a.Save(ctx, rs.sess); err != nil {
		return err
	}
	rs.noteSave()
	return nil
}

// noteSave notes what a store of ours has told the session of its save.
func (rs *requestSession) noteSave() {
	now := rs.base.view()
	if rs.inStore = now.inStore; rs.inStore != commit.Renewed {
		rs.lastID = now.sid
	}
}

func (a ownAdapter) follow(rs *requestSession, now Session) {
	if b, _ := baseOf(now); b != nil {
		rs.base.follow(b)
	}
}

// touch leaves a session alone that another request is extending. If its record is locked,
// the requests that read it must not take all connections for that.
func (a ownAdapter) touch(ctx context.Context, rs *requestSession) error {
	if _, busy := a.touching.LoadOrStore(rs.lastID, nil); busy {
		return nil
	}
	defer a.touching.Delete(rs.lastID)
	return a.extend(ctx, rs.base)
}

func (a ownAdapter) lookUp(ctx context.Context, sid string) (custom time.Duration, live bool) {
	var b BaseSession
	_ = a.load(ctx, sid, &b)
	return b.origin.custom, b.origin.Status == commit.Live
}
