package redact_test

import (
	"errors"
	"io"
	"testing"

	"github.com/flamego/session/internal/redact"
)

func TestError(t *testing.T) {
	var err error = &redact.Error{Text: "no more", Err: io.EOF}
	if err.Error() != "no more" || !errors.Is(err, io.EOF) {
		t.Error(err, errors.Unwrap(err))
	}
}
