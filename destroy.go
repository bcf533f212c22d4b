package session

import (
	"context"
	"fmt"
	"net/http"
)

// Destroy ends the session of a visitor, as a logout does: all data is gone at
// once, the record when the request has been committed, and the cookie is
// expired in this response. Whatever other requests of the same session were
// under way, none of them brings it back. What this request sets afterwards is
// not kept; to begin anew at once, use RegenerateID and Flush instead.
//
// It returns an error when the header of the response is already sent: then the
// session ends all the same, but the visitor keeps a cookie that is good for
// nothing. It also returns one for a session that neither is nor embeds a
// [BaseSession], which is for its own store to destroy.
//
// With Options.WriteIDFunc, telling the client is up to the caller.
func Destroy(w http.ResponseWriter, r *http.Request, s Session) error {
	b, ok := s.(based)
	if !ok || b.baseSession() == nil {
		return fmt.Errorf("session: a session of type %T is for its own store to destroy", s)
	}
	b.baseSession().endSession()
	if b.baseSession().headerSent(w) {
		return errHeaderSent
	}
	return nil
}

// requestStore is the store that handlers receive: it knows which session the
// request itself has, so that saving or destroying that one by hand is the same
// as the middleware's saving and Destroy.
type requestStore struct {
	Store
	rq *request
}

func (s *requestStore) Destroy(ctx context.Context, sid string) error {
	s.rq.mu.Lock()
	old := s.rq.readAs
	s.rq.mu.Unlock()
	if id := s.rq.base.ID(); sid != id && sid == old {
		// The old ID after RegenerateID, by an app that does what the commit does:
		// it is done now, as a rename, which loses nothing that others have saved.
		return s.Save(ctx, s.rq.base)
	}
	if err := s.Store.Destroy(ctx, sid); err != nil {
		return err
	}
	if sid == s.rq.base.ID() {
		s.rq.base.endSession()
	}
	return nil
}

func (s *requestStore) Save(ctx context.Context, sess Session) error {
	if b, ok := sess.(based); !ok || b.baseSession() != s.rq.base {
		return s.Store.Save(ctx, sess)
	}
	// What it takes to wait for another save of the session counts.
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
