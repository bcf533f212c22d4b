// Package redact has errors whose text may be shown. The text of a driver's error may
// hold what must not be: a password, a session ID, the data of a session.
package redact

// Error is an error with another text, which may be shown. errors.Is and errors.As find
// the original error.
type Error struct {
	Text string
	Err  error // the original error
}

// Error returns the text that may be shown.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the original error.
func (e *Error) Unwrap() error { return e.Err }
