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

func TestError(t *testing.T) {
	err := redact.New("no more", io.EOF)
	if err.Error() != "no more" || !errors.Is(err, io.EOF) {
		t.Error(err, errors.Unwrap(err))
	}
}

// driverError shows in its fields what its text does not.
type driverError struct{ Detail string }

func (*driverError) Error() string { return "it failed" }

func TestNothingShowsTheOriginal(t *testing.T) {
	err := redact.New("no more", &driverError{Detail: "secret"})
	asJSON, _ := json.Marshal(err)
	for _, text := range []string{string(asJSON), fmt.Sprint(err), fmt.Sprintf("%v %+v", err, err)} {
		if strings.Contains(text, "secret") {
			t.Error(text)
		}
	}
}
