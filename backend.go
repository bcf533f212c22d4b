package session

import (
	"context"
	"errors"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/redact"
)

// ErrNotApplied is what a [Backend] wraps in an error of Insert, Swap or Rename if the
// record was surely not written: the request was never sent, or the database has refused
// it.
var ErrNotApplied = commit.ErrNotApplied

// notApplied adds ErrNotApplied to an error, and leaves its text.
func notApplied(err error) error {
	if err == nil {
		return nil
	}
	return redact.New(err.Error(), errors.Join(ErrNotApplied, err))
}

// Backend moves bytes: a few operations on records, each one atomic step of its
// database. What a session means (decoding, how long it lives, merging, renewal,
// limits, the text of errors) is written once, in the store that [NewStore] makes of a
// backend. The backend decides only whether a record is dead.
//
// A record is live from the operation that wrote it until its TTL has passed;
// a dead record is as good as absent, whether it has been swept or not. Session
// IDs that reach a backend are 3 to 255 characters of 0-9 and a-z. Every
// operation ends soon after its context is done. Absence is not an error.
//
// After an error of Insert, Swap or Rename nobody knows whether the record was written, unless
// the error wraps [ErrNotApplied]. The store then loads the record. If the record is still the
// old one, the store writes again. So a backend must not repeat such a write by itself, unless
// the write was surely not made: the second write could undo what another request has written
// in between. Load, Extend, Delete and Sweep may be repeated.
//
// A backend that holds connections or files implements io.Closer too, and
// closes there what it opened itself.
type Backend interface {
	// Load returns the live record and the time it has left. A record without an expiry, which
	// only another program can have written, is live and has a TTL of 0: then the store gives
	// it an expiry at the next chance.
	Load(ctx context.Context, sid string) (rec Record, found bool, err error)
	// Insert writes the record, unless there is a live one: then it changes
	// nothing and reports false. A dead one is replaced.
	Insert(ctx context.Context, sid string, rec Record) (bool, error)
	// Swap replaces the live record if its data is exactly old; else it changes
	// nothing and reports false. It never creates a record.
	Swap(ctx context.Context, sid string, old []byte, rec Record) (bool, error)
	// Rename is Swap under a new ID, which is random and so has no record. When it
	// reports true the old ID is dead. Where the database cannot do that in one step,
	// an error in between must not leave both IDs alive; only a process that dies may,
	// until their time is over.
	Rename(ctx context.Context, sid, newSID string, old []byte, rec Record) (bool, error)
	// Extend gives the live record at least the TTL, from now on; it never
	// shortens it, changes no data and creates nothing.
	Extend(ctx context.Context, sid string, ttl time.Duration) error
	// Delete removes the record.
	Delete(ctx context.Context, sid string) error
	// Sweep removes some dead records, in a step short enough to block nobody,
	// and reports whether to call again at once. A database that removes them
	// by itself does nothing.
	Sweep(ctx context.Context) (more bool, err error)
}

// Record is what a backend keeps under a session ID.
type Record struct {
	// Data is the encoded data of the session. A backend does not change what it is
	// given, and does not keep it after the call; what Load returns must not change
	// afterwards.
	Data []byte
	// TTL is the time to live: how long the record stays live from now on.
	// Databases that keep whole seconds round up.
	TTL time.Duration
	// Owner is the text under which an [OwnerIndex] finds the record: up to 190 bytes of
	// UTF-8 without a NUL. It is empty for a record of nobody, and always without
	// Options.OwnerKey. Every Insert, Swap and Rename sets it anew, and Extend leaves it as
	// it is. Load need not return it.
	Owner string
	// Former is the Owner of the record that a Swap or a Rename replaces, as far as the
	// store knows. It is for an index that is apart from the records, where the old entry
	// has to go.
	Former string
}

// OwnerIndex is a [Backend] that finds the records of an owner, which Options.OwnerKey
// needs. To extend a session that has an owner, the store then calls Swap with the same bytes in
// place of Extend, so that each use of a session puts its index right.
type OwnerIndex interface {
	// Owned returns the live records that were written with this Owner. It may return more,
	// since the store looks into each of them, but never fewer: a record that gets a new ID
	// meanwhile is found under the old ID or the new one. If no record has the Owner, that is
	// no error.
	Owned(ctx context.Context, owner string) ([]OwnedRecord, error)
}

// OwnerIniter is an [OwnerIndex] that has to prepare something, as a column of a table.
type OwnerIniter interface {
	// InitOwners is called by New, before any other operation, if Options.OwnerKey is set. The
	// context ends after a minute. Without the call no record has an Owner. The error says
	// what is to be done.
	InitOwners(ctx context.Context) error
}

// ServerClock is a [Backend] whose records are on a server with a clock of its own. If the clock
// of the process differs from it by more than a second, and by more than it took to ask, that of the
// server counts for all that a
// session holds of time: since when MaxLifetime counts, what [IssuedAt] returns, and how long an
// old ID is known after a renewal. So an instance of the app with a wrong clock ends no session
// of the others. If the two differ by more than a minute, Options.ErrorFunc is told.
type ServerClock interface {
	// ServerTime returns the time by the clock of the server. It is called by New and before
	// each GC. After an error the store goes on with what it knew of the clock, and that of the
	// process at first.
	ServerTime(ctx context.Context) (time.Time, error)
}

// OwnedRecord is a record and the session ID that it stands under.
type OwnedRecord struct {
	// ID is the session ID.
	ID string
	Record
}
