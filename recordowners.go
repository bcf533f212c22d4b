package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/seal"
	"github.com/flamego/session/internal/state"
)

// What a store with a backend makes of its index of owners.

// ownerIndex returns the index of a backend that has one.
func ownerIndex(b Backend) (OwnerIndex, bool) {
	if _, ok := given(b).(OwnerIndex); !ok {
		return nil, false
	}
	index, ok := b.(OwnerIndex)
	return index, ok
}

// initTimeout is how long it may take to make an index. A table may have millions of rows.
const initTimeout = time.Minute

func (s *recordStore) initOwners() error {
	if _, ok := ownerIndex(s.backend); !ok {
		return redact.New(fmt.Sprintf("OwnerKey needs a backend that is a session.OwnerIndex, and the backend is a %T", given(s.backend)), errors.ErrUnsupported)
	}
	if i, ok := s.backend.(OwnerIniter); ok {
		ctx, cancel := context.WithTimeout(context.Background(), initTimeout)
		defer cancel()
		if err := i.InitOwners(ctx); err != nil {
			return fmt.Errorf("OwnerKey: %s: %w", s.name, err)
		}
	}
	return nil
}

// owned looks into each record, since an index may have more than it should: of a session whose
// owner was changed by a process without OwnerKey. A session that moves to or from its hash while an
// index is read piece by piece may be there twice, and counts once.
func (s *recordStore) owned(ctx context.Context, owner string) (sessions []ownedSession, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	index, _ := ownerIndex(s.backend)
	r := s.rules()
	records, err := s.inIndex(ctx, index, indexText(owner))
	if err != nil {
		return nil, s.fail("owned", err)
	}
	mayRepeat := r.hashIDs.looksTwice() || r.keys.Len() > 1
	listed := make(map[seal.Digest]bool)
	for _, rec := range records {
		if mayRepeat && listed[digestOf(rec.ID)] {
			continue
		}
		values, _, _ := s.decode(rec.ID, rec.Data)
		v := state.Map(values)
		if s.canStandUnder(rec.ID) && r.owner(v) == owner && !state.IsMark(v) && !r.isOver(v) {
			sessions = append(sessions, ownedSession{rec.ID, v, rec.TTL})
			if mayRepeat {
				listed[digestOf(rec.ID)] = true
			}
		}
	}
	return sessions, nil
}

// checkOwner also returns an error for an owner who is somebody else when the value comes back from
// an Encoder of the app, as JSON rounds large numbers.
func (s *recordStore) checkOwner(l *state.Log) error {
	r := s.rules()
	if err := r.checkOwner(l); err != nil || r.ownerKey == nil || s.codec.Joins {
		return err
	}
	val, _ := l.Get(r.ownerKey)
	text, ok := ownerText(val)
	if !ok {
		return nil
	}
	data, err := s.codec.Encode(map[interface{}]interface{}{r.ownerKey: val}, nil)
	if err != nil {
		return err
	}
	if values, _, _ := s.codec.Decode(data); r.owner(state.Map(values)) != text {
		return fmt.Errorf("the value of OwnerKey, a %T, names another owner when it comes back from the Encoder and the Decoder: set it as a string", val)
	}
	return nil
}
