package session

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/state"
)

// request is the life of one request: open the session, run the handlers, commit
// before the first byte of the response, commit what changed after that.
//
// It is also the flamego.Context that the handlers receive: see inject.go. What it
// does about the response is in response.go, what it tells the client of the session in
// announce.go.
//
// These say what is over, from the first to the last:
//
//	failed   a commit: the response is a 500, or is broken off (adapter.go)
//	closed   all commits: the changes of the handlers are dropped (adapter.go)
//	refused  the response, which is our 500 (response.go)
//	sealed   the header of the response (announce.go)
//	gone     the connection, which was hijacked or broken off (response.go)
//	over     the request, for goroutines that still have its session
type request struct {
	flamego.Context
	m *Manager

	mu sync.Mutex // held while the session is saved, which a handler may do by hand

	requestSession // see adapter.go; what is not fixed is guarded by mu once the handlers run
	announcement   // see announce.go; guarded by mu likewise
	injected       // see inject.go
	response       // see response.go

	unknown *candidates // IDs that the client sent and the store does not know
	flash   *Flash      // nil for none
	over    atomic.Bool // the request has ended, and nothing is committed any more
	lost    atomic.Bool // ErrorFunc knows that changes were lost
}

// serve is the middleware.
func (m *Manager) serve(c flamego.Context) {
	rq := &request{Context: c, m: m}
	defer rq.over.Store(true)
	if err := rq.open(); err != nil {
		if c.Request().Context().Err() == nil { // else the client has hung up, and nobody is to blame
			m.opts.ErrorFunc(err)
		}
		rq.refuse()
		return
	}
	rq.inject()
	defer rq.breakOffUnsaved() // also when a handler, or ErrorFunc, panics
	rq.Next()
	rq.finish()
}

// Next runs the handlers that come after the caller. A panic in one of them undoes what
// they did to the session. That holds for a Recovery that comes after the sessions, too,
// since it calls this Next.
func (rq *request) Next() {
	panicked := true
	defer func() {
		if panicked {
			rq.abort()
		}
	}()
	rq.Context.Next()
	panicked = false
}

// open finds or makes the session of the request and takes its flash.
func (rq *request) open() error {
	r := rq.Request().Request
	ours, err := rq.load(r)
	if err != nil {
		return err
	}
	line := "" // of a Set-Cookie
	if rq.sess == nil {
		if line, err = rq.begin(r.Context(), ours); err != nil {
			return err
		}
	}
	rq.lastID = rq.sess.ID()
	rq.base, _ = baseOf(rq.sess)
	rq.introduce(r, line)

	if rq.created || rq.sess.Get(state.FlashKey) == nil || !rq.m.opts.FlashFor(r) {
		return nil
	}
	flash, err := rq.m.adapter.takeFlash(rq.uncancelled(), &rq.requestSession)
	if err != nil {
		return err
	}
	if flash != nil {
		rq.flash = &flash
	}
	rq.refresh = rq.extended // it was written, so the cookie is due again
	if err := r.Context().Err(); rq.extended && err != nil {
		// The client has hung up, so Flamego will not call any handler.
		rq.returnFlash()
		return err
	}
	return nil
}

// load reads the session of the first ID in the request that the store knows. Failing
// that, the session is that of an ID that was given up a moment ago, which stays void. Failing
// that too, load returns an ID of the request under which a session may begin, if there is one.
func (rq *request) load(r *http.Request) (ours string, err error) {
	for i, sid := range rq.m.readIDs(r) {
		if sid == "" {
			break
		}
		sess, status, usable, err := rq.lookUp(r.Context(), sid)
		switch {
		case err != nil:
			return "", err
		case status == commit.Live:
			rq.sess, rq.inStore = sess, status
			return "", nil
		case status == commit.Renewed:
			rq.sess, rq.inStore = sess, status
		case usable:
			if ours == "" {
				ours = sid
			}
		default:
			if rq.unknown == nil {
				rq.unknown = new(candidates)
			}
			rq.unknown[i] = sid
		}
	}
	if rq.sess == nil && rq.unknown != nil {
		rq.m.observer.unknownID(r.Context(), rq.unknown)
	}
	return ours, nil
}

// begin makes a new session: under an ID of the request, which this process has given out (or any
// with AdoptUnknownIDs), or else under a new ID, since nobody may choose the ID of a session that
// is going to be worth something (session fixation). With a new ID it returns the cookie.
func (rq *request) begin(ctx context.Context, sid string) (line string, err error) {
	if rq.created = sid == ""; rq.created {
		if line, sid, err = rq.m.cookie.withNewID(rq.m.opts.IDLength); err != nil {
			return "", err
		}
	}
	rq.sess, err = rq.m.adapter.create(ctx, sid, rq.created, rq.freeRoom())
	if err == nil && rq.created && rq.sess.ID() != sid {
		line = rq.m.cookie.line(rq.sess.ID(), 0) // a store of another make has given it an ID of its own
	}
	return line, err
}

// lookUp is read for an ID that a client has sent. If nothing is stored under the ID, lookUp also
// reports whether a session may begin there.
func (rq *request) lookUp(ctx context.Context, sid string) (sess Session, status commit.Status, usable bool, err error) {
	issued := rq.m.issued.has(sid)
	sess, status, err = rq.read(ctx, sid)
	if err != nil || status != commit.Gone {
		return sess, status, false, err
	}
	if issued && !rq.m.issued.has(sid) {
		// Another request has stored the first thing under this ID since read has looked.
		issued = false
		if sess, status, err = rq.read(ctx, sid); err != nil || status != commit.Gone {
			return sess, status, false, err
		}
	}
	return sess, status, issued || rq.m.mayUse(sid), nil
}

// read returns the session with the ID and what the store knows of the ID. What cannot be
// decoded is reported and missing from the session, and locks nobody out. Its bytes stay
// in the store. If nothing can be decoded, the first change replaces them.
func (rq *request) read(ctx context.Context, sid string) (Session, commit.Status, error) {
	sess, status, err := rq.m.adapter.read(ctx, sid, rq.freeRoom())
	if sess != nil && errors.Is(err, errUnreadable) {
		rq.m.opts.ErrorFunc(err)
		err = nil
	}
	return sess, status, err
}

// freeRoom returns the room for a session, unless the request has its session there already.
func (rq *request) freeRoom() *BaseSession {
	if rq.sess != nil {
		return new(BaseSession)
	}
	return &rq.room
}

// returnFlash gives back a flash that nobody has seen, for the next request. Once the
// handlers run, the caller has the lock of the request.
func (rq *request) returnFlash() {
	if rq.flash == nil || rq.returned {
		return
	}
	rq.returned = true
	if err := rq.m.adapter.giveFlash(rq.uncancelled(), &rq.requestSession, *rq.flash); err != nil {
		rq.m.opts.ErrorFunc(err)
	}
}

// commit saves what changed since the last time, or else extends the session if that
// is due, and tells the client what became of it. A client that has hung up makes no
// difference. commit reports whether all is saved. An error of a save is final, and ErrorFunc
// is told once.
func (rq *request) commit() (saved bool) {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	if rq.closed || rq.failed {
		return !rq.failed
	}
	now := rq.m.adapter.view(&rq.requestSession)
	switch {
	case now.changed && !rq.isKnown(now):
		rq.closed = !rq.m.adapter.undo(&rq.requestSession, true)
		rq.reportLost(errNotSent)
		return true
	case now.changed:
		if err := rq.save(rq.uncancelled()); err != nil {
			rq.failed = true
			rq.m.opts.ErrorFunc(err)
			return false
		}
		rq.extended, rq.refresh = true, true
		now.custom = rq.customLifetime() // another request may have set it
	case !rq.stored() || rq.extended || now.ended || !rq.isAccess(): // nothing to extend
	case now.idle == never: // but its cookie may end before the session does
		rq.extended, rq.refresh = true, true
	case rq.m.isDue(now):
		rq.extended = true
		// A session that could not be extended still is what the handler saw.
		if err := rq.m.adapter.touch(rq.uncancelled(), &rq.requestSession); err != nil {
			rq.m.opts.ErrorFunc(err)
			return true
		}
		rq.refresh = true
	}
	rq.announce(now)
	return true
}

// isDue reports whether a session is to be extended that is only read. One with a short lifetime
// of its own is extended more often.
func (m *Manager) isDue(now view) bool {
	interval := m.opts.TouchInterval
	if now.custom > 0 {
		interval = min(interval, now.custom/60)
	}
	// Idle may be below zero, where a store rounds up: then a negative interval is due all the same.
	return interval < 0 || now.idle >= interval
}

// isAccess reports whether the request counts as an access though it changes nothing.
func (rq *request) isAccess() bool {
	touchFor := rq.m.opts.TouchFor
	return touchFor == nil || touchFor(rq.Request().Request)
}

// uncancelled is the context of work that goes on when the client hangs up. It is that of
// context.WithoutCancel, without an allocation.
func (rq *request) uncancelled() context.Context { return (*uncancelled)(rq) }

type uncancelled request

func (*uncancelled) Deadline() (t time.Time, ok bool) { return t, false }
func (*uncancelled) Done() <-chan struct{}            { return nil }
func (*uncancelled) Err() error                       { return nil }
func (u *uncancelled) Value(key any) any              { return u.Request().Context().Value(key) }

// save saves the session. The caller has the lock of the request.
func (rq *request) save(ctx context.Context) error {
	if err := rq.catchUp(ctx); err != nil {
		return err
	}
	endedElsewhere := !rq.stored() && !rq.created && !rq.hasEnded() && rq.m.issued.hasEnded(rq.lastID)
	if endedElsewhere {
		rq.closed = true // a logout of a session that held nothing is one all the same
		return nil
	}
	nothingToStore := !rq.stored() && !rq.hasEnded() && rq.m.adapter.isEmpty(&rq.requestSession)
	if nothingToStore {
		if rq.inStore != commit.Renewed {
			rq.lastID = rq.sess.ID()
		}
		return nil
	}
	if rq.base != nil && rq.created {
		// The visitor is new until a response has sent the ID of a stored session.
		rq.base.setFirst(!rq.sealed || !rq.stored())
	}
	old, wasStored := rq.lastID, rq.stored()
	if err := rq.m.adapter.save(ctx, &rq.requestSession); err != nil {
		return err
	}
	if !wasStored && rq.isDestroyed() {
		rq.m.issued.end(old)
	}
	if rq.stored() {
		rq.m.issued.remove(old)
		rq.m.issued.remove(rq.lastID)
	}
	return nil
}

// catchUp looks for the session once more if it was not there before and is about
// to get another ID. Of several first requests of a visitor one stores it first;
// the others must join it, not leave it behind.
func (rq *request) catchUp(ctx context.Context) error {
	if rq.inStore != commit.Gone || rq.created || rq.hasEnded() || rq.sess.ID() == rq.lastID {
		return nil
	}
	sess, status, err := rq.read(ctx, rq.lastID)
	if err != nil {
		return err
	}
	if rq.inStore = status; status != commit.Gone {
		rq.m.adapter.follow(&rq.requestSession, sess)
	}
	return nil
}

var (
	errNotSent  = errors.New("session: changes are lost: they were made after the response began, and it did not send the client the ID of its new session")
	errAfterEnd = errors.New("session: a session was changed after its request had ended: only Store.Save stores that")
)

// reportLost tells ErrorFunc, once, that changes were lost.
func (rq *request) reportLost(err error) {
	if !rq.lost.Swap(true) {
		rq.m.opts.ErrorFunc(err)
	}
}

// abort drops what the handlers did to the session and is not committed yet, after a
// panic. What middleware does that recovers from it, after that, is a change like any
// other. The flash is given back, unless a response has begun that may show it.
func (rq *request) abort() {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	begun := rq.begun()
	rq.withdraw(begun)
	rq.closed = !rq.m.adapter.undo(&rq.requestSession, begun)
	if !begun {
		rq.returnFlash()
	}
}

// finish commits what changed after the first byte, or all of it when nothing
// was written.
func (rq *request) finish() {
	switch saved := rq.commit(); {
	case rq.refused:
		dropTrailers(rq.Context.ResponseWriter().Header())
	case saved:
		if rq.begun() {
			return
		}
		if rq.Request().Context().Err() != nil { // the client has hung up: no handler may have seen the flash
			rq.mu.Lock()
			rq.returnFlash()
			rq.mu.Unlock()
		}
		rq.seal()
	case !rq.begun():
		rq.refuse()
	}
}

// breakOffUnsaved breaks the response off if it is not our 500 and the session is not saved.
func (rq *request) breakOffUnsaved() {
	rq.mu.Lock()
	failed := rq.failed
	rq.mu.Unlock()
	if failed && !rq.refused && rq.begun() {
		rq.breakOff()
	}
}
