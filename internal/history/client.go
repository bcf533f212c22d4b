package history

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// Client takes steps, and notes them.
type Client struct {
	App   http.Handler // of NewApp
	Store session.Store
	Tick  func() int64 // of the clock that all clients share
	Pause func()       // before a save by hand, if set
	// Faulty says that a request may fail, and that the step then tells so.
	Faulty bool
	// Owner is what each session has under OwnerKey from its first change on, if set.
	Owner string
}

// OwnerKey is the key of the owner of a session.
const OwnerKey = "owner"

// Begin begins a step of the client with this number.
func (c *Client) Begin(client, n int, kind, sid string) *Step {
	return &Step{
		Client: client, N: n, Kind: kind, Sent: sid, Since: time.Now(), Begin: c.Tick(),
		Seen: make(map[string]string), Keys: make(map[string]string),
	}
}

// Handler is what an app of NewApp calls for a request.
type Handler func(http.ResponseWriter, *http.Request, session.Session, session.Flash)

type handlerKey struct{} // in the context of a request: its handler

// NewApp returns an app whose only handler is the one that a request of Serve has in its context.
func NewApp(m *session.Manager) *flamego.Flame {
	f := flamego.NewWithLogger(io.Discard)
	f.Use(m.Handler())
	f.Get("/", func(r *http.Request, w http.ResponseWriter, s session.Session, flash session.Flash) string {
		if f, ok := r.Context().Value(handlerKey{}).(Handler); ok && f != nil {
			f(w, r, s, flash)
		}
		return "done"
	})
	return f
}

// Serve has an app serve a request with a handler, which may be nil.
func Serve(ctx context.Context, app http.Handler, sid string, f Handler) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(context.WithValue(ctx, handlerKey{}, f))
	if sid != "" {
		r.AddCookie(&http.Cookie{Name: "flamego_session", Value: sid})
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

// Visit makes a request whose handler calls f. It returns the cookie that it was answered with,
// if there was one, and what is wrong with the answer, if anything is. The handler of a step that
// gives its flash back may panic with PanicValue, or the context end before its response.
func (c *Client) Visit(ctx context.Context, s *Step, f Handler) (cookie *http.Cookie, problem string) {
	sid := s.Sent
	something := false // something is in the session at the end
	var marked session.Session
	w, panicked := c.serve(ctx, sid, func(w http.ResponseWriter, r *http.Request, sess session.Session, flash session.Flash) {
		if flash != nil {
			s.Seen[FlashKey] = fmt.Sprint(flash)
		}
		s.look(sess)
		s.Read = c.Tick()
		if sess.ID() != sid { // the store does not know that ID: this is a new session
			s.Sent, s.Unknown = "", sid
		}
		f(w, r, sess, flash)
		for _, key := range allKeys {
			val := s.expects(key)
			something = something || val != ""
			if key == FlashKey || s.Ended {
				continue
			}
			if got, _ := sess.Get(key).(string); got != val {
				problem = fmt.Sprintf("I7 is broken: client %d, step %d had %s = %q, and now has %q", s.Client, s.N, key, val, got)
			}
		}
		if s.changes() && !s.Ended {
			c.own(s, sess)
			sess.Set("mark", s.N)
			marked = sess
		}
		if s.Commit == 0 { // else f has said when its effects began
			s.Commit = c.Tick()
		}
	})
	s.End, s.Until = c.Tick(), time.Now()
	if s.GaveBack {
		delete(s.Seen, FlashKey)
	}
	switch {
	case problem != "":
		return nil, problem
	case s.GaveBack && (panicked || s.Commit == 0):
		s.undo(sid)
		return nil, ""
	case w.Code == http.StatusInternalServerError && c.Faulty:
		s.ID, s.Failed = sid, true
		if s.Commit == 0 { // no handler has run
			s.Kind, s.Read, s.Commit = TurnedAway, s.Begin, s.Begin
		}
		return nil, ""
	case w.Code != http.StatusOK:
		return nil, fmt.Sprintf("client %d, step %d: status %d", s.Client, s.N, w.Code)
	}

	s.ID = sid
	for _, cookie = range w.Result().Cookies() {
		if cookie.MaxAge >= 0 {
			s.ID = cookie.Value
		}
	}
	// What is in the session after its commit tells whether it was gone, and whether it
	// has changed still, that it has another ID.
	if marked != nil && s.ID == sid && (marked.Get("mark") == nil || marked.HasChanged()) {
		s.Dropped = true
	}
	if s.Ended || s.Dropped {
		s.ID = sid
	}
	s.Saved = !s.Ended && !s.Dropped && (something || !s.empty())
	return cookie, ""
}

// own gives a session its owner. One that gets a new ID is given its owner again, as by a login: if
// another request has been faster to give it a new ID, only what this one sets is stored under its
// own new ID.
func (c *Client) own(s *Step, sess session.Session) {
	if c.Owner != "" && (s.Renewed || sess.Get(OwnerKey) == nil) {
		sess.Set(OwnerKey, c.Owner)
	}
}

// PanicValue is what a handler panics with so that Visit recovers from it.
const PanicValue = "a handler panics, as it was told"

func (c *Client) serve(ctx context.Context, sid string, f Handler) (w *httptest.ResponseRecorder, panicked bool) {
	defer func() {
		if val := recover(); val != nil {
			if panicked = val == PanicValue; !panicked {
				panic(val)
			}
		}
	}()
	return Serve(ctx, c.App, sid, f), false
}

// undo notes that a handler has panicked or was not called: nothing of what it did is stored.
func (s *Step) undo(sid string) {
	s.ID = sid
	s.Flushed, s.Ended, s.EndsOwned, s.Renewed, s.Keys, s.Added = false, false, false, false, nil, nil
	if s.Read == 0 {
		s.Kind, s.Read = TurnedAway, s.Begin
	}
	s.Commit = s.Begin
}

// Save has the store read a session and save it with what f does, by hand. A session that is not
// there is left so, unless it is to be created: to create is the middleware's. Save reports
// whether there is a step to be recorded.
func (c *Client) Save(ctx context.Context, s *Step, create bool, f func(session.Session)) (recorded bool, problem string) {
	sess, err := c.Store.Read(ctx, s.Sent)
	if err != nil {
		if !c.Faulty {
			problem = fmt.Sprintf("Read: %v", err)
		}
		return false, problem
	}
	s.look(sess)
	s.Read = c.Tick()
	s.ID, s.Commit, s.End = s.Sent, s.Read, s.Read
	f(sess)
	if !create && s.empty() {
		s.Flushed, s.Keys, s.Added, s.Did = false, nil, nil, nil
		return true, ""
	}
	if c.Pause != nil {
		c.Pause()
	}
	c.own(s, sess)
	s.Commit = c.Tick()
	err = c.Store.Save(ctx, sess)
	s.End = c.Tick()
	if err != nil && c.Faulty {
		s.Failed = true
		return true, ""
	}
	if err != nil {
		problem = fmt.Sprintf("Save: %v", err)
	}
	// A session whose record had vanished has nothing any more.
	for key, val := range s.written {
		if key == FlashKey {
			continue
		}
		now, _ := sess.Get(key).(string)
		s.Saved = s.Saved || now == val || key == SumKey && strings.Contains(now, val)
		s.Dropped = s.Dropped || sess.Get(key) == nil
	}
	if sess.HasChanged() { // the session has another ID by now
		s.Saved, s.Dropped = false, true
	}
	return true, problem
}
