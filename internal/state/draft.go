package state

import "time"

// Draft is the values of a session while they are being changed. The zero Draft has none.
type Draft struct{ pairs }

// DraftOf returns a draft that writes to the map.
func DraftOf(m map[any]any) Draft { return Draft{pairs{many: m}} }

// Draft returns a draft of the values of a list, which may be nil, and leaves the list alone.
func (l *List) Draft() (d Draft) {
	if l == nil {
		return d
	}
	if m, ok := l.large(); ok {
		return DraftOf(m.Copy())
	}
	d.n = copy(d.few[:], *l)
	return d
}

// List returns the values as a list. The draft is not to be used any more.
func (d *Draft) List() List {
	if d.len() > maxList {
		return List{{asMap, Map(d.many)}}
	}
	l := make(List, d.len())
	n := copy(l, d.few[:d.n])
	for key, val := range d.many {
		l[n] = pair{key, val}
		n++
	}
	return l
}

// Born is [Born] of a draft.
func (d *Draft) Born(now time.Time) (born time.Time, known bool) {
	val, _ := d.get(bornKey)
	return bornAt(val, now)
}

// SetBorn notes since when the age of the session is counted, and whether it was first stored then
// or got a new ID.
func (d *Draft) SetBorn(now time.Time, known bool) { d.set(bornKey, bornText(now, known)) }

// Apply makes the changes of a log, as the request has seen them.
func (d *Draft) Apply(l *Log) {
	_ = d.change(l, func(u *update) (any, error) { return u.shown, nil })
}

// Replay makes the changes of a log to values that others have left. What was computed is
// computed anew, from these. It returns an error if a function panics; then the draft is of no
// use.
func (d *Draft) Replay(l *Log) error { return d.change(l, nil) }

// change makes the changes of a log. If valueOf is nil, updates are computed.
func (d *Draft) change(l *Log, valueOf func(*update) (any, error)) error {
	switch {
	case l.replaced:
		d.removeFunc(func(any) bool { return true })
	case l.flushed:
		d.removeFunc(func(key any) bool { return !outlivesFlush(key) })
	}
	for key, val := range l.keys.all {
		if u, ok := val.(*update); ok {
			var err error
			if valueOf != nil {
				val, err = valueOf(u)
			} else {
				now, _ := d.get(key)
				val, err = u.compute(now)
			}
			if err != nil {
				return err
			}
		}
		d.put(key, val)
	}
	switch {
	case l.Lifetime < 0:
		d.remove(lifetimeKey)
	case l.Lifetime > 0:
		d.set(lifetimeKey, lifetimeText(l.Lifetime))
	}
	return nil
}

// put sets the value of the key, which may be deleted.
func (d *Draft) put(key, val any) {
	if val == deleted {
		d.remove(key)
	} else {
		d.set(key, val)
	}
}
