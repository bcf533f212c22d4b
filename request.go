package session

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/flamego/flamego"
)

// request is the life of one request: open the session, run the handlers, commit
// before the first byte of the response, commit what changed after that.
//
// It is also the flamego.Context that the handlers receive: see inject.go. What it
// does about the response is in response.go.
type request struct {
	flamego.Context
	m *Manager

	mu  sync.Mutex // held while the session is saved, which a handler may do by hand
	err error      // why the commit failed

	requestSession // see adapter.go; guarded by mu once the handlers run
	injected       // see inject.go
	response       // see response.go

	flash    Flash
	returned bool        // the flash was given back
	aborted  bool        // a handler panicked, and what it did cannot be undone: nothing is committed any more
	renewing atomic.Bool // a save, which holds mu, is calling WriteIDFunc: if that begins the response, it must not commit
}

// serve is the middleware.
func (m *Manager) serve(c flamego.Context) {
	rq := &request{Context: c, m: m}
	if err := rq.open(); err != nil {
		if c.Request().Context().Err() == nil { // else the client has hung up, and nobody is to blame
			m.opts.ErrorFunc(err)
		}
		rq.refuse()
		return
	}
	rq.inject()
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
	m, w, r := rq.m, rq.Context.ResponseWriter(), rq.Request().Request
	if err := rq.load(r); err != nil {
		return err
	}
	rq.lastID = rq.sess.ID()
	if rq.created {
		m.issued.add(rq.lastID)
	}
	rq.base, _ = baseOf(rq.sess)
	m.opts.WriteIDFunc(w, r, rq.lastID, rq.created)

	var err error
	if rq.flash, err = m.adapter.takeFlash(r.Context(), &rq.requestSession); err != nil {
		return err
	}
	if !rq.extended { // there was no flash to take out of the store
		return nil
	}
	if err := r.Context().Err(); err != nil {
		// The client has hung up, so Flamego will not call any handler.
		rq.returnFlash()
		return err
	}
	rq.sendID()
	return nil
}

// load reads the session of the first ID in the request that the store knows;
// failing that, of the first that could be one of ours; failing that, a new one.
func (rq *request) load(r *http.Request) error {
	for _, sid := range rq.m.readIDs(r) {
		if sid == "" {
			break
		}
		sess, found, err := rq.read(r.Context(), sid)
		if err != nil {
			return err
		}
		if found || rq.sess == nil {
			rq.sess, rq.stored = sess, found
		}
		if found {
			return nil
		}
	}
	if rq.sess != nil {
		return nil
	}

	sid, err := newID(rq.m.opts.IDLength)
	if err != nil {
		return err
	}
	rq.created = true
	rq.sess, err = rq.m.adapter.create(r.Context(), sid)
	return err
}

// read returns the session with the ID and whether the store has it. What cannot be
// decoded is as if it were not there: it locks nobody out. Its bytes stay. Only if nothing
// at all can be decoded, they stay until something is set.
func (rq *request) read(ctx context.Context, sid string) (Session, bool, error) {
	sess, found, err := rq.m.adapter.read(ctx, sid)
	if sess != nil && errors.Is(err, errUnreadable) {
		rq.m.opts.ErrorFunc(err)
		err = nil
	}
	return sess, found, err
}

// returnFlash gives back a flash that nobody has seen, for the next request.
func (rq *request) returnFlash() {
	if rq.flash == nil || rq.returned {
		return
	}
	rq.returned = true
	if err := rq.m.adapter.giveFlash(rq.uncancelled(), &rq.requestSession, rq.flash); err != nil {
		rq.m.opts.ErrorFunc(err)
	}
}

// commit saves what changed since the last time, or else extends the session if that
// is due, and tells the client what became of it. A client that has hung up makes no
// difference. An error of a save is final, and ErrorFunc is told once.
func (rq *request) commit() error {
	if rq.renewing.Load() {
		return nil
	}
	rq.mu.Lock()
	defer rq.mu.Unlock()
	if rq.aborted || rq.err != nil {
		return rq.err
	}
	changed, ended, idle := rq.m.adapter.look(&rq.requestSession)
	switch {
	case changed:
		if rq.err = rq.save(rq.uncancelled()); rq.err != nil {
			rq.m.opts.ErrorFunc(rq.err)
			return rq.err
		}
		rq.extended = true
	case rq.stored && !rq.extended && idle >= rq.m.opts.TouchInterval:
		rq.extended = true
		// A session that could not be extended still is what the handler saw.
		if err := rq.m.adapter.touch(rq.uncancelled(), rq.lastID); err != nil {
			rq.m.opts.ErrorFunc(err)
			return nil
		}
	case !ended:
		return nil
	}
	rq.sendID()
	return nil
}

// uncancelled is the context of what a client that hangs up does not end.
func (rq *request) uncancelled() context.Context {
	return context.WithoutCancel(rq.Request().Context())
}

// save saves the session. The caller has the lock of the request.
func (rq *request) save(ctx context.Context) (err error) {
	known := rq.mayUseID()
	if err := rq.catchUp(ctx, known); err != nil {
		return err
	}
	if !rq.stored && !rq.hasEnded() && rq.m.adapter.isEmpty(&rq.requestSession) {
		rq.lastID = rq.sess.ID()
		return nil
	}
	if err := rq.leaveUnknownID(known); err != nil {
		return err
	}
	old := rq.lastID
	if rq.stored && rq.sess.ID() != old && !rq.hasEnded() {
		// Noted before the save: whoever finds the old ID gone must know why.
		rq.m.renamed.add(old)
		defer func() {
			if err != nil {
				rq.m.renamed.remove(old)
			}
		}()
	}
	if err := rq.m.adapter.save(ctx, &rq.requestSession); err != nil {
		return err
	}
	if rq.hasEnded() {
		rq.m.issued.remove(old)
	}
	if rq.stored {
		rq.m.issued.remove(rq.lastID)
	}
	return nil
}

// mayUseID reports whether the session may be stored under its ID even if the store
// does not know it. The answer may change while a request is saved.
func (rq *request) mayUseID() bool {
	return rq.created || rq.m.opts.AdoptUnknownIDs || rq.m.issued.has(rq.lastID)
}

// catchUp looks for the session once more if it was not there before and is about
// to get another ID. Of several first requests of a visitor one stores it first;
// the others must join it, not leave it behind.
func (rq *request) catchUp(ctx context.Context, known bool) error {
	renewed := rq.sess.ID() != rq.lastID
	switch {
	case rq.stored || rq.hasEnded():
		return nil
	case rq.created && !rq.begun(): // nobody has the ID yet
		return nil
	case known && !renewed: // it keeps its ID
		return nil
	}
	sess, found, err := rq.read(ctx, rq.lastID)
	if err != nil || !found {
		return err
	}
	rq.stored = true
	rq.m.adapter.follow(&rq.requestSession, sess)
	return nil
}

// leaveUnknownID gives the session a new ID if nobody knows the one that the
// client sent: it may have been planted by somebody who waits for it to become
// worth something (session fixation).
func (rq *request) leaveUnknownID(known bool) error {
	if rq.stored || rq.hasEnded() || known || rq.sess.ID() != rq.lastID {
		return nil
	}
	rq.renewing.Store(true)
	defer rq.renewing.Store(false)
	return rq.sess.RegenerateID(rq.Context.ResponseWriter(), rq.Request().Request)
}

// sendID tells the client what became of its session: gone, or good for another
// MaxAge.
func (rq *request) sendID() {
	w := rq.Context.ResponseWriter()
	switch {
	case !rq.m.writesCookie || w.Written():
	case rq.m.renamed.has(rq.lastID) && !rq.isDestroyed():
		// Another request gave the session a new ID. The browser may have the new
		// cookie by now, and our cookie, or an expired one, would replace it.
	case rq.hasEnded():
		rq.m.cookie.expire(w.Header())
	case rq.m.cookie.MaxAge > 0:
		rq.m.cookie.write(w.Header(), rq.lastID)
	}
}

// abort drops what the handlers did to the session and is not committed yet, after a
// panic. What middleware does that recovers from it, after that, is a change like any
// other. The flash is given back, unless a response has begun that may show it.
func (rq *request) abort() {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	renewed, begun := rq.sess.ID() != rq.lastID, rq.begun()
	rq.aborted = !rq.m.adapter.undo(&rq.requestSession, begun)
	if begun {
		return
	}
	if h := rq.Context.ResponseWriter().Header(); rq.m.writesCookie && renewed {
		rq.m.cookie.drop(h)
		if rq.created {
			rq.m.cookie.write(h, rq.lastID)
		}
	}
	rq.returnFlash()
}

// finish commits what changed after the first byte, or all of it when nothing
// was written.
func (rq *request) finish() {
	switch err := rq.commit(); {
	case err == nil || rq.refused:
		if !rq.begun() {
			rq.informCaches()
		}
	case !rq.begun():
		rq.refuse()
	default:
		rq.breakOff()
	}
}
