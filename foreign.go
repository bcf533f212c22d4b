package session

import (
	"bytes"
	"context"
	"errors"
	"reflect"
)

// readForeign reads from a store that knows the six methods of Store and no more.
func (m *Manager) readForeign(ctx context.Context, sid string) (Session, error) {
	sess, err := m.store.Read(ctx, sid)
	if err == nil && sess == nil {
		err = errors.New("session: the store returned no session and no error")
	}
	return sess, err
}

// saveForeign saves to a store that knows the six methods of Store and no more:
// the old ID of a renewed session is destroyed here.
func (rq *request) saveForeign(ctx context.Context) error {
	if rq.ended() {
		rq.stored = false
		return rq.m.store.Destroy(ctx, rq.readAs)
	}
	count := 0
	if rq.base != nil {
		count = rq.base.changeCount()
	}
	if err := rq.m.store.Save(ctx, rq.sess); err != nil {
		return err
	}
	if sid := rq.sess.ID(); sid != rq.readAs {
		if rq.stored {
			if err := rq.m.store.Destroy(ctx, rq.readAs); err != nil {
				return err
			}
		}
		rq.readAs = sid
	}
	rq.stored = true
	rq.m.issued.remove(rq.readAs)
	if rq.base != nil {
		rq.base.settle(count)
	} else if rq.sess.HasChanged() {
		rq.saved, _ = rq.sess.Encode()
	}
	return nil
}

// sameAsSaved reports whether a session that says forever that it has changed is
// as it was saved: to save it once more would undo what others did since.
func (rq *request) sameAsSaved() bool {
	if rq.saved == nil || rq.sess.ID() != rq.readAs {
		return false
	}
	raw, err := rq.sess.Encode()
	if err != nil || bytes.Equal(raw, rq.saved) {
		return err == nil
	}
	// Gob writes a map in any order.
	now, errNow := GobDecoder(raw)
	then, errThen := GobDecoder(rq.saved)
	return errNow == nil && errThen == nil && reflect.DeepEqual(now, then)
}
