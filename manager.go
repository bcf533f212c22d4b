package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/visit"
)

// Manager is the session middleware with a handle: it gives out the handler and
// the store, and can be closed.
type Manager struct {
	opts  Options
	store Store

	adapter      storeAdapter // what the middleware asks of the store
	issued       *recentIDs   // IDs that were given out and have nothing stored yet, so the client did not invent them
	cookie       *cookie
	exactIDs     bool // no ID of another length than IDLength is one of ours
	noHashes     bool // what looks like the hash of an ID is none of our IDs
	readsCookie  bool // the ID comes from the cookie
	writesCookie bool // the ID is sent in the cookie
	sent         sentCookies
	returns      returnWrapper
	observer     *observer // nil for none

	stop    context.CancelFunc // ends the GC
	stopped sync.WaitGroup
	closing sync.Once
}

// New opens the store and returns the middleware, of which [Manager.Handler] is
// to be used:
//
//	m, err := session.New(session.Options{...})
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	f.Use(m.Handler())
//
// It returns an error for options that cannot work, naming what is wrong, and
// the error of the Initer. Of several Options the first counts.
func New(opts ...Options) (*Manager, error) {
	var opt Options
	if len(opts) > 0 {
		opt = opts[0]
	}
	opt = opt.withDefaults()
	for _, warning := range opt.Cookie.correct() {
		opt.ErrorFunc(warning)
	}
	if err := opt.check(); err != nil {
		return nil, err
	}

	m := &Manager{
		opts: opt, cookie: newCookie(opt.Cookie, opt.MaxLifetime), issued: newRecentIDs(recentPlaces),
		readsCookie: opt.ReadIDFunc == nil, writesCookie: opt.WriteIDFunc == nil,
		observer: newObserver(&opt),
	}
	if visit.IDFuncs != nil && !m.readsCookie && !m.writesCookie { // a test watches the IDs
		m.opts.ReadIDFunc, m.opts.WriteIDFunc = visit.IDFuncs(m, opt.ReadIDFunc, opt.WriteIDFunc)
	}

	var err error
	m.store, err = opt.Initer(context.Background(), opt.Config, m.idWriter())
	if err != nil {
		return nil, err
	}
	if m.store == nil {
		return nil, errors.New("the Initer returned no store")
	}
	if err := m.setAdapter(); err != nil {
		_ = m.closeStore()
		return nil, err
	}
	m.startGC()
	return m, nil
}

// setAdapter settles what depends on the make of the store.
func (m *Manager) setAdapter() error {
	store, ok := m.store.(ownStore)
	if !ok {
		m.adapter = newForeignAdapter(m.store, m.opts.Timeout)
		if option := m.opts.forOurStores(); option != "" {
			return redact.New(fmt.Sprintf("%s needs a store of this module or of NewStore, and the store is a %T", option, m.store), errors.ErrUnsupported)
		}
		return nil
	}
	m.adapter = ownAdapter{store, new(sync.Map)}
	if err := store.configure(&m.opts); err != nil {
		return err
	}
	if s, ok := store.(*recordStore); ok {
		m.exactIDs, m.noHashes = s.shared, true
	}
	return m.setTouchInterval(store.rules().lifetime)
}

// setTouchInterval settles how often a session is extended that has no lifetime of its own.
func (m *Manager) setTouchInterval(lifetime time.Duration) error {
	if m.opts.TouchInterval >= lifetime {
		return fmt.Errorf("TouchInterval is %v, not shorter than the Lifetime of %v", m.opts.TouchInterval, lifetime)
	}
	if m.opts.TouchInterval == 0 && lifetime >= time.Minute {
		m.opts.TouchInterval = min(lifetime/60, time.Minute)
		if m.writesCookie && m.opts.Cookie.MaxAge > 0 { // the cookie is sent again when the session is extended
			m.opts.TouchInterval = min(m.opts.TouchInterval, refreshAfter(m.opts.Cookie.MaxAge))
		}
	}
	return nil
}

// Sessioner returns the session middleware. It panics with "session: " and the
// error where [New] returns one. Its store is never closed; use New for that.
func Sessioner(opts ...Options) flamego.Handler {
	m, err := New(opts...)
	if err != nil {
		panic("session: " + err.Error())
	}
	return m.Handler()
}

// Handler returns the middleware. It gives the handlers after it a Session, a
// Store and a Flash.
func (m *Manager) Handler() flamego.Handler {
	return flamego.ContextInvoker(m.serve)
}

// Store returns the store of the sessions.
func (m *Manager) Store() Store { return m.store }

// Close ends the GC and closes what the store opened itself: never a client or
// pool that the Config brought. It returns the error of the store. Requests
// must have ended before; closing again does nothing. It waits for a GC that is
// running, so ErrorFunc must not call it.
func (m *Manager) Close() error {
	var err error
	m.closing.Do(func() {
		m.stop()
		m.stopped.Wait()
		err = m.closeStore()
	})
	return err
}

func (m *Manager) closeStore() error {
	if c, ok := m.store.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// startGC makes the store collect what has expired, until Close. The first time is soon
// after the start, since an app may be started anew more often than every GCInterval. The
// time is random, so that instances that start together do not collect together.
func (m *Manager) startGC() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.stopped.Add(1)
	soon := min(m.opts.GCInterval, time.Minute) / 2
	go func() {
		defer m.stopped.Done()
		timer := time.NewTimer(soon + mathrand.N(soon))
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				timer.Reset(m.opts.GCInterval)
				if err := m.store.GC(ctx); err != nil && ctx.Err() == nil {
					m.opts.ErrorFunc(redact.Foreign(err))
				}
			}
		}
	}()
}

// idWriter returns the writer that stores hand to their sessions.
func (m *Manager) idWriter() IDWriter {
	return func(w http.ResponseWriter, r *http.Request, sid string) {
		m.issued.add(sid)
		if !m.writesCookie {
			m.opts.WriteIDFunc(w, r, sid, true)
			return
		}
		line := m.cookie.line(sid, 0)
		m.cookie.replace(w.Header(), line, nil)
		if r != nil {
			m.cookie.putInRequest(r, line, nil)
		}
	}
}

// candidates are IDs that a request brings, in its own order; unused places are
// empty. There are so few places because each ID costs a look-up, and a client may
// send very many.
type candidates [4]string

// readIDs returns what can be an ID of ours. A browser sends several when it holds
// cookies of one name with different paths or domains. Those of IDLength come first: the
// others may be from before it was changed, and may be anything.
func (m *Manager) readIDs(r *http.Request) (ids candidates) {
	if m.opts.ReadIDFunc != nil {
		if sid := m.opts.ReadIDFunc(r); m.canBeID(sid) && (!m.exactIDs || len(sid) == m.opts.IDLength) {
			ids[0] = sid
		}
		return ids
	}
	lines := r.Header["Cookie"]
	if len(lines) == 0 {
		return ids
	}
	var others candidates
	n, nOthers := 0, 0
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			switch sid, ok := m.cookie.value(part); {
			case !ok || !m.canBeID(sid):
			case len(sid) == m.opts.IDLength && n < len(ids):
				ids[n] = sid
				n++
			case len(sid) != m.opts.IDLength && !m.exactIDs && nOthers < len(others):
				others[nOthers] = sid
				nOthers++
			}
		}
	}
	copy(ids[n:], others[:nOthers])
	return ids
}

// canBeID reports whether what a client sends as its ID can be one. What looks like the key of a record is
// none, also where Options.HashIDs is not set any more: there may be records from before.
func (m *Manager) canBeID(sid string) bool {
	return checkSID(sid) == nil && !(m.noHashes && isHashedKey(sid))
}

// mayUse reports whether a session may be stored under an ID that came from the client
// and that the store does not know.
func (m *Manager) mayUse(sid string) bool {
	if m.issued.has(sid) {
		return true
	}
	if !m.opts.AdoptUnknownIDs || len(sid) != m.opts.IDLength {
		return false
	}
	m.issued.remove(sid) // a logout that has ended the ID is over
	return true
}
