package session

import (
	"context"
	"errors"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/state"
)

// records is the store as internal/commit sees it: what goes to the backend as a
// record goes through here.
type records struct{ *recordStore }

var _ commit.Store = records{}

func (s records) Encode(sid string, values map[interface{}]interface{}, rest *state.Rest) ([]byte, error) {
	return s.encode(sid, values, rest)
}

func (s records) Decode(sid string, data []byte) (map[interface{}]interface{}, *state.Rest, error) {
	return s.decode(sid, data)
}

func (s records) Rebind(data []byte, sid, newSID string) []byte { return s.rebind(data, sid, newSID) }

func (s records) Stamp(values map[interface{}]interface{}, begins bool) bool {
	_, changed := s.rules().stamp(state.ListOf(values), begins)
	return changed
}

func (s records) TTL(values map[interface{}]interface{}, first bool) time.Duration {
	return s.rules().ttl(state.Map(values), first)
}

func (s records) Note(ctx context.Context, o commit.Outcome, sid string) {
	s.rules().observer.became(ctx, outcomes[o], sid, nil)
}

func (s records) Owner(values map[interface{}]interface{}) string {
	return indexText(s.rules().owner(state.Map(values)))
}

func (s records) Load(ctx context.Context, sid string) (commit.Found, error) {
	now, _, err := s.find(ctx, sid)
	return now, err
}

func (s records) Insert(ctx context.Context, sid string, rec commit.Record) (bool, error) {
	rec.Owner = s.rules().keys.Owner(0, rec.Owner)
	return s.backend.Insert(ctx, sid, Record(rec))
}

func (s records) Swap(ctx context.Context, sid string, old []byte, rec commit.Record) (bool, error) {
	if !s.isOurs(sid, old) {
		return false, errNotOurs
	}
	return s.backend.Swap(ctx, sid, old, s.indexed(rec, sid, old))
}

// Rename notes the old ID before: other requests of this process must not find it gone and
// not know why. The note stays when the mark is there, for those who look in between, and
// when it is not known whether there is a new ID.
func (s records) Rename(ctx context.Context, old commit.Origin, newSID string, rec commit.Record) (ok bool, err error) {
	if old.Status == commit.Live && !s.isOurs(old.ID, old.Data) {
		return false, errNotOurs
	}
	noted := s.renewed.hasSince(old.ID, state.MarkFor) // by a request that has renewed the session before
	if !noted {
		s.renewed.addNow(old.ID)
	}
	if old.Status == commit.Live {
		ok, err = s.backend.Rename(ctx, old.ID, newSID, old.Data, s.indexed(rec, old.ID, old.Data))
	} else {
		ok, err = s.Insert(ctx, newSID, rec)
	}
	if refused := err == nil && !ok || errors.Is(err, ErrNotApplied); refused && !noted {
		s.renewed.remove(old.ID)
	}
	return ok, err
}

// Mark inserts the mark. Where that fails, or where the codec of the app makes something
// else of a mark, this process knows the ID all the same.
func (s records) Mark(ctx context.Context, sid string) {
	s.renewed.addNow(sid)
	data, err := s.encode(sid, state.Mark(s.rules().now()), nil)
	if err != nil {
		return
	}
	if values, _, _ := s.decode(sid, data); state.IsMark(state.Map(values)) {
		_, _ = s.backend.Insert(ctx, sid, Record{Data: data, TTL: state.MarkFor})
	}
}

func (s records) Delete(ctx context.Context, sid string) error {
	if ours, err := s.mayTouch(ctx, sid); !ours {
		return err
	}
	return s.backend.Delete(ctx, sid)
}
