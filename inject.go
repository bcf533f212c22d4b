package session

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/flamego/flamego"

	"github.com/flamego/session/internal/commit"
)

// What handlers receive: a Session, a Flash and a Store, and in place of Flamego's
// own a Context and a response writer through which the commit comes before the
// first byte.
//
// All these are mapped by their interface types: otherwise Flamego searches through all
// that is mapped, for every handler that asks. They are mapped as values of these types:
// otherwise package reflect compares methods for each handler, twice, which takes a
// sixth of a request in memory. The session is mapped by its own type as well.

// injected is what the handlers of one request receive besides Session and Flash.
type injected struct {
	writer writer
	store  requestStore

	asContext flamego.Context
	asWriter  http.ResponseWriter
	asStore   Store
}

var (
	contextType       = reflect.TypeFor[flamego.Context]()
	returnHandlerType = reflect.TypeFor[flamego.ReturnHandler]()
	sessionType       = reflect.TypeFor[Session]()
	flashType         = reflect.TypeFor[Flash]()
	storeType         = reflect.TypeFor[Store]()
	baseType          = reflect.TypeFor[*BaseSession]()
	writerType        = reflect.TypeFor[http.ResponseWriter]()
)

// noFlash is a nil of the type: a plain nil would make Flamego search for a service that fits
// interface{}.
var noFlash = reflect.Zero(flashType)

// inject maps all of it, and registers the hook for the first byte.
func (rq *request) inject() {
	c, w := rq.Context, rq.Context.ResponseWriter()
	rq.writer = writer{ResponseWriter: w, rq: rq}
	rq.asContext, rq.asWriter, rq.asStore = rq, &rq.writer, rq.m.adapter.attach(rq)
	if mapped, ok := c.Value(writerType).Interface().(http.ResponseWriter); ok && mapped != w {
		rq.asWriter = &writer{ResponseWriter: mapped, rq: rq} // middleware before us has its own
	}
	c.Set(sessionType, reflect.ValueOf(&rq.sess).Elem())
	if rq.base != nil {
		c.Set(baseType, reflect.ValueOf(rq.base))
	}
	if rq.flash != nil {
		c.Set(flashType, reflect.ValueOf(rq.flash).Elem())
	} else {
		c.Set(flashType, noFlash)
	}
	c.Set(storeType, reflect.ValueOf(&rq.asStore).Elem())
	c.Set(writerType, reflect.ValueOf(&rq.asWriter).Elem())
	c.Set(contextType, reflect.ValueOf(&rq.asContext).Elem())
	rq.m.returns.wrap(c)
	w.Before(rq.beforeHeader)
}

// returnWrapper makes a ReturnHandler write to our writer. Flamego calls a ReturnHandler with its
// own Context; the wrapper calls the one that was mapped before, with the Context that handlers
// receive. A wrapper belongs to no request, so the last one is kept: it is made anew only where
// another ReturnHandler is mapped.
type returnWrapper struct{ last atomic.Pointer[wrappedReturn] }

type wrappedReturn struct {
	before  mapping
	wrapper reflect.Value
}

// mapping is what Flamego has mapped: equal to another one only if it is the very same. What has an
// address may all the same hold another function by now.
type mapping struct{ reflect.Value }

func (w *returnWrapper) wrap(c flamego.Context) {
	before := mapping{c.Value(returnHandlerType)}
	last := w.last.Load()
	if last == nil || last.before != before || before.CanAddr() {
		handle, ok := before.Interface().(flamego.ReturnHandler)
		if !ok {
			return
		}
		last = &wrappedReturn{before, reflect.ValueOf(flamego.ReturnHandler(func(c flamego.Context, vals []reflect.Value) {
			handle(c.Value(contextType).Interface().(flamego.Context), vals)
		}))}
		w.last.Store(last)
	}
	c.Set(returnHandlerType, last.wrapper)
}

// ResponseWriter is the writer that Flamego's render and other middleware use.
func (rq *request) ResponseWriter() flamego.ResponseWriter { return &rq.writer }

// Redirect is Flamego's, to our writer.
func (rq *request) Redirect(location string, status ...int) {
	code := http.StatusFound
	if len(status) == 1 {
		code = status[0]
	}
	http.Redirect(rq.ResponseWriter(), rq.Request().Request, location, code)
}

// requestStore is the Store that handlers receive. It knows the session of the
// request, so that saving or destroying that session by hand is the same as what the
// middleware and Destroy do.
type requestStore struct{ rq *request }

func (s *requestStore) Exist(ctx context.Context, sid string) bool {
	return s.rq.m.store.Exist(ctx, sid)
}

func (s *requestStore) Read(ctx context.Context, sid string) (Session, error) {
	return s.rq.m.store.Read(ctx, sid)
}

func (s *requestStore) Touch(ctx context.Context, sid string) error {
	return s.rq.m.store.Touch(ctx, sid)
}

func (s *requestStore) GC(ctx context.Context) error { return s.rq.m.store.GC(ctx) }

func (s *requestStore) Destroy(ctx context.Context, sid string) error {
	s.rq.mu.Lock()
	old := s.rq.lastID
	s.rq.mu.Unlock()
	if id := s.rq.base.ID(); sid != id && sid == old {
		// The app destroys the old ID by hand, after RegenerateID. It is saved now,
		// which is a rename: that ends the old ID, and loses nothing that others saved.
		return s.Save(ctx, s.rq.base)
	}
	if err := s.rq.m.store.Destroy(ctx, sid); err != nil {
		return err
	}
	if sid == s.rq.base.ID() {
		s.rq.base.destroy()
	}
	return nil
}

// Save may be called by a goroutine of the handler, also after the request. So it leaves
// the header of the response alone: the cookie is set when the response begins.
func (s *requestStore) Save(ctx context.Context, sess Session) error {
	rq := s.rq
	if b, _ := baseOf(sess); b == nil || b != rq.base {
		if isUnknown(rq, sess, b) {
			return errUnknownID
		}
		if err := s.rq.m.store.Save(ctx, sess); err != nil {
			return err
		}
		s.noteOther(sess, b)
		return nil
	}
	// The time that it takes to wait for another save of the session counts.
	ctx, cancel := context.WithTimeout(ctx, rq.m.opts.Timeout)
	defer cancel()
	rq.mu.Lock()
	defer rq.mu.Unlock()
	now := rq.m.adapter.view(&rq.requestSession)
	if now.changed && !rq.isKnown(now) {
		return errNotSent
	}
	if err := rq.save(ctx); err != nil {
		return err
	}
	rq.extended, rq.refresh = true, true
	return nil
}

// noteOther notes that a session was saved that is the same as that of the request, but was
// read by hand: then the client must be sent its ID.
func (s *requestStore) noteOther(sess Session, base *BaseSession) {
	rq := s.rq
	rq.mu.Lock()
	defer rq.mu.Unlock()
	if rq.inStore == commit.Gone && sess.ID() == rq.lastID && (base == nil || base.view().inStore == commit.Live) {
		rq.inStore, rq.refresh = commit.Live, true
	}
}

var errUnknownID = errors.New("session: save: the client sent this session ID, and the store did not know it: nothing is stored under an ID that a client may have chosen")

// isUnknown reports whether somebody saves a new session under an ID that this request
// sent and that the store did not know. The base is that of the session, if it has one.
func isUnknown(rq *request, sess Session, base *BaseSession) bool {
	if rq.unknown == nil || sess == nil || base != nil && base.view().inStore == commit.Live {
		return false
	}
	if _, hasBase := baseOf(sess); hasBase && base == nil {
		return false // a nil pointer, which the store refuses
	}
	return sess.ID() != "" && slices.Contains(rq.unknown[:], sess.ID())
}
