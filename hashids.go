package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/seal"
)

// HashMode says where the records of sessions stand in the store: under the session ID, or under a
// hash of it. See Options.HashIDs.
type HashMode int

// The steps from records under the ID to records under its hash. Instances of an app that are one step
// apart read and write the sessions of each other.
const (
	// HashNone keeps records under the ID.
	HashNone HashMode = iota
	// HashRead keeps records under the ID. What stands under the hash is found, too, and moves back when
	// it is saved or extended.
	HashRead
	// HashWrite keeps records under the hash. What stands under the ID is found, too, and moves when it is
	// saved or extended.
	HashWrite
	// HashOnly keeps records under the hash, and finds no others.
	HashOnly
)

// isValid reports whether it is one of the constants.
func (m HashMode) isValid() bool { return m >= HashNone && m <= HashOnly }

// looksTwice reports whether a record may stand in either of two places.
func (m HashMode) looksTwice() bool { return m == HashRead || m == HashWrite }

// hashedKeySize is the length of what hashedKey returns.
const hashedKeySize = 1 + 2*sha256.Size

// hashedKey returns what stands for a session ID in the database: "h" and the SHA-256 in hexadecimal
// digits. The IDs are random, so nobody finds the ID by trying.
func hashedKey(sid string) string {
	var key [hashedKeySize]byte
	digest := seal.DigestOf(sid)
	key[0] = 'h'
	hex.Encode(key[1:], digest[:])
	return string(key[:])
}

// isHashedKey reports whether a text may be what hashedKey returns. A client that sends such a text as its
// ID may have seen the database.
func isHashedKey(s string) bool {
	if len(s) != hashedKeySize || s[0] != 'h' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// asStored begins what takes the place of an ID where only the key of a record is known, as in an index
// of owners. No ID holds this character, so a client cannot send it.
const asStored = "."

// digestOf returns the digest of a session ID. Where asStored and a key take its place, the key has the
// digest in it.
func digestOf(sid string) (digest seal.Digest) {
	if key, ok := strings.CutPrefix(sid, asStored); ok && isHashedKey(key) {
		_, _ = hex.Decode(digest[:], []byte(key[1:]))
		return digest
	}
	return seal.DigestOf(sid)
}

// keyDigest returns the digest of the ID whose record has a key.
func keyDigest(key string, hashed bool) seal.Digest {
	if hashed && isHashedKey(key) {
		return digestOf(asStored + key)
	}
	return seal.DigestOf(key)
}

// hashedBackend keeps records under hashes of their IDs. In the modes in which it looks twice, a record has
// two places: the key, where it is to stand, and the other place. It moves from the other place to the key
// by a Rename, so a move never leaves it in both. Where a Rename takes two steps, the record may stand in
// neither for a moment: see Load.
type hashedBackend struct {
	wrappedBackend
	mode HashMode
	left *recentIDs // in HashRead: since when this process has left a record under its hash; see mayMove
	// isOurs reports whether a record may be changed. It is nil without SharedKeys: then each may.
	isOurs func(sid string, data []byte) bool
}

func newHashedBackend(b Backend, mode HashMode) hashedBackend {
	hashed := hashedBackend{wrappedBackend: wrappedBackend{b}, mode: mode}
	if mode == HashRead {
		hashed.left = newRecentIDs(1 << 12)
	}
	return hashed
}

// places returns where the record of an ID stands. The other place is empty if there is none. What looks
// like a hash is itself hashed in any case: with the key of a stolen record nobody finds the record.
func (b hashedBackend) places(sid string) (key, other string) {
	if stored, ok := strings.CutPrefix(sid, asStored); ok {
		return stored, ""
	}
	hashed := hashedKey(sid)
	switch {
	case b.mode == HashOnly || isHashedKey(sid):
		return hashed, ""
	case b.mode == HashWrite:
		return hashed, sid
	default:
		return sid, hashed
	}
}

// lookUps returns the places in the order in which they are looked at, and how many there are: the hash, the
// ID, and the hash once more. Between two looks a record may move, but only from the ID to the hash: mayMove
// sees to that.
func (b hashedBackend) lookUps(sid string) (places [3]string, n int) {
	key, other := b.places(sid)
	switch {
	case other == "":
		return [3]string{key}, 1
	case b.mode == HashWrite:
		return [3]string{key, other, key}, 3
	default:
		return [3]string{other, key, other}, 3
	}
}

// Load looks again after a while where a record that moves is in neither place for a moment.
func (b hashedBackend) Load(ctx context.Context, sid string) (rec Record, found bool, err error) {
	places, n := b.lookUps(sid)
	tries := 1
	if s, ok := given(b.Backend).(stepper); ok && n > 1 && s.RenamesInSteps() {
		tries = 3
	}
	for try := range tries {
		if try > 0 && backoff.Pause(ctx, 10, maxStep) != nil {
			break
		}
		for _, place := range places[:n] {
			if rec, found, err = b.Backend.Load(ctx, place); found || err != nil {
				return rec, found, err
			}
		}
	}
	return Record{}, false, deadline.Err(ctx)
}

// stepper is a backend that may need two steps for a Rename, as a Redis Cluster does: the record is removed
// under one key before it is inserted under the other one.
type stepper interface{ RenamesInSteps() bool }

// maxStep is for how long a look-up waits at most until the second step is made.
const maxStep = 50 * time.Millisecond

// Insert looks at the other place afterwards. If there is a record, an instance one step apart has either
// moved there what was inserted here, or has inserted the session for another request. In the second case
// there are two records, and the one that was inserted here goes.
func (b hashedBackend) Insert(ctx context.Context, sid string, rec Record) (bool, error) {
	key, other := b.places(sid)
	ok, err := b.Backend.Insert(ctx, key, rec)
	if !ok || err != nil || other == "" {
		return ok, err
	}
	if _, taken, err := b.Backend.Load(ctx, other); !taken || err != nil {
		return err == nil, applied(err)
	}
	gone, err := b.Backend.Swap(ctx, key, rec.Data, Record{Data: rec.Data, TTL: time.Millisecond, Former: rec.Owner})
	if gone { // it would expire in a millisecond, and until then somebody could read it
		err = b.Backend.Delete(ctx, key)
	}
	return err == nil && !gone, applied(err)
}

// applied returns an error of a step after a write that was made. The step may say ErrNotApplied, which would
// be untrue of the write, so that is left out.
func applied(err error) error {
	if errors.Is(err, ErrNotApplied) {
		return appliedError{err}
	}
	return err
}

// appliedError is an error without ErrNotApplied.
type appliedError struct{ error }

func (e appliedError) Is(target error) bool {
	return target != ErrNotApplied && errors.Is(e.error, target)
}

func (e appliedError) As(target any) bool { return errors.As(e.error, target) }

// Swap moves the record if it stands in the other place. Where it may not move yet, or cannot since a dead
// record is in the way, it stays there.
func (b hashedBackend) Swap(ctx context.Context, sid string, old []byte, rec Record) (bool, error) {
	key, other := b.places(sid)
	ok, err := b.Backend.Swap(ctx, key, old, rec)
	if ok && b.left != nil {
		b.left.remove(sid) // it has moved meanwhile, perhaps by another instance
	}
	if ok || err != nil || other == "" {
		return ok, err
	}
	if may, err := b.mayMove(ctx, sid, other, rec.TTL); err != nil {
		return false, notApplied(err)
	} else if may {
		if ok, err = b.Backend.Rename(ctx, other, key, old, rec); ok || err != nil {
			return ok, err
		}
	}
	return b.Backend.Swap(ctx, other, old, rec)
}

// minStay is for how long a record stays under its hash at least, in HashRead.
const minStay = 2 * time.Second

// mayMove reports whether a record may leave the other place. In HashWrite it may at any time. In HashRead it
// may have come there a moment ago, by an instance in HashWrite, and somebody who looks for it could miss it
// in both places if it moved back at once. So it moves only if nobody has written it for a while, or if this
// process has left it there for a while. The first is seen by its time to live, which is ttl after a write.
func (b hashedBackend) mayMove(ctx context.Context, sid, other string, ttl time.Duration) (bool, error) {
	if b.mode == HashWrite {
		return true, nil
	}
	rec, found, err := b.Backend.Load(ctx, other)
	if !found || err != nil {
		return false, err
	}
	age, left := b.left.age(sid)
	if ttl-rec.TTL >= minStay || left && age >= minStay {
		b.left.remove(sid)
		return true, nil
	}
	// A record that is saved at least every minStay moves before its turn is over. One that is saved less
	// often needs no turn: its time to live tells.
	if !left {
		b.left.addInTurn(sid, 2*minStay)
	}
	return false, nil
}

// Rename leaves nothing in either place of the old ID.
func (b hashedBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec Record) (bool, error) {
	key, other := b.places(sid)
	newKey, _ := b.places(newSID)
	ok, err := b.Backend.Rename(ctx, key, newKey, old, rec)
	if ok || err != nil || other == "" {
		return ok, err
	}
	return b.Backend.Rename(ctx, other, newKey, old, rec)
}

func (b hashedBackend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	return b.each(ctx, sid, func(place string) error { return b.Backend.Extend(ctx, place, ttl) })
}

func (b hashedBackend) Delete(ctx context.Context, sid string) error {
	return b.each(ctx, sid, func(place string) error { return b.Backend.Delete(ctx, place) })
}

// each calls f for a place after the other as a look-up does, so a record that moves meanwhile is met. With
// SharedKeys there may be a key of the app in one place while the session is in the other: the key stays.
func (b hashedBackend) each(ctx context.Context, sid string, f func(place string) error) error {
	places, n := b.lookUps(sid)
	for _, place := range places[:n] {
		if b.isOurs != nil && n > 1 {
			rec, found, err := b.Backend.Load(ctx, place)
			if err != nil {
				return err
			}
			if !found || !b.isOurs(sid, rec.Data) {
				continue
			}
		}
		if err := f(place); err != nil {
			return err
		}
	}
	return nil
}

// Owned returns records of which perhaps only the hash of the ID is known. In HashOnly what stands under an ID is
// not to be found: with the dot it is nobody's key, and canStandUnder refuses it.
func (b hashedBackend) Owned(ctx context.Context, owner string) ([]OwnedRecord, error) {
	owned, err := b.wrappedBackend.Owned(ctx, owner)
	for i := range owned {
		if b.mode == HashOnly || isHashedKey(owned[i].ID) {
			owned[i].ID = asStored + owned[i].ID
		}
	}
	return owned, err
}
