package session

import (
	"context"
	"fmt"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/seal"
	"github.com/flamego/session/internal/state"
)

// What a store does with Options.Keys: the bytes of a record are sealed for its ID.

// encode returns the bytes of a record under an ID.
func (s *recordStore) encode(sid string, values map[interface{}]interface{}, rest *state.Rest) ([]byte, error) {
	raw, err := s.codec.Encode(values, rest)
	if keys := s.rules().keys; err == nil && keys.Seals() {
		if raw = keys.Seal(digestOf(sid), raw); len(raw) > s.codec.MaxSize {
			return nil, fmt.Errorf("the data takes %d bytes when it is sealed, more than the limit of %d", len(raw), s.codec.MaxSize)
		}
	}
	return raw, err
}

// decode returns the values in the bytes of the record under an ID.
func (s *recordStore) decode(sid string, data []byte) (map[interface{}]interface{}, *state.Rest, error) {
	keys := s.rules().keys
	if keys.Any() && len(data) <= s.codec.MaxSize {
		var err error
		if data, _, err = keys.Open(digestOf(sid), data); err != nil {
			return nil, nil, err
		}
	}
	values, rest, err := s.codec.Decode(data)
	if err != nil && !keys.Any() && seal.Begins(data) {
		err = fmt.Errorf("%w (the data begins like sealed data, and Options.Keys is not set)", err)
	}
	return values, rest, err
}

// rebind returns the bytes of a record as they are to be under a new ID, or under the same one by the
// first key. What no key opens stays as it is. So does what is not sealed and would then be larger than
// MaxDataSize: nobody could read it.
func (s *recordStore) rebind(data []byte, sid, newSID string) []byte {
	keys := s.rules().keys
	if !keys.Any() {
		return data
	}
	text, by, err := keys.Open(digestOf(sid), data)
	if err != nil || by == 0 && (sid == newSID || !keys.Seals()) {
		return data
	}
	sealed := keys.Seal(digestOf(newSID), text)
	if len(sealed) > s.codec.MaxSize && len(sealed) > len(data) {
		return data
	}
	return sealed
}

// sealedBy returns which of the keys has sealed the bytes of a record. With one key it is that one.
func (s *recordStore) sealedBy(sid string, data []byte) int {
	keys := s.rules().keys
	if keys.Len() < 2 {
		return 0
	}
	_, by, _ := keys.Open(digestOf(sid), data)
	return by
}

// isOutdated reports whether another key than the first one has sealed the record of a session. To
// extend it is to seal it anew: then a key that no session needs any more can go when the longest
// lifetime is over.
func (s *recordStore) isOutdated(b *BaseSession) bool {
	b.mu.Lock()
	sid, data := b.origin.ID, b.origin.Data
	b.mu.Unlock()
	return s.sealedBy(sid, data) != 0
}

// indexed returns a record that replaces another one as an index of owners is to have it.
func (s *recordStore) indexed(rec commit.Record, sid string, old []byte) Record {
	if rec.Owner != "" || rec.Former != "" {
		keys := s.rules().keys
		rec.Owner, rec.Former = keys.Owner(0, rec.Owner), keys.Owner(s.sealedBy(sid, old), rec.Former)
	}
	return Record(rec)
}

// inIndex returns what an index has of an owner, under each key. The first key comes first and last: in
// between, a record may be sealed anew, and is there twice then.
func (s *recordStore) inIndex(ctx context.Context, index OwnerIndex, owner string) (all []OwnedRecord, err error) {
	keys := s.rules().keys
	if keys.Len() < 2 {
		return index.Owned(ctx, keys.Owner(0, owner))
	}
	for i := range keys.Len() + 1 {
		records, err := index.Owned(ctx, keys.Owner(i%keys.Len(), owner))
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}
