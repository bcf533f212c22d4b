package redact_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/flamego/session/internal/redact"
)

// driverError shows in its fields what its text does not.
type driverError struct {
	Detail string
	inner  error
}

func (*driverError) Error() string   { return "it failed: secret" }
func (e *driverError) Unwrap() error { return e.inner }

func TestError(t *testing.T) {
	original := &driverError{"secret", io.EOF}
	err := fmt.Errorf("save: %w", redact.New("no more", original))
	var found *driverError
	if err.Error() != "save: no more" || !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &found) || found != original {
		t.Error(err, found)
	}
	var ours *redact.Error
	if !errors.As(err, &ours) {
		t.Error("the redacted error is not found")
	}
}

func TestNothingShowsTheOriginal(t *testing.T) {
	err := redact.New("no more", valueError{driverError{"secret", nil}})
	asJSON, _ := json.Marshal(err)
	texts := []string{string(asJSON), fmt.Sprint(err), fmt.Sprint(errors.Unwrap(err))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, err), fmt.Sprintf(verb, struct{ Err error }{err}), fmt.Sprintf(verb, struct{ err error }{err}))
	}
	for _, text := range texts {
		if strings.Contains(text, "secret") {
			t.Error(text)
		}
	}
	if got := fmt.Sprintf("%v %q %#v", err, err, err); got != `no more "no more" "no more"` {
		t.Error(got)
	}
}

// valueError is a value, of which %#v shows all.
type valueError struct{ driverError }

func (valueError) Error() string { return "it failed: secret" }

func TestForeign(t *testing.T) {
	original := errors.New("unknown command 'SET', with args beginning with: 'id1' \"it's\", so id1 isn't set")
	err := redact.Foreign(original, "id1", "")
	if got := err.Error(); got != "unknown command '...' \"...\", so [session ID] isn't set" && got != "unknown command '...', so [session ID] isn't set" {
		t.Error(got)
	}
	if !errors.Is(err, original) || redact.Foreign(nil) != nil || redact.Foreign(err, "unknown").Error() != err.Error() {
		t.Error("not the original, or redacted twice")
	}
}

// SQL writes one letter before the quote of some literals, and Go of none that is quoted by ".
func TestForeignLiterals(t *testing.T) {
	for in, want := range map[string]string{
		"near X'534543524554' in":  "near X'...' in",
		"near E'it''s SECRET', or": "near E'...', or",
		`a b"SECRET" here`:         `a b"..." here`,
		"the app's key isn't here": "the app's key isn't here",
	} {
		if got := redact.Foreign(errors.New(in)).Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
