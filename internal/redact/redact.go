// Package redact has an error that is safe to show. The text of a driver's error may
// hold secrets: a password, a session ID, the data of a session. So whoever knows the
// driver writes another text, and an [Error] puts that text in place of the driver's. Where
// nobody knows the driver, as with a store of an app, [Foreign] cuts out what may be secret.
package redact

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Error is an error with another text, which is safe to show. errors.Is and errors.As
// find the original error, for those who know its type. Nothing else does: there is no
// Unwrap, as services that gather errors send the texts of the whole chain, and no field
// that encoding/json and the like look into.
type Error struct {
	text     string
	original func() error // a function, as package fmt may show all of any other value
}

// New returns err with a text that is safe to show.
func New(text string, err error) error {
	return &Error{text: text, original: func() error { return err }}
}

// Error returns the text that is safe to show.
func (e *Error) Error() string { return e.text }

// Is reports whether the original error is target.
func (e *Error) Is(target error) bool { return errors.Is(e.original(), target) }

// As finds the first error of the type of target in the original error.
func (e *Error) As(target any) bool { return errors.As(e.original(), target) }

// Format shows the text, whatever the verb: %#v would show the original.
func (e *Error) Format(f fmt.State, verb rune) {
	text := e.text
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		text = strconv.Quote(text)
	}
	_, _ = f.Write([]byte(text))
}

// quoted is a quoted text. It goes from the first quote to the last, since there may be
// quotes inside. An apostrophe within a word is no quote, but in SQL one letter may stand before
// a quote, as in X'00ff'.
var quoted = regexp.MustCompile("(?s)(?:\\B|\\b\\w)'.*'\\B|\".*\"|`.*`")

// Foreign returns an error of an app's code so that it may be shown, and nil if err is nil.
// Its text is that of err without what is quoted and without the IDs: what a server quotes
// are keys and data. An error that has been redacted before stays as it is.
func Foreign(err error, ids ...string) error {
	if _, ok := err.(*Error); ok || err == nil { //nolint:errorlint // what wraps it has a text of its own
		return err
	}
	text := quoted.ReplaceAllStringFunc(err.Error(), func(s string) string {
		first := strings.IndexAny(s, "'\"`")
		return s[:first+1] + "..." + s[len(s)-1:]
	})
	for _, id := range ids {
		if id != "" {
			text = strings.ReplaceAll(text, id, "[session ID]")
		}
	}
	return New(text, err)
}
