package session

import "strings"

// storeError is an error of a store: a text that is safe to show, and the
// original for errors.Is and errors.As.
type storeError struct {
	text string
	err  error
}

func (e *storeError) Error() string { return e.text }
func (e *storeError) Unwrap() error { return e.err }

// fail says which step of which store failed, without the session IDs that the
// error of a driver may hold. The result is nil if err is.
func (s *recordStore) fail(op string, err error, sids ...string) error {
	if err == nil {
		return nil
	}
	text := "session: " + s.Name + ": " + op + ": " + err.Error()
	for _, sid := range sids {
		if checkSID(sid) == nil {
			text = strings.ReplaceAll(text, sid, "[session ID]")
		}
	}
	return &storeError{text: text, err: err}
}
