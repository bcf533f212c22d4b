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
	if err := s.Store.Destroy(ctx, sid); err != nil {
		return err
	}
	switch sid {
	case s.rq.base.ID():
		s.rq.base.endSession()
	case s.rq.readAs:
		// The old ID after RegenerateID, by an app that does what the commit does.
		s.rq.base.detach()
		s.rq.readAs, s.rq.stored = s.rq.base.ID(), false
	}
	return nil
}

func (s *requestStore) Save(ctx context.Context, sess Session) error {
	if b, ok := sess.(based); !ok || b.baseSession() != s.rq.base {
		return s.Store.Save(ctx, sess)
	}
	if err := s.rq.save(ctx); err != nil {
		return err
	}
	s.rq.extended = true
	s.rq.sendID()
	return nil
}
