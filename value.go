package session

// Value returns the value of the key if there is one of type T.
func Value[T any](s Session, key interface{}) (T, bool) {
	val, ok := s.Get(key).(T)
	return val, ok
}

// Pop returns the value of the key if there is one of type T, and removes it
// from the session. A value of another type stays.
func Pop[T any](s Session, key interface{}) (T, bool) {
	val, ok := Value[T](s, key)
	if ok {
		s.Delete(key)
	}
	return val, ok
}
