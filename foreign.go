package session

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/state"
)

// foreignAdapter is the adapter of a store of others, which has the six methods of
// Store and no more. Nothing is merged there: a session is saved whole, and the last
// request to save it wins.
type foreignAdapter struct {
	store   Store
	timeout time.Duration // of one operation
	renewed *recentIDs    // IDs that were given up for new ones
	ended   *recentIDs    // IDs whose sessions were destroyed
	wraps   *atomic.Bool  // the store is seen to be one of ours, around which the app has put its own
}

func newForeignAdapter(store Store, timeout time.Duration) foreignAdapter {
	return foreignAdapter{store, timeout, newRecentIDs(recentPlaces), newRecentIDs(recentPlaces), new(atomic.Bool)}
}

var _ storeAdapter = foreignAdapter{}

func (a foreignAdapter) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.timeout)
}

// read first asks whether the session exists: some stores create what they are asked to read,
// here under an ID that the client may have chosen. A store that cannot be asked says that
// nothing exists; then it returns an error from create.
func (a foreignAdapter) read(ctx context.Context, sid string, _ *BaseSession) (Session, commit.Status, error) {
	ctx, cancel := a.bound(ctx)
	defer cancel()
	if a.store.Exist(ctx, sid) {
		sess, err := a.session(ctx, sid)
		return sess, commit.Live, err
	}
	renewed := a.renewed.hasSince(sid, state.MarkFor)
	if !renewed && !a.wraps.Load() {
		return nil, commit.Gone, nil
	}
	sess, err := a.session(ctx, sid)
	if b, ok := sess.(*BaseSession); ok && !renewed {
		renewed = b.view().inStore == commit.Renewed // by another instance
	}
	if !renewed {
		return nil, commit.Gone, err
	}
	return sess, commit.Renewed, err
}

func (a foreignAdapter) create(ctx context.Context, sid string, _ bool, _ *BaseSession) (Session, error) {
	ctx, cancel := a.bound(ctx)
	defer cancel()
	return a.session(ctx, sid)
}

func (a foreignAdapter) session(ctx context.Context, sid string) (Session, error) {
	sess, err := a.store.Read(ctx, sid)
	if err == nil && sess == nil {
		err = errors.New("session: the store returned no session and no error")
	}
	if b, ok := sess.(*BaseSession); ok && b != nil && b.isOfOurStore() {
		a.wraps.Store(true)
	}
	return sess, redact.Foreign(err, sid)
}

// attach tells the session nothing: the store may have given it to many requests.
// Handlers may ask for the store and the session by their own types.
func (a foreignAdapter) attach(rq *request) Store {
	rq.Map(a.store, rq.sess)
	return a.store
}

// takeFlash takes the flash out of the session, from where the next save takes it
// out of the store.
func (a foreignAdapter) takeFlash(_ context.Context, rs *requestSession) (Flash, error) {
	flash := rs.sess.Get(state.FlashKey)
	rs.sess.Delete(state.FlashKey)
	return flash, nil
}

// giveFlash does nothing: before the save the flash is still in the store, unless the
// store shares its sessions.
func (a foreignAdapter) giveFlash(context.Context, *requestSession, Flash) error { return nil }

// undo cannot make a session of others forget what was set.
func (a foreignAdapter) undo(*requestSession, bool) bool { return false }

// view calls the session idle for long: nobody knows its lifetime, so each request
// extends it.
func (a foreignAdapter) view(rs *requestSession) view {
	if rs.isOurs() {
		now := rs.ownView()
		now.idle = always
		return now
	}
	sid := rs.sess.ID()
	// Another request may have renewed the session, before this one or beside it, or have
	// destroyed it beside this one.
	void := sid == rs.lastID && (rs.inStore == commit.Renewed || a.renewed.hasSince(sid, state.MarkFor)) ||
		rs.stored() && a.ended.hasSince(rs.lastID, state.MarkFor)
	return view{
		sid: sid, changed: !void && a.changed(rs), ended: rs.hasEnded(), destroyed: rs.isDestroyed(),
		inStore: rs.inStore, idle: always,
	}
}

// changed asks the session. One that says forever that it has changed is compared
// with what it was saved as: to save it once more would undo what other requests
// did since.
func (a foreignAdapter) changed(rs *requestSession) bool {
	if rs.sess.ID() != rs.lastID {
		return true
	}
	if !rs.sess.HasChanged() || rs.savedAs == nil {
		return rs.sess.HasChanged()
	}
	data, err := rs.sess.Encode()
	return err != nil || !sameData(data, *rs.savedAs)
}

// sameData compares what two sessions were encoded to. Gob writes a map in any
// order, so different bytes may mean the same.
func sameData(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	dataA, errA := GobDecoder(a)
	dataB, errB := GobDecoder(b)
	return errA == nil && errB == nil && reflect.DeepEqual(dataA, dataB)
}

func (a foreignAdapter) changedIsReliable() bool { return false }

// isOurs reports whether the session is one of a store of ours, around which the app has
// put a store of its own. That session knows what became of its record.
func (rs *requestSession) isOurs() bool {
	b, ok := rs.sess.(*BaseSession)
	return ok && b != nil && b.isOfOurStore()
}

// isEmpty knows only of a session that has got a new ID. Otherwise a session that says
// that it has changed is saved.
func (a foreignAdapter) isEmpty(rs *requestSession) bool {
	if rs.sess.ID() == rs.lastID {
		return false
	}
	raw, err := rs.sess.Encode()
	if err != nil {
		return false
	}
	data, err := GobDecoder(raw)
	return err == nil && len(data) == 0
}

// save destroys a session that has ended. Any other it saves whole; if the session has
// a new ID it then destroys the old one.
func (a foreignAdapter) save(ctx context.Context, rs *requestSession) error {
	old := rs.lastID
	return redact.Foreign(a.write(ctx, rs), old, rs.lastID, rs.sess.ID())
}

func (a foreignAdapter) write(ctx context.Context, rs *requestSession) error {
	ctx, cancel := a.bound(ctx)
	defer cancel()
	if rs.hasEnded() {
		before := rs.inStore
		rs.inStore = commit.Gone
		a.ended.addNow(rs.lastID)
		err := a.store.Destroy(ctx, rs.lastID)
		if err != nil {
			a.ended.remove(rs.lastID)
			rs.inStore = before
		}
		return err
	}
	var count uint32
	if rs.base != nil {
		count = rs.base.writeThrough()
	}
	old := rs.lastID
	if err := a.store.Save(ctx, rs.sess); err != nil {
		return err
	}
	if rs.isOurs() {
		rs.noteSave()
		if rs.lastID != old && !rs.created {
			a.renewed.addNow(old)
		}
		return nil
	}
	if sid := rs.sess.ID(); sid != rs.lastID {
		if !rs.created {
			a.renewed.addNow(rs.lastID)
		}
		if rs.stored() {
			if err := a.store.Destroy(ctx, rs.lastID); err != nil {
				a.renewed.remove(rs.lastID)
				return err
			}
		}
		rs.lastID = sid
	}
	rs.inStore = commit.Live
	if rs.base != nil {
		rs.base.settle(count)
	} else if rs.sess.HasChanged() {
		rs.savedAs = nil
		if data, err := rs.sess.Encode(); err == nil {
			rs.savedAs = &data
		}
	}
	return nil
}

// follow does nothing: the session is going to be saved whole.
func (a foreignAdapter) follow(*requestSession, Session) {}

func (a foreignAdapter) touch(ctx context.Context, rs *requestSession) error {
	ctx, cancel := a.bound(ctx)
	defer cancel()
	return redact.Foreign(a.store.Touch(ctx, rs.lastID), rs.lastID)
}

func (a foreignAdapter) lookUp(ctx context.Context, sid string) (custom time.Duration, live bool) {
	ctx, cancel := a.bound(ctx)
	defer cancel()
	return 0, a.store.Exist(ctx, sid)
}
