package session

import "reflect"

// Update sets the value of the key to what f makes of it: a counter, a cart. Set with a value
// that was computed from what Get returned loses what another request has computed meanwhile;
// Update does not. It calls f at once, with what the session shows, and again when the session
// is saved, with what is stored by then. So f runs twice or more, the second time perhaps on
// another goroutine and after the handler. (Only once if this request has set the key before, or
// flushed the session: then others make no difference.) It must depend on its argument alone and not use the
// session. It must be quick: other requests of the session wait for it, and fail if it takes
// too long. Its argument is the zero T if there is no value of type T that this process can
// decode. To change a slice or a map, f must return a new one and leave its argument as it is.
//
// If the first call of f panics, nothing is changed, and the panic reaches the caller. If f panics
// while the session is saved, or takes longer than Options.Timeout, the save is an error and the
// session stays as it is stored.
// For a session of a store of another make, Update is Get and Set.
func Update[T any](s Session, key interface{}, f func(T) T) {
	compute := func(now interface{}) interface{} { return f(valueAs[T](now)) }
	if b, _ := baseOf(s); b != nil {
		b.update(key, compute)
		return
	}
	s.Set(key, compute(s.Get(key)))
}

// valueAs returns a value that is of type T, or the zero T. JSON returns whole numbers as
// float64: if T is an integer type, such a number is converted.
func valueAs[T any](val interface{}) T {
	t, ok := val.(T)
	if f, isFloat := val.(float64); !ok && isFloat {
		switch v := reflect.ValueOf(&t).Elem(); {
		case v.CanInt() && float64(int64(f)) == f && !v.OverflowInt(int64(f)):
			v.SetInt(int64(f))
		case v.CanUint() && float64(uint64(f)) == f && !v.OverflowUint(uint64(f)):
			v.SetUint(uint64(f))
		}
	}
	return t
}

// update sets the value of the key to what f makes of it. It runs f without the lock, and
// again if the session was changed meanwhile.
func (s *BaseSession) update(key interface{}, f func(interface{}) interface{}) {
	if !s.mayChange(key) {
		return
	}
	s.noteLate()
	const most = 100 // then take it: perhaps it is f itself that changes the session
	for try := 1; ; try++ {
		val, changes := s.look(key)
		next := f(val)
		s.mu.Lock()
		if s.changes == changes || try == most {
			s.log.Update(key, f, next)
			s.changes++
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// look returns the value of the key, and how many changes there have been.
func (s *BaseSession) look(key interface{}) (val interface{}, changes uint32) {
	s.mu.Lock()
	defer s.mu.Unlock() // also if the key is none, which panics
	return s.get(key), s.changes
}
