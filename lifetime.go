package session

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/clock"
	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/seal"
	"github.com/flamego/session/internal/state"
)

// SetLifetime gives a session a lifetime of its own: how long the session lives without access.
// That is also the Max-Age of its cookie, up to 400 days. It is what "remember me" on a login
// page needs. The session keeps it until it ends: Flush and RegenerateID leave it alone.
// Options.MaxLifetime still holds, for the cookie, too.
//
// Fractions of a second are dropped, and the longest lifetime is 68 years. If d is below one
// second, that undoes an earlier SetLifetime: the session has the Lifetime of the store again,
// and the cookie the MaxAge of the options. A session with a short lifetime is extended often
// enough, whatever Options.TouchInterval says. If the header of the response is sent already,
// the cookie follows with the next response that extends the session. With Options.WriteIDFunc
// there is no cookie.
//
// It returns an error, and changes nothing, when the session has ended, and for a session of a
// store that is neither of this module nor made by [NewStore].
func SetLifetime(s Session, d time.Duration) error {
	b, _ := baseOf(s)
	if b == nil || !b.isOfOurStore() {
		return fmt.Errorf("session: set lifetime: a session of type %T has the lifetime that its own store gives it", s)
	}
	d = min(max(d, 0).Truncate(time.Second), math.MaxInt32*time.Second)
	changed, err := b.setLifetime(d)
	if changed {
		b.noteLate()
	}
	return err
}

func (s *BaseSession) setLifetime(d time.Duration) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.hasEnded():
		return false, errEnded
	case d == s.customLifetime():
		return false, nil
	case d == 0:
		s.log.Lifetime = -1
	default:
		s.log.Lifetime = int32(d / time.Second)
	}
	s.changes++
	return true, nil
}

// customLifetime returns the custom lifetime of the session, 0 if it has none. The
// caller has the lock.
func (s *BaseSession) customLifetime() time.Duration {
	if set := cmp.Or(s.log.Lifetime, s.pending.Lifetime); set != 0 {
		return time.Duration(max(set, 0)) * time.Second
	}
	return s.origin.custom
}

// IssuedAt returns when a session was first stored or last got a new ID, to the millisecond. If
// the app renews the ID at login, that is the time of the login. The time is known only with
// Options.MaxLifetime or Options.OwnerKey; without them it is the zero time. It is also zero
// for a session that is not stored yet, and for one that began before the option was set, or in
// a process without it, and has had no new ID since.
func IssuedAt(s Session) time.Time {
	b, _ := baseOf(s)
	if b == nil {
		return time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.origin.store == nil || b.origin.Status != commit.Live || b.hasEnded() {
		return time.Time{}
	}
	switch r := b.origin.store.rules(); {
	case !r.stamps():
		return time.Time{}
	case b.log.Renewed || b.pending.Renewed:
		return r.now().Truncate(time.Millisecond)
	default:
		return issued(b.base, r.now())
	}
}

// issued returns when a session was issued, zero if that is not known.
func issued(v state.Values, now time.Time) time.Time {
	born, known := state.Born(v, now)
	if !known {
		return time.Time{}
	}
	return born
}

const defaultLifetime = time.Hour

// rules are what the options say of the sessions of a store: how long they live and whose
// they are. This is the one place where the time to live of a session is computed, for the
// records of all backends and for the memory store. The age of the cookie (cookie.maxAge) and how
// often a session is extended (Manager.isDue) follow from it. That a record is dead when its time
// is over is the rule of a Backend.
type rules struct {
	lifetime      time.Duration // without access
	maxLifetime   time.Duration // 0 for none
	firstLifetime time.Duration // 0 for none
	ownerKey      interface{}   // nil for none
	maxOwned      int           // 0 for any number
	keys          seal.Keys
	hashIDs       HashMode
	observer      *observer
	errorFunc     func(error)
	clock         *clock.Clock
	configured    bool // by a Manager

	// customSeen says that this process has seen a session with a lifetime of its own. Until then
	// a Touch by hand assumes that the session has none, since to look would cost an operation.
	customSeen atomic.Bool
}

// newRules returns the rules of a store whose Config asks for a lifetime.
func newRules(lifetime time.Duration) *rules {
	if lifetime < time.Second {
		lifetime = defaultLifetime
	}
	return &rules{lifetime: lifetime, errorFunc: func(error) {}, clock: clock.New()}
}

// now is the time by the clock that all instances share.
func (r *rules) now() time.Time { return r.clock.Now() }

// with returns the rules with what the options say.
func (r *rules) with(o *Options) (*rules, error) {
	if o.FirstLifetime >= r.lifetime {
		return nil, fmt.Errorf("FirstLifetime is %v, not shorter than the Lifetime of %v", o.FirstLifetime, r.lifetime)
	}
	keys, err := seal.New(o.Keys)
	if err != nil {
		return nil, fmt.Errorf("Keys: %w", err)
	}
	next := &rules{
		lifetime: r.lifetime, maxLifetime: o.MaxLifetime, firstLifetime: o.FirstLifetime,
		ownerKey: o.OwnerKey, maxOwned: o.MaxOwned, keys: keys, hashIDs: o.HashIDs,
		observer: newObserver(o), errorFunc: o.ErrorFunc, clock: r.clock, configured: true,
	}
	next.customSeen.Store(r.customSeen.Load())
	if r.configured && !r.isLike(next) {
		return nil, errors.New("the store is in use with other values of MaxLifetime, FirstLifetime, OwnerKey, MaxOwned, " +
			"Keys, HashIDs, Observe or Trace")
	}
	return next, nil
}

// isLike reports whether a store can go on with other rules. Functions cannot be compared, so of two
// observers it is enough that both are there.
func (r *rules) isLike(other *rules) bool {
	return r.maxLifetime == other.maxLifetime && r.firstLifetime == other.firstLifetime &&
		r.ownerKey == other.ownerKey && r.maxOwned == other.maxOwned &&
		r.hashIDs == other.hashIDs && reflect.DeepEqual(r.keys, other.keys) &&
		(r.observer == nil) == (other.observer == nil)
}

// custom returns the custom lifetime of a session (SetLifetime), 0 if it has none.
func (r *rules) custom(v state.Values) time.Duration {
	custom := state.Lifetime(v)
	if custom > 0 && !r.customSeen.Load() {
		r.customSeen.Store(true)
	}
	return custom
}

// usual returns how long the session lives without access: its own lifetime, or that of the store.
func (r *rules) usual(v state.Values) time.Duration {
	return cmp.Or(r.custom(v), r.lifetime)
}

// ttl is the time to live that a save or an extension gives to a session: a shorter one if it
// is the first save of a new visitor. It is a millisecond at least, since a backend need not
// accept zero.
func (r *rules) ttl(v state.Values, first bool) time.Duration {
	ttl := r.usual(v)
	if first && r.firstLifetime > 0 && r.custom(v) == 0 {
		ttl = r.firstLifetime
	}
	return max(min(ttl, r.remaining(v)), time.Millisecond)
}

// remaining is how long the session may live at most.
func (r *rules) remaining(v state.Values) time.Duration {
	if r.maxLifetime == 0 {
		return math.MaxInt64
	}
	now := r.now()
	born, _ := state.Born(v, now)
	if born.IsZero() {
		return r.maxLifetime
	}
	return born.Add(r.maxLifetime).Sub(now)
}

// What idle returns for a session that is never to be extended, or that is to be extended in
// any case.
const (
	never  = time.Duration(math.MinInt64)
	always = time.Duration(math.MaxInt64)
)

// idle returns how long ago the last save or extension was, given the time that is left. It is
// never if an extension would gain nothing, because MaxLifetime ends the session, and always if it
// is yet to be noted since when MaxLifetime counts. It also returns the lifetime of its own that
// the session has, 0 if it has none.
func (r *rules) idle(v state.Values, left time.Duration) (idle, custom time.Duration) {
	const rounding = time.Second // stores of whole seconds round up
	custom = r.custom(v)
	lifetime, remaining := cmp.Or(custom, r.lifetime), r.remaining(v)
	if remaining >= lifetime {
		return lifetime - left, custom
	}
	switch born, _ := state.Born(v, r.now()); {
	case born.IsZero():
		return always, custom
	case remaining-left < rounding:
		return never, custom
	}
	return remaining - left, custom
}

// isOver reports whether the session has lived for as long as it may.
func (r *rules) isOver(v state.Values) bool { return r.maxLifetime > 0 && r.remaining(v) <= 0 }

// status says what an entry of a store with so much time left means for its ID.
func (r *rules) status(v state.Values, isMark bool, left time.Duration) commit.Status {
	switch {
	case r.isOver(v):
		return commit.Gone
	case !isMark:
		return commit.Live
	case state.MarkCounts(v, left, r.now()):
		return commit.Renewed
	default:
		return commit.Gone
	}
}

// stamps reports whether sessions keep when they were issued.
func (r *rules) stamps() bool { return r.maxLifetime > 0 || r.ownerKey != nil }

// stamp notes since when the age of the session is counted: since now, if it begins or gets a new
// ID, or if nothing is noted. Without the options it does so only for a session that gets a new ID
// and has a note by a process that has them. It reports whether that is a change.
func (r *rules) stamp(draft state.List, begins bool) (stamped state.List, changed bool) {
	if !begins && !r.stamps() {
		return draft, false
	}
	now := r.now()
	born, _ := draft.Born(now)
	if noted := !born.IsZero(); noted && !begins || !noted && !r.stamps() {
		return draft, false
	}
	return draft.SetBorn(now, begins), true
}

// isBorn reports whether it is noted since when the age of the session is counted.
func (r *rules) isBorn(v state.Values) bool {
	born, _ := state.Born(v, r.now())
	return !born.IsZero()
}

// extendsBySaving reports whether an extension has to write the session: because nothing is noted
// in it yet of its age, or because the index of its owner may not know of it.
func (r *rules) extendsBySaving(v state.Values) bool {
	return r.stamps() && (r.owner(v) != "" || !r.isBorn(v))
}

// needsValues reports whether the time to live of a session depends on what it holds.
func (r *rules) needsValues() bool { return r.stamps() || r.customSeen.Load() }
