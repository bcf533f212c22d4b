package session

import (
	"context"
	"errors"
	"strings"

	"github.com/flamego/session/internal/redact"
)

// What a store does with StoreConfig.SharedKeys: a key may be that of a session, or
// somebody else's.

var errOtherLength = errors.New("the SID has not the length that IDLength says, and without a prefix it may be a key of the app")

var errNotOurs = redact.New("what is stored under the ID is no session of this store, and stays as it is", ErrNotApplied)

// checkSID returns an error for a session ID that the store cannot hold.
func (s *recordStore) checkSID(sid string) error {
	err := checkSID(sid)
	if err == nil && s.shared && len(sid) != int(s.idLength.Load()) {
		err = errOtherLength
	}
	return err
}

// canStandUnder reports whether a record that an index has may be one of ours.
func (s *recordStore) canStandUnder(id string) bool {
	if key, ok := strings.CutPrefix(id, asStored); ok && s.rules().hashIDs != HashNone {
		return isHashedKey(key)
	}
	return s.checkSID(id) == nil
}

// isOurs reports whether the data of a record may be changed. Without SharedKeys all may.
func (s *recordStore) isOurs(sid string, data []byte) bool {
	if !s.shared {
		return true
	}
	values, rest, _ := s.decode(sid, data)
	return len(data) > 0 && values != nil && !rest.IsAll()
}

// mayTouch looks whether the record may be extended or deleted. It reports false and no error
// if there is none. Whoever puts a key of his own there right after that has guessed a
// random ID.
func (s *recordStore) mayTouch(ctx context.Context, sid string) (ours bool, err error) {
	if !s.shared {
		return true, nil
	}
	rec, found, err := s.backend.Load(ctx, sid)
	if err == nil && found && !s.isOurs(sid, rec.Data) {
		return false, errNotOurs
	}
	return found && err == nil, err
}
