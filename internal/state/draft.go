package state

import "time"

// A draft is a list that is being changed, before it is stored.

// Room is where a draft has its values, so that it takes no allocation.
type Room [maxList]pair

// Draft returns a draft of the values of a list, which may be nil and stays as it is.
func (l *List) Draft(room *Room) List {
	if l == nil {
		return room[:0]
	}
	if _, ok := l.large(); ok {
		return l.clone()
	}
	return room[:copy(room[:], *l)]
}

// Stored returns the values of a draft as a list that can be stored: of its own, and no longer
// than it has to be.
func (l List) Stored() List {
	m, large := l.large()
	switch {
	case !large:
		kept := make(List, len(l))
		copy(kept, l)
		return kept
	case len(m) > maxList:
		return ListOf(m)
	}
	kept := make(List, 0, len(m))
	for key, val := range m {
		kept = append(kept, pair{key, val})
	}
	return kept
}

// Born is [Born] of a draft.
func (l List) Born(now time.Time) (born time.Time, known bool) {
	val, _ := l.get(bornKey)
	return bornAt(val, now)
}

// SetBorn notes since when the age of the session is counted, and whether it was first stored then
// or got a new ID.
func (l List) SetBorn(now time.Time, known bool) List { return l.set(bornKey, bornText(now, known)) }

// Apply makes the changes of a log, as the request has seen them.
func (l List) Apply(log *Log) List {
	l, _ = l.change(log, func(u *update) (any, error) { return u.shown, nil })
	return l
}

// Replay makes the changes of a log to values that others have left. What was computed is
// computed anew, from these. It returns an error if a function panics; then the draft is of no
// use.
func (l List) Replay(log *Log) (List, error) { return l.change(log, nil) }

// change makes the changes of a log. If valueOf is nil, updates are computed.
func (l List) change(log *Log, valueOf func(*update) (any, error)) (List, error) {
	switch {
	case log.replaced:
		l = l.removeFunc(func(any) bool { return true })
	case log.flushed:
		l = l.removeFunc(func(key any) bool { return !outlivesFlush(key) })
	}
	for key, val := range log.changes().all {
		if u, ok := val.(*update); ok {
			var err error
			if valueOf != nil {
				val, err = valueOf(u)
			} else {
				now, _ := l.get(key)
				val, err = u.compute(now)
			}
			if err != nil {
				return l, err
			}
		}
		l = l.put(key, val)
	}
	switch {
	case log.Lifetime < 0:
		l = l.remove(lifetimeKey)
	case log.Lifetime > 0:
		l = l.set(lifetimeKey, lifetimeText(log.Lifetime))
	}
	return l, nil
}

// put sets the value of the key, which may be deleted.
func (l List) put(key, val any) List {
	if val == deleted {
		return l.remove(key)
	}
	return l.set(key, val)
}
