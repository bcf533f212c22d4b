package session

import (
	"context"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/flamego/flamego"
)

// request is the life of one request: open the session, run the handlers,
// commit before the first byte of the response, commit what changed after that.
//
// It is also the flamego.Context that handlers after the middleware receive,
// the same as before but for its response writer: there, and in the injected
// one, a commit that fails still becomes a 500.
type request struct {
	flamego.Context
	m *Manager

	mu     sync.Mutex // held while the session is saved, which a handler may do by hand
	sess   Session
	base   *BaseSession // the one in sess, nil if there is none
	readAs string       // the ID the session was read or last saved under
	stored bool         // the store has it
	fresh  bool         // the ID is new to the client

	flash     Flash
	writer    writer
	store     requestStore
	services  services
	extended  bool        // the session lives a full lifetime from this request on
	saved     []byte      // what a session that says forever that it has changed was saved as
	committed bool        // our writer has committed before it let the response begin
	aborted   bool        // a handler panicked: nothing is committed any more
	hijacked  bool        // the connection is no longer ours
	err       error       // why the commit failed
	renewing  atomic.Bool // WriteIDFunc is being called by a save: what it writes commits nothing
	refused   bool        // the response is our 500

	headers [2]string // room for values of the header
}

// services are what handlers may ask for, besides Session and Flash.
type services struct {
	context flamego.Context
	writer  http.ResponseWriter
	store   Store
}

var (
	contextType       = reflect.TypeFor[flamego.Context]()
	returnHandlerType = reflect.TypeFor[flamego.ReturnHandler]()
	sessionType       = reflect.TypeFor[Session]()
	flashType         = reflect.TypeFor[Flash]()
	storeType         = reflect.TypeFor[Store]()
	writerType        = reflect.TypeFor[http.ResponseWriter]()
)

// serve is the middleware.
func (m *Manager) serve(c flamego.Context) {
	rq := &request{Context: c, m: m}
	flash, err := rq.open()
	if err != nil {
		if c.Request().Context().Err() == nil { // else the client has hung up, and nobody is to blame
			m.opts.ErrorFunc(err)
		}
		rq.refuse()
		return
	}
	rq.flash = flash
	rq.inject()

	panicked := true
	defer func() {
		if panicked {
			rq.abort()
		}
	}()
	c.Next()
	panicked = false
	rq.finish()
}

// open finds or makes the session of the request and takes its flash.
func (rq *request) open() (Flash, error) {
	m, w, r := rq.m, rq.Context.ResponseWriter(), rq.Request().Request
	if err := rq.load(r); err != nil {
		return nil, err
	}
	rq.readAs = rq.sess.ID()
	if rq.fresh {
		m.issued.add(rq.readAs)
	}
	if b, ok := rq.sess.(based); ok {
		rq.base = b.baseSession()
	}
	if m.native != nil { // another store may hand out one session to many requests
		rq.base.request = rq
	}
	m.opts.WriteIDFunc(w, r, rq.readAs, rq.fresh)

	if rq.fresh && m.native != nil {
		return nil, nil
	}
	flash := rq.sess.Get(flashKey)
	if flash == nil {
		return nil, nil
	}
	if m.native == nil {
		rq.sess.Delete(flashKey)
		return flash, nil
	}
	flash, err := m.native.takeFlash(rq.uncancelled(), rq.base)
	if err != nil {
		return nil, err
	}
	rq.stored, rq.extended = rq.base.isStored(), true
	if err := r.Context().Err(); err != nil {
		// The client has hung up, so Flamego will not call any handler.
		if flash != nil {
			rq.returnFlash(flash)
		}
		return nil, err
	}
	rq.sendID()
	return flash, nil
}

// load reads the session of the first ID in the request that the store knows;
// failing that, of the first that could be one of ours; failing that, a new one.
func (rq *request) load(r *http.Request) error {
	for _, sid := range rq.m.readIDs(r) {
		if sid == "" {
			break
		}
		sess, found, err := rq.m.read(r.Context(), sid)
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
	rq.fresh = true
	rq.sess, err = rq.m.create(r.Context(), sid)
	return err
}

// inject makes the services of the request known to the handlers. They are
// mapped by their interface types, or Flamego searches through all that is
// mapped for every handler that asks; and as values of these types, or package
// reflect compares their methods with those of the type, for each handler twice.
func (rq *request) inject() {
	c, w := rq.Context, rq.Context.ResponseWriter()
	rq.writer = writer{ResponseWriter: w, rq: rq}
	rq.services = services{context: rq, writer: &rq.writer, store: rq.m.store}
	if mapped, ok := c.Value(writerType).Interface().(http.ResponseWriter); ok && mapped != w {
		rq.services.writer = &writer{ResponseWriter: mapped, rq: rq}
	}
	if rq.m.native != nil {
		rq.store = requestStore{Store: rq.m.store, rq: rq}
		rq.services.store = &rq.store
	}
	c.Set(sessionType, reflect.ValueOf(&rq.sess).Elem())
	c.Set(flashType, reflect.ValueOf(&rq.flash).Elem())
	c.Set(storeType, reflect.ValueOf(&rq.services.store).Elem())
	c.Set(writerType, reflect.ValueOf(&rq.services.writer).Elem())
	c.Set(contextType, reflect.ValueOf(&rq.services.context).Elem())
	if handle, ok := c.Value(returnHandlerType).Interface().(flamego.ReturnHandler); ok {
		c.Set(returnHandlerType, reflect.ValueOf(flamego.ReturnHandler(
			func(_ flamego.Context, vals []reflect.Value) { handle(rq, vals) },
		)))
	}
	w.Before(rq.beforeHeader)
}

// commit brings the session into the store; it does nothing if nothing changed
// since the last time. A client that has hung up makes no difference. An error
// is final, and ErrorFunc is told once.
func (rq *request) commit() error {
	if rq.renewing.Load() {
		return nil
	}
	rq.mu.Lock()
	defer rq.mu.Unlock()
	if rq.aborted || rq.err != nil {
		return rq.err
	}
	quiet, due := rq.state()
	switch {
	case quiet && !due: // most sessions, most of the time
		return nil
	case rq.worthSaving():
		if rq.err = rq.save(rq.uncancelled()); rq.err != nil {
			rq.m.opts.ErrorFunc(rq.err)
			return rq.err
		}
		rq.extended = true
	case due:
		rq.extended = true
		// A session that could not be extended still is what the handler saw.
		if err := rq.m.touch(rq.uncancelled(), rq.readAs); err != nil {
			rq.m.opts.ErrorFunc(err)
			return nil
		}
	case !rq.ended():
		return nil
	}
	rq.sendID()
	return nil
}

// uncancelled is the context of what a client that hangs up does not end.
func (rq *request) uncancelled() context.Context {
	return context.WithoutCancel(rq.Request().Context())
}

// worthSaving reports whether there are changes that the store must know: those
// of a session that is neither stored nor holds anything are not, and neither is
// the end of one that nobody knew. An ID that is given up is worth a look: another
// request may have stored something under it.
func (rq *request) worthSaving() bool {
	if rq.m.native == nil { // only its own session knows
		return (rq.sess.HasChanged() || rq.sess.ID() != rq.readAs) && !rq.sameAsSaved()
	}
	if !rq.sess.HasChanged() {
		return false
	}
	if rq.stored {
		return true
	}
	if rq.base.isEnded() {
		return !rq.fresh
	}
	return !rq.base.isEmpty() || !rq.fresh && rq.base.ID() != rq.readAs
}

// state reports whether nothing has happened to the session, as far as is known, and
// whether it has to be extended.
func (rq *request) state() (quiet, due bool) {
	due = rq.stored && !rq.extended
	if rq.m.native == nil {
		return false, due
	}
	quiet, idle := rq.base.isQuiet()
	return quiet, due && idle >= rq.m.opts.TouchInterval
}

// ended reports whether there is no session any more.
func (rq *request) ended() bool {
	return rq.base != nil && rq.base.isEnded()
}

func (rq *request) save(ctx context.Context) (err error) {
	known := rq.knowsID()
	if err := rq.catchUp(ctx, known); err != nil {
		return err
	}
	if rq.m.native != nil && !rq.stored && !rq.ended() && rq.base.isEmpty() {
		rq.readAs = rq.sess.ID()
		return nil
	}
	if err := rq.leaveUnknownID(known); err != nil {
		return err
	}
	if old := rq.readAs; rq.stored && rq.sess.ID() != old && !rq.ended() {
		// Before it is true: whoever finds the old ID gone must know why.
		rq.m.renamed.add(old)
		defer func() {
			if err != nil {
				rq.m.renamed.remove(old)
			}
		}()
	}
	if rq.m.native == nil {
		ctx, cancel := rq.m.bound(ctx)
		defer cancel()
		return rq.saveForeign(ctx)
	}
	if err := rq.m.store.Save(ctx, rq.sess); err != nil {
		return err
	}
	if rq.ended() {
		rq.m.issued.remove(rq.readAs)
	}
	rq.readAs, rq.stored = rq.base.ID(), rq.base.isStored()
	if rq.stored {
		rq.m.issued.remove(rq.readAs)
	}
	return nil
}

// sendID tells the client what became of its session: gone, or good for another
// MaxAge.
func (rq *request) sendID() {
	w := rq.Context.ResponseWriter()
	switch {
	case !rq.m.writesCookie || w.Written():
	case rq.m.renamed.has(rq.readAs) && !rq.base.isDestroyed():
		// Another request gave the session a new ID. The browser may have that by
		// now, and ours, or none, would take it away.
	case rq.ended():
		rq.m.cookie.expire(w.Header())
	case rq.m.cookie.MaxAge > 0:
		rq.m.cookie.write(w.Header(), rq.readAs)
	}
}

// beforeHeader is called by Flamego when the response is about to begin, in
// whatever way. Here it is too late for another status.
func (rq *request) beforeHeader(w flamego.ResponseWriter) {
	// A session of another make may say forever that it has changed: that it was
	// saved a moment ago, by our writer, is enough.
	if rq.m.native != nil || !rq.committed {
		if rq.commit() != nil && rq.m.writesCookie {
			rq.m.cookie.drop(w.Header())
		}
	}
	rq.informCaches()
}

// informCaches sets the headers for caches as late as possible: only now is it
// known what the app says itself, which often means to replace what is there.
func (rq *request) informCaches() {
	h := rq.Context.ResponseWriter().Header()
	if rq.m.readsCookie && !variesByCookie(h) {
		if h["Vary"] == nil {
			h["Vary"] = rq.headers[0:0:1]
		}
		h["Vary"] = append(h["Vary"], "Cookie")
	}
	if rq.m.writesCookie && rq.m.cookie.isIn(h) && len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = append(rq.headers[1:1:2], "no-store")
	}
}

// ready commits before the response begins, and reports whether the handler may
// write: it may not once the commit has failed and the response is our 500.
func (rq *request) ready() bool {
	if !rq.begun() {
		rq.committed = true
		if rq.commit() != nil {
			rq.refuse()
		}
	}
	return !rq.refused
}

func (rq *request) begun() bool {
	return rq.hijacked || rq.Context.ResponseWriter().Written()
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
