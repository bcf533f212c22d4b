package session

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/state"
)

// SetLifetime gives a session a lifetime of its own, in the store and in the cookie, whose
// Max-Age it is: how long the session lives without access. It is what "remember me" on a
// login page needs. The session keeps it until it ends: Flush and RegenerateID leave it alone.
// It is counted in whole seconds, as that is, up to 68 years.
// Below one second it gives back the Lifetime of the store, and to the cookie the MaxAge of
// the options. Options.MaxLifetime still holds.
//
// It returns an error, and changes nothing, when the session has ended, and for a session
// that no store of this module has made, nor one of [NewStore].
func SetLifetime(s Session, d time.Duration) error {
	b, _ := baseOf(s)
	if b == nil || !b.isOwned() {
		return fmt.Errorf("session: set lifetime: a session of type %T has the lifetime that its own store gives it", s)
	}
	d = min(max(d, 0).Truncate(time.Second), math.MaxInt32*time.Second)
	b.noteLate()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.hasEnded():
		return errEnded
	case d == b.ownLifetime():
		return nil
	case d == 0:
		b.log.Lifetime = -1
	default:
		b.log.Lifetime = int32(d / time.Second)
	}
	b.changes++
	return nil
}

// ownLifetime returns the lifetime of its own that the session has, 0 if it has none. The
// caller has the lock.
func (s *BaseSession) ownLifetime() time.Duration {
	for _, log := range []*state.Log{&s.log, &s.pending} {
		if log.Lifetime != 0 {
			return time.Duration(max(log.Lifetime, 0)) * time.Second
		}
	}
	return s.origin.own
}

// IssuedAt returns when a session was first stored or last got a new ID, to the millisecond:
// since when its visitor is who the app thinks, if the app renews the ID at login. It is known
// with Options.MaxLifetime or Options.OwnerKey, of this module's stores. Otherwise, and for
// a session that is not stored yet, or was last stored without these options, it is the zero time.
func IssuedAt(s Session) time.Time {
	b, _ := baseOf(s)
	if b == nil {
		return time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch now := time.Now(); {
	case b.origin.store == nil || !b.origin.store.rules().stamps() || b.hasEnded():
		return time.Time{}
	case b.log.Renewed || b.pending.Renewed:
		return now.Truncate(time.Millisecond)
	default:
		return state.Born(b.base, now)
	}
}

const defaultLifetime = time.Hour

// rules are what the options say of the sessions of a store: how long they live and whose
// they are. This is the one place where a time to live is computed, for the records of all
// backends and for the memory store. That a record is dead when its time is over is the
// rule of a Backend.
type rules struct {
	lifetime      time.Duration // without access
	maxLifetime   time.Duration // 0 for none
	firstLifetime time.Duration // 0 for none
	ownerKey      interface{}   // nil for none
	maxOwned      int           // 0 for any number
	errorFunc     func(error)

	// ownSeen says that a session has a lifetime of its own. So do others, perhaps.
	ownSeen atomic.Bool
}

// newRules returns the rules of a store whose Config asks for a lifetime.
func newRules(lifetime time.Duration) *rules {
	if lifetime < time.Second {
		lifetime = defaultLifetime
	}
	return &rules{lifetime: lifetime, errorFunc: func(error) {}}
}

// with returns the rules with what the options say.
func (r *rules) with(o *Options) (*rules, error) {
	if o.FirstLifetime >= r.lifetime {
		return nil, fmt.Errorf("FirstLifetime is %v, not shorter than the Lifetime of %v", o.FirstLifetime, r.lifetime)
	}
	return &rules{
		lifetime: r.lifetime, maxLifetime: o.MaxLifetime, firstLifetime: o.FirstLifetime,
		ownerKey: o.OwnerKey, maxOwned: o.MaxOwned, errorFunc: o.ErrorFunc,
	}, nil
}

// own returns the lifetime of its own that a session has, 0 if it has none.
func (r *rules) own(v state.Values) time.Duration {
	own := state.Lifetime(v)
	if own > 0 && !r.ownSeen.Load() {
		r.ownSeen.Store(true)
	}
	return own
}

// ttl is the time to live that a save or an extension gives to a session: a shorter one if it
// is the first save of a new visitor. It is never zero, which is no time to live.
func (r *rules) ttl(v state.Values, first bool) time.Duration {
	ttl := r.lifetime
	if own := r.own(v); own > 0 {
		ttl = own
	} else if first && r.firstLifetime > 0 {
		ttl = r.firstLifetime
	}
	return max(min(ttl, r.rest(v)), time.Millisecond)
}

// rest is how long the session may live at most.
func (r *rules) rest(v state.Values) time.Duration {
	if r.maxLifetime == 0 {
		return math.MaxInt64
	}
	now := time.Now()
	born := state.Born(v, now)
	if born.IsZero() {
		return r.maxLifetime
	}
	return born.Add(r.maxLifetime).Sub(now)
}

// nothingToGain is how long ago the last extension was where the next one would gain nothing.
const nothingToGain = time.Duration(math.MinInt64)

// idle returns how long ago the last save or extension was, given the time that is left, and the
// lifetime of its own that the session has. Where an extension would gain nothing, because
// MaxLifetime is what ends the session, that is no time ago; unless it has yet to be noted since
// when MaxLifetime counts.
func (r *rules) idle(v state.Values, left time.Duration) (idle, own time.Duration) {
	const rounding = time.Second // stores of whole seconds round up
	lifetime := r.lifetime
	if own = r.own(v); own > 0 {
		lifetime = own
	}
	if rest := r.rest(v); rest < lifetime {
		if state.Born(v, time.Now()).IsZero() {
			return math.MaxInt64, own
		}
		if lifetime = rest; rest-left < rounding {
			return nothingToGain, own
		}
	}
	return lifetime - left, own
}

// isOver reports whether the session has lived for as long as it may.
func (r *rules) isOver(v state.Values) bool { return r.maxLifetime > 0 && r.rest(v) <= 0 }

// stamps reports whether sessions keep when they were issued.
func (r *rules) stamps() bool { return r.maxLifetime > 0 || r.ownerKey != nil }

// stamp notes when the session was issued: now, if it begins or gets a new ID. It reports whether that is
// a change.
func (r *rules) stamp(m map[interface{}]interface{}, begins bool) bool {
	now := time.Now()
	if !r.stamps() || !begins && !state.Born(state.Map(m), now).IsZero() {
		return false
	}
	state.SetBorn(m, now)
	return true
}

// extendsBySaving reports whether an extension has to write the session: because what it
// keeps does not say yet when it was issued, or because the index of its owner may not know
// of it.
func (r *rules) extendsBySaving(v state.Values) bool {
	return r.stamps() && (r.owner(v) != "" || state.Born(v, time.Now()).IsZero())
}

// needsValues reports whether the time to live of a session depends on what it holds.
func (r *rules) needsValues() bool { return r.stamps() || r.ownSeen.Load() }
