package state

import "maps"

// Log is what a request did to a session: enough to do it again on other values,
// and nothing that the request did not do. The zero Log is of a request that did
// nothing.
type Log struct {
	// Renewed says that the session got a new ID.
	Renewed bool
	// Destroyed says that the session ended. Nothing that follows counts.
	Destroyed bool

	flushed bool        // all keys were removed that are not in keys
	keys    map[any]any // the values that were set; deleted for keys that were removed
}

// deleted stands in a log for the value of a key that was removed.
var deleted any = new(struct{ _ byte })

// Set notes that the key was set.
func (l *Log) Set(key, val any) {
	if l.Destroyed {
		return
	}
	if l.keys == nil {
		l.keys = make(map[any]any, 1)
	}
	l.keys[key] = val
}

// Delete notes that the key was removed.
func (l *Log) Delete(key any) { l.Set(key, deleted) }

// Flush notes that all keys were removed.
func (l *Log) Flush() { l.flushed, l.keys = true, nil }

// Destroy notes that the session ended, and all of its values with it.
func (l *Log) Destroy() {
	l.Flush()
	l.Destroyed = true
}

// SetAll makes the log say that the session holds these values and no others. The
// map belongs to the log from then on.
func (l *Log) SetAll(m map[any]any) { l.flushed, l.keys = true, m }

// Replace makes the log say that the session held nothing before.
func (l *Log) Replace() { l.flushed = true }

// IsEmpty reports whether there is nothing to save.
func (l *Log) IsEmpty() bool { return !l.Renewed && !l.ChangesValues() }

// ChangesValues reports whether values were set or removed.
func (l *Log) ChangesValues() bool { return l.flushed || len(l.keys) > 0 }

// Flushes reports whether all keys were removed that are not set, so that nobody need know
// what there was.
func (l *Log) Flushes() bool { return l.flushed }

// SetsKeys reports whether a key was set and not removed again.
func (l *Log) SetsKeys() bool {
	for _, val := range l.keys {
		if val != deleted {
			return true
		}
	}
	return false
}

// Get returns what the log makes of a key: its value, nil if it was removed. It
// reports false if the log leaves the key as it is.
func (l *Log) Get(key any) (val any, ok bool) {
	val, ok = l.keys[key]
	if val == deleted {
		return nil, true
	}
	return val, ok || l.flushed
}

// Apply makes the changes to a map.
func (l *Log) Apply(m map[any]any) {
	if l.flushed {
		clear(m)
	}
	for key, val := range l.keys {
		if val == deleted {
			delete(m, key)
		} else {
			m[key] = val
		}
	}
}

// Then returns the changes of l followed by those of next. It writes to neither, but
// the result may share a map with one of them.
func (l Log) Then(next Log) Log {
	if l.Destroyed {
		return l
	}
	next.Renewed = next.Renewed || l.Renewed
	switch {
	case next.flushed:
		return next
	case len(next.keys) == 0:
		next.keys = l.keys
	default:
		keys := make(map[any]any, len(l.keys)+len(next.keys))
		maps.Copy(keys, l.keys)
		maps.Copy(keys, next.keys)
		next.keys = keys
	}
	next.flushed = l.flushed
	return next
}
