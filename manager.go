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
)

// Options configures the session middleware.
type Options struct {
	// Initer opens the store. Default is MemoryIniter().
	Initer Initer
	// Config is the configuration that the Initer takes, by value, for example a
	// redis.Config. Default is none, which the memory and the file store accept.
	Config interface{}
	// Cookie configures the cookie that carries the session ID. Default is
	// "flamego_session=ID; Path=/; HttpOnly; SameSite=Lax".
	Cookie CookieOptions
	// IDLength is the number of characters of a session ID, up to 255. Values
	// under 3 mean the default. Default is 16.
	IDLength int
	// GCInterval is the time between two calls of the store's GC. The first call comes
	// earlier: at a random time between half and all of GCInterval, or of a minute if that
	// is less. Values under one second mean the default. Default is 5 minutes.
	GCInterval time.Duration
	// Timeout is how long one operation of the store may take. Values of zero
	// and below mean the default. Default is 5 seconds.
	Timeout time.Duration
	// TouchInterval is how often a session that is only read is extended. An interval
	// saves a write in most requests. Its price is that a session may end up to an
	// interval too early, counted from its last access. It must be shorter than the
	// Lifetime. A negative value extends at every request.
	// Stores that are not of this module are touched at every request. Default is a
	// sixtieth of the Lifetime (and of Cookie.MaxAge, if that is set), at most one minute,
	// and every request with a Lifetime below one minute.
	TouchInterval time.Duration
	// AdoptUnknownIDs lets a session be stored under an ID that came from the
	// client and that the store does not know. Otherwise a request with such an ID has a
	// session under a new one from the start, unless this process gave out the ID
	// lately, so that nobody can choose the ID of somebody else's session. An ID must have
	// the length that IDLength says. Default is false.
	AdoptUnknownIDs bool
	// FlashFor tells whether a request may show a flash. From any other the flash is kept
	// for the next one. Default is every request but HEAD and OPTIONS, a prefetch
	// (Sec-Purpose), and what a browser fetches as an image, a style, a script or the
	// like (Sec-Fetch-Dest).
	FlashFor func(r *http.Request) bool
	// ErrorFunc receives the errors of the store, from requests and from GC. It is also
	// told what in a stored session cannot be decoded, that changes were made too late to
	// be stored, and, before New returns, what is wrong with the cookie but does not keep
	// it from working. It may be called in parallel. Default is to drop all that.
	ErrorFunc func(err error)
	// ReadIDFunc reads the session ID from the request; an empty string means
	// there is none. Default is to read the cookie.
	ReadIDFunc func(r *http.Request) string
	// WriteIDFunc sends the session ID to the client. It is called once for
	// every request, before the handlers, with created telling whether the ID is
	// new to the client, and for every RegenerateID. Default is to send the cookie when
	// the ID is new, with the exceptions that the guide names.
	WriteIDFunc func(w http.ResponseWriter, r *http.Request, sid string, created bool)
}

func (o Options) withDefaults() Options {
	if o.Initer == nil {
		o.Initer = MemoryIniter()
	}
	o.Cookie = o.Cookie.withDefaults()
	if o.IDLength < minSIDLength {
		o.IDLength = defaultIDLength
	}
	if o.GCInterval < time.Second {
		o.GCInterval = 5 * time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.ErrorFunc == nil {
		o.ErrorFunc = func(error) {}
	}
	if o.FlashFor == nil {
		o.FlashFor = canShowFlash
	}
	return o
}

// Manager is the session middleware with a handle: it gives out the handler and
// the store, and can be closed.
type Manager struct {
	opts  Options
	store Store

	adapter      storeAdapter // what the middleware asks of the store
	issued       *recentIDs   // IDs that were given out and have nothing stored yet, so the client did not invent them
	cookie       *cookie
	exactIDs     bool          // no ID of another length than IDLength is one of ours
	readsCookie  bool          // the ID comes from the cookie
	writesCookie bool          // the ID is sent in the cookie
	sent         *recentIDs    // IDs whose cookies were sent; nil without MaxAge
	refreshAfter time.Duration // how long ago that must be for a cookie to be sent again

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
	if err := opt.Cookie.check(); err != nil {
		return nil, err
	}
	if opt.IDLength > maxSIDLength {
		return nil, fmt.Errorf("IDLength is %d, more than %d", opt.IDLength, maxSIDLength)
	}

	m := &Manager{
		opts: opt, cookie: newCookie(opt.Cookie), issued: newRecentIDs(recentPlaces),
		readsCookie: opt.ReadIDFunc == nil, writesCookie: opt.WriteIDFunc == nil,
	}
	if m.writesCookie && opt.Cookie.MaxAge > 0 {
		m.sent = newRecentIDs(recentPlaces)
		m.refreshAfter = min(time.Duration(opt.Cookie.MaxAge)*time.Second/60, time.Minute)
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
		return nil
	}
	m.adapter = ownAdapter{store, new(sync.Map)}
	if s, ok := store.(*recordStore); ok {
		m.exactIDs = s.setIDLength(m.opts.IDLength)
	}
	store.setTimeout(m.opts.Timeout)
	lifetime := store.sessionLifetime().ttl()
	if m.opts.TouchInterval >= lifetime {
		return fmt.Errorf("TouchInterval is %v, not shorter than the Lifetime of %v", m.opts.TouchInterval, lifetime)
	}
	if m.opts.TouchInterval == 0 && lifetime >= time.Minute {
		m.opts.TouchInterval = min(lifetime/60, time.Minute)
		if m.sent != nil { // the cookie is sent again when the session is extended
			m.opts.TouchInterval = min(m.opts.TouchInterval, m.refreshAfter)
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
		line := m.cookie.line(sid)
		m.cookie.replace(w.Header(), line)
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
		if sid := m.opts.ReadIDFunc(r); checkSID(sid) == nil && (!m.exactIDs || len(sid) == m.opts.IDLength) {
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
			case !ok || checkSID(sid) != nil:
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
