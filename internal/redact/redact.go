// Package redact has an error that is safe to show. The text of a driver's error may
// hold secrets: a password, a session ID, the data of a session. So whoever knows the
// driver writes another text, and an [Error] puts that text in place of the driver's. The
// package itself looks for no secrets.
package redact

import "fmt"

// Error is an error with another text, which is safe to show. errors.Is and errors.As
// find the original error. Nothing else does: package fmt prints the text for every verb,
// and without an exported field, encoding/json and the like show nothing of the original.
type Error struct {
	text string
	err  error
}

// New returns err with a text that is safe to show. The err may be nil: then the text is
// all there is.
func New(text string, err error) error { return &Error{text: text, err: err} }

// Error returns the text that is safe to show.
func (e *Error) Error() string { return e.text }

// Unwrap returns the original error.
func (e *Error) Unwrap() error { return e.err }

// Format prints the text. Without it, the verbs that are not for texts would print the
// fields of the original error.
func (e *Error) Format(f fmt.State, verb rune) {
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), e.text)
}
