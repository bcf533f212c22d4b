package state

import "slices"

// Log is what a request did to a session: enough to do it again on other values,
// and nothing that the request did not do. The zero Log is of a request that did
// nothing.
type Log struct {
	// Renewed says that the session got a new ID.
	Renewed bool
	// Destroyed says that the session ended. Nothing that follows counts.
	Destroyed bool

	flushed  bool // all keys were removed that are not in keys
	replaced bool // there was nothing before, not even what a flush leaves

	// Lifetime is the lifetime of its own that the session was given, in seconds: zero if
	// nothing was said of it, and negative if it has that of the store again.
	Lifetime int32

	keys *List // the values that were set, deleted for keys that were removed, or an *update
}

// deleted stands in a log for the value of a key that was removed.
var deleted any = new(struct{ _ byte })

// update stands in a log for a value that is computed from the one before. It does not change.
type update struct {
	from  any             // what the first function gets, if it is fixed: a value, or deleted
	fixed bool            // else the first function gets what others have left
	funcs []func(any) any // each one gets what the one before has returned
	shown any             // what came out when the request looked
}

// Set notes that the key was set.
func (l *Log) Set(key, val any) {
	if l.Destroyed {
		return
	}
	if l.keys == nil {
		l.keys = newKeys()
	}
	*l.keys = l.keys.set(key, val)
}

// newKeys returns an empty list. It has room for what most requests change, in one piece with it.
func newKeys() *List {
	keys := new(struct {
		list List
		room [2]pair
	})
	keys.list = keys.room[:0]
	return &keys.list
}

// changes returns the keys with their values.
func (l *Log) changes() List {
	if l.keys == nil {
		return nil
	}
	return *l.keys
}

// Delete notes that the key was removed.
func (l *Log) Delete(key any) { l.Set(key, deleted) }

// Update notes that the value of the key was computed by f, and what came out.
func (l *Log) Update(key any, f func(any) any, shown any) {
	was, ok := l.changes().get(key)
	switch u, isUpdate := was.(*update); {
	case isUpdate:
		l.Set(key, &update{u.from, u.fixed, append(slices.Clip(u.funcs), f), shown})
	case ok || l.flushed:
		l.Set(key, shown) // of what this request has set itself: others make no difference
	default:
		l.Set(key, &update{funcs: []func(any) any{f}, shown: shown})
	}
}

// Computes reports whether a value has to be computed anew where others have changed it.
func (l *Log) Computes() bool {
	for _, val := range l.changes().all {
		if _, ok := val.(*update); ok {
			return true
		}
	}
	return false
}

// Flush notes that all keys were removed. A session keeps its age and its lifetime.
func (l *Log) Flush() { l.flushed, l.keys = true, nil }

// Destroy notes that the session ended, and all of its values with it.
func (l *Log) Destroy() {
	l.Flush()
	l.Destroyed = true
}

// SetAll makes the log say that the session holds these values and no others. The
// map belongs to the log from then on.
func (l *Log) SetAll(m map[any]any) {
	keys := ListOf(m)
	l.flushed, l.replaced, l.keys = true, true, &keys
}

// IsEmpty reports whether there is nothing to save.
func (l *Log) IsEmpty() bool { return !l.Renewed && !l.ChangesValues() }

// ChangesValues reports whether values were set or removed, or the lifetime.
func (l *Log) ChangesValues() bool { return l.flushed || l.changes().len() > 0 || l.Lifetime != 0 }

// Flushes reports whether all keys were removed that are not set, so that nobody need know
// what there was.
func (l *Log) Flushes() bool { return l.flushed }

// SetsKeys reports whether a key was set and not removed again.
func (l *Log) SetsKeys() bool {
	for _, val := range l.changes().all {
		if val != deleted {
			return true
		}
	}
	return false
}

// Get returns what the log makes of a key: its value, nil if it was removed. It
// reports false if the log leaves the key as it is.
func (l *Log) Get(key any) (val any, ok bool) {
	val, ok = l.changes().get(key)
	if !ok {
		return nil, l.flushed
	}
	return shown(val), true
}

// shown is what the request sees of the value of a key in a log.
func shown(val any) any {
	if val == deleted {
		return nil
	}
	if u, ok := val.(*update); ok {
		return u.shown
	}
	return val
}

// Apply makes the changes to a map, as the request has seen them.
func (l *Log) Apply(m map[any]any) {
	ListOf(m).Apply(l)
}

// Replay makes the changes to a map of what others have left: see [List.Replay].
func (l *Log) Replay(m map[any]any) error {
	_, err := ListOf(m).Replay(l)
	return err
}

// ApplySet sets again the keys that the request has set itself, over what others have set since. It
// leaves what was computed.
func (l *Log) ApplySet(m map[any]any) {
	d := ListOf(m)
	if l.flushed {
		d.removeFunc(func(key any) bool {
			val, _ := l.changes().get(key)
			_, computed := val.(*update)
			return !computed && !outlivesFlush(key)
		})
	}
	for key, val := range l.changes().all {
		if _, ok := val.(*update); !ok {
			d.put(key, val)
		}
	}
}

// compute returns the value that the functions make of what there is.
func (u *update) compute(now any) (val any, err error) {
	defer recovered("function of an Update", &err)
	if val = now; u.fixed {
		val = shown(u.from)
	}
	for _, f := range u.funcs {
		val = f(val)
	}
	return val, nil
}

// Clone returns a log that later changes of l leave alone.
func (l Log) Clone() Log {
	if l.keys != nil {
		keys := l.keys.clone()
		l.keys = &keys
	}
	return l
}

// Then returns the changes of l followed by those of next. It writes to neither, but
// the result may share its keys with one of them.
func (l Log) Then(next Log) Log {
	if l.Destroyed {
		return l
	}
	next.Renewed = next.Renewed || l.Renewed
	if next.Lifetime == 0 && !next.replaced {
		next.Lifetime = l.Lifetime
	}
	next.replaced = next.replaced || l.replaced
	switch {
	case next.flushed:
		return next
	case next.changes().len() == 0:
		next.keys = l.keys
	default:
		keys := l.changes().clone()
		for key, val := range next.changes().all {
			if u, ok := val.(*update); ok {
				val = l.before(key, u)
			}
			keys = keys.set(key, val)
		}
		next.keys = &keys
	}
	next.flushed = l.flushed
	return next
}

// before returns the update of a key with what l makes of the key before it.
func (l *Log) before(key any, next *update) *update {
	if next.fixed {
		return next
	}
	was, ok := l.changes().get(key)
	switch u, isUpdate := was.(*update); {
	case isUpdate:
		return &update{u.from, u.fixed, slices.Concat(u.funcs, next.funcs), next.shown}
	case ok:
		return &update{was, true, next.funcs, next.shown}
	case l.flushed:
		return &update{deleted, true, next.funcs, next.shown}
	default:
		return next
	}
}

// Without returns the log without what was computed in done, which is how the log began and
// is in the store by now: to compute it again would count it twice. To set a value again does
// no harm.
func (l Log) Without(done Log) Log {
	l = l.Clone()
	for key, val := range done.changes().all {
		old, ok := val.(*update)
		kept, _ := l.changes().get(key)
		now, still := kept.(*update)
		if !ok || !still || old.fixed || now.fixed || len(now.funcs) < len(old.funcs) {
			continue
		}
		if rest := now.funcs[len(old.funcs):]; len(rest) > 0 {
			*l.keys = l.keys.set(key, &update{funcs: rest, shown: now.shown})
		} else {
			*l.keys = l.keys.remove(key)
		}
	}
	return l
}
