// Package commit brings the changes of a session into a store where others change
// the same session at the same time.
//
// # Model
//
// A [Change] is a log of changes and the record that they were made on. The
// [Engine] applies the log to the values of that record and asks the store to
// replace exactly the bytes of that record by the new ones. No lock is held and no
// transaction is open: what the store compares with decides.
//
// # Conflicts
//
// A write that was refused is resolved in one place, Engine.resolve: the record that
// is there now gets the same log, and where no record is there any more
// [Change.LoseRecord] decides. So requests that change different keys never undo each
// other, the same key goes to the last commit, and nothing brings a session back.
//
// # Renewals
//
// A store leaves a mark under an ID that was given up for a new one ([state.Mark]). A
// change of a session that has lost its record to a renewal is void, unless it is a
// renewal itself. Without a mark the session was destroyed or has expired.
//
// # Undecodable values
//
// What cannot be decoded of a record is carried along, but for the keys that are set or
// removed. A record of which nothing can be decoded is replaced only by a request that has
// found it so when it read the session.
//
// # Turns
//
// Changes of one session take turns inside of a process, and those that wait are
// written together: see lane.go. That saves round trips, and nothing rests on it.
//
// # Errors
//
// An error of the store or of the encoding ends a commit and comes back as it is.
// A commit that other writers, of other processes, beat 200 times in a row, or until its time
// is over, returns [ErrContended]. That takes some five seconds.
//
// # Lost answers
//
// After an error of a write, nobody knows whether the store has made the write, unless the
// error wraps [ErrNotApplied]. Then the engine looks: see lost.go.
package commit

import (
	"context"
	"errors"
	"time"

	"github.com/flamego/session/internal/state"
)

// Store is what the engine needs of a store. Its operations on records are those of a
// session.Backend, where their contract is, but for what is said here.
type Store interface {
	Load(ctx context.Context, id string) (Found, error)
	Insert(ctx context.Context, id string, rec Record) (bool, error)
	Swap(ctx context.Context, id string, old []byte, rec Record) (bool, error)
	// Rename is an insert if nothing is stored under the old ID.
	Rename(ctx context.Context, old Origin, newID string, rec Record) (bool, error)
	// Mark leaves a mark under an ID that was given up. The session has its new ID by
	// then, so if that is not possible it is no error.
	Mark(ctx context.Context, id string)
	Delete(ctx context.Context, id string) error

	// Encode returns the bytes of values, and of what could not be decoded, for a record under an ID.
	Encode(id string, values map[any]any, rest *state.Rest) ([]byte, error)
	// Rebind returns the bytes of a record that has the same values under another ID, or those that
	// the store would write today under the same one.
	Rebind(data []byte, id, newID string) []byte
	// Stamp notes in the values of a record what the store has to know of the record, if
	// that is missing, and reports whether it has changed them. It is told whether the record
	// begins a session or gives it a new ID.
	Stamp(values map[any]any, begins bool) bool
	// TTL returns how long a record with these values is to live: perhaps shorter where it is
	// the first one of a new visitor.
	TTL(values map[any]any, first bool) time.Duration
	// Note is told what became of a session, each time once.
	Note(ctx context.Context, o Outcome, id string)
	// Owner returns the owner of a record with these values, empty if it has none.
	Owner(values map[any]any) string
	// Decode returns the values in the bytes of the record under an ID, in a map that is the
	// caller's. The map is nil if there is an error, unless a part of the bytes can be
	// decoded: then there is a rest, too.
	Decode(id string, data []byte) (map[any]any, *state.Rest, error)
}

// Outcome is what became of a session by a commit.
type Outcome int

// The outcomes. A session that goes on under its ID has none.
const (
	Created  Outcome = iota // it was stored for the first time
	GotNewID                // its record got a new ID
	Ended                   // the change was its end
	Lost                    // its record was gone, and the changes were dropped
)

// Moment is an instant by the monotonic clock of this process. Every session has one, and a
// time.Time takes three times as much room.
type Moment time.Duration

var started = time.Now()

// In returns the moment that is d from now.
func In(d time.Duration) Moment { return Moment(time.Since(started) + d) }

// Record is what the store keeps under an ID.
type Record struct {
	Data   []byte
	TTL    time.Duration
	Owner  string
	Former string
}

// Status is what stands under an ID.
type Status int8

// The status of an ID. Where it is Gone, a record may stand in the way of an insert all
// the same: a mark that counts no more.
const (
	Gone    Status = iota // no session
	Live                  // a session
	Renewed               // no session, as it got a new ID a moment ago
)

// Found is what a store has under an ID.
type Found struct {
	Status  Status
	Data    []byte // the bytes of the record, nil if there is none
	Expires Moment // of the record
	// Values are what the bytes decode to, nil if that is not known, and Rest is what
	// could not be decoded. Undecoded says why it could not.
	Values    state.Map
	Rest      *state.Rest
	Undecoded error
}

// ErrContended says that other writers were faster each time.
var ErrContended = errors.New("other requests changed the session faster, time and again")

// ErrNotApplied says that a write was surely not made.
var ErrNotApplied = errors.New("not applied")

// Origin is what is known of a record: as it was read, or as it was last written.
type Origin struct {
	ID      string // the ID of the record
	Data    []byte // its bytes
	Seq     uint64 // the number of the last commit before it was read: see Engine.Seq
	Expires Moment // when it was to expire, as far as this process knows

	// Values are what the bytes decode to, nil if that is not known, and Rest is what
	// could not be decoded.
	Values state.Map
	Rest   *state.Rest

	Status Status // what stands under the ID: a session, or why there is none
	// Dead says that the record is none of a session, and only in the way: a mark that counts
	// no more, or what has lived for as long as it may. It is replaced.
	Dead bool
	// Unreadable says that the bytes could not be decoded when the session was read.
	// Then it was empty, and what is set replaces them. Bytes that somebody else has
	// written since are not replaced by a request that has read others.
	Unreadable bool

	lost *lost // a write on top of this record of which nobody knows whether it was made
}

// isSession reports whether the record is one of a session.
func (o Origin) isSession() bool { return o.Status == Live && !o.Dead }

// Condition is what must be true of the values in the store for a change to count.
type Condition int

// The conditions. The last two are for taking a flash out of a session, and for
// giving one back that nobody has seen.
const (
	Always Condition = iota
	IfFlash
	IfNoFlash
)

// Change is the changes of a session on their way into the store, and then what
// became of them.
type Change struct {
	// ID is the ID that the session shall have. It is not that of the origin if
	// the session is to get a new one.
	ID string
	// Fresh says that nobody else knows the ID.
	Fresh bool
	// First says that the session is that of a visitor who was not here before.
	First bool
	// Gains says that the record that was written has an owner whom the one before did not have.
	// Of changes that are written together it says so to each.
	Gains bool
	// Log is the changes.
	Log state.Log
	// When is the condition of the changes: where it does not hold they are void.
	When Condition

	// Origin is the record that the changes were made on, and afterwards the one
	// that the store holds.
	Origin Origin
	// Values are what the session shows beneath its log: as read before the commit, as
	// stored after it. They differ from those of the origin where another request has
	// set the same key.
	Values state.Values
	// Vanished says that the record is gone, and the changes with it.
	Vanished bool
	// Flash is what a change with IfFlash has taken.
	Flash any

	seen     any       // the flash that CheckCondition has seen, which is taken if the change is written
	writing  bool      // the store is asked to write
	unsent   bool      // the change failed and was surely not written, as one that cannot be encoded
	deadline time.Time // of the commit, while the change waits in a lane
	batch    *batch    // what the change was made a part of; guarded by the shard
}

// CheckCondition reports whether the condition of the changes is true of the values that
// the store holds now.
func (c *Change) CheckCondition(now state.Values) bool {
	if c.When == Always {
		return true
	}
	flash := state.Get(now, state.FlashKey)
	if c.When == IfFlash {
		c.seen = flash
	}
	return (c.When == IfFlash) == (flash != nil)
}

// LoseRecord decides what becomes of the changes when the record that they were made on is
// gone. What stands under its ID now tells why. If the session was destroyed or has
// expired, the changes are dropped with it. If it was renewed, they are void, with one
// exception: a change that gives the session a new ID itself, as the same login does that
// was sent twice. What such a change has set is stored under its own new ID, with nothing
// of the old values but the lifetime, and LoseRecord reports that there is something to insert.
func (c *Change) LoseRecord(now Status) (insert bool) {
	if now != Renewed {
		c.Vanish()
		return false
	}
	if own := state.Lifetime(c.Values); own > 0 && c.Log.Lifetime == 0 {
		c.Log.Lifetime = int32(own / time.Second) // it is of the visitor as much as of the session
	}
	c.Values, c.Origin = nil, Origin{ID: c.Origin.ID, Status: Renewed}
	return !c.IsVoid()
}

// IsVoid reports whether there is nothing to write because the session got a new ID
// that the changes do not know. They stay with the session, which may yet get a new ID of
// its own. The end of the session is never void.
func (c *Change) IsVoid() bool {
	return c.Origin.Status == Renewed && !c.Log.Destroyed && (c.ID == c.Origin.ID || !c.Log.SetsKeys())
}

// MayWrite reports whether there may be something to write: not for a session whose record
// had vanished before, except that its end still counts. Another request may have begun the
// session anew under the same ID.
func (c *Change) MayWrite() bool { return !c.Vanished || c.Log.Destroyed }

// Vanish notes that the store holds no record of the session any more.
func (c *Change) Vanish() { c.Values, c.Vanished = nil, true }

// Written notes what the store holds now.
func (c *Change) Written(now Origin, values state.Values) {
	c.Origin, c.Values, c.Flash = now, values, c.seen
}
