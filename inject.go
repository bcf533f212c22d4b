package session

import (
	"context"
	"net/http"
	"reflect"

	"github.com/flamego/flamego"
)

// What handlers receive: a Session, a Flash and a Store, and in place of Flamego's
// own a Context and a response writer through which the commit comes before the
// first byte.
//
// All are mapped by their interface types: otherwise Flamego searches through all that
// is mapped, for every handler that asks. They are mapped as values of these types:
// otherwise package reflect compares methods for each handler, twice, which takes a
// sixth of a request in memory.

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
	writerType        = reflect.TypeFor[http.ResponseWriter]()
)

// inject maps all of it, and registers the hook for the first byte. A missing flash is
// a nil of its type: a plain nil would make Flamego search for a service that fits
// interface{}.
func (rq *request) inject() {
	c, w := rq.Context, rq.Context.ResponseWriter()
	rq.writer = writer{ResponseWriter: w, rq: rq}
	rq.asContext, rq.asWriter, rq.asStore = rq, &rq.writer, rq.m.adapter.attach(rq)
	if mapped, ok := c.Value(writerType).Interface().(http.ResponseWriter); ok && mapped != w {
		rq.asWriter = &writer{ResponseWriter: mapped, rq: rq} // middleware before us has its own
	}
	c.Set(reflect.TypeOf(rq.sess), reflect.ValueOf(rq.sess)) // a handler may ask for a *BaseSession, or a type of its app
	c.Set(sessionType, reflect.ValueOf(&rq.sess).Elem())
	c.Set(flashType, reflect.ValueOf(&rq.flash).Elem())
	c.Set(storeType, reflect.ValueOf(&rq.asStore).Elem())
	c.Set(writerType, reflect.ValueOf(&rq.asWriter).Elem())
	c.Set(contextType, reflect.ValueOf(&rq.asContext).Elem())
	if handle, ok := c.Value(returnHandlerType).Interface().(flamego.ReturnHandler); ok {
		c.Set(returnHandlerType, reflect.ValueOf(flamego.ReturnHandler(
			func(_ flamego.Context, vals []reflect.Value) { handle(rq, vals) },
		)))
	}
	w.Before(rq.beforeHeader)
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
type requestStore struct {
	Store
	rq *request
}

func (s *requestStore) Destroy(ctx context.Context, sid string) error {
	s.rq.mu.Lock()
	old := s.rq.lastID
	s.rq.mu.Unlock()
	if id := s.rq.base.ID(); sid != id && sid == old {
		// The app destroys the old ID by hand, after RegenerateID. It is saved now,
		// which is a rename: that ends the old ID, and loses nothing that others saved.
		return s.Save(ctx, s.rq.base)
	}
	if err := s.Store.Destroy(ctx, sid); err != nil {
		return err
	}
	if sid == s.rq.base.ID() {
		s.rq.base.destroy()
	}
	return nil
}

func (s *requestStore) Save(ctx context.Context, sess Session) error {
	if b, _ := baseOf(sess); b == nil || b != s.rq.base {
		return s.Store.Save(ctx, sess)
	}
	// The time that it takes to wait for another save of the session counts.
	ctx, cancel := context.WithTimeout(ctx, s.rq.m.opts.Timeout)
	defer cancel()
	s.rq.mu.Lock()
	defer s.rq.mu.Unlock()
	if err := s.rq.save(ctx); err != nil {
		return err
	}
	s.rq.extended = true
	s.rq.sendID()
	return nil
}
