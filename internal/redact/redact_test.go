package redact_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// driverError shows in its fields what its text does not. It is no pointer, as package fmt
// looks into values only.
type driverError struct{ Detail string }

func (driverError) Error() string { return "it failed" }

func TestNothingShowsTheOriginal(t *testing.T) {
	err := redact.New("no more", driverError{Detail: "secret"})
	asJSON, _ := json.Marshal(err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Error("failed", "err", err)
	texts := []string{string(asJSON), log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%6.3v"} {
		texts = append(texts, fmt.Sprintf(verb, err), fmt.Sprintf(verb, []error{err}))
	}
	for _, text := range texts {
		if strings.Contains(text, "secret") || strings.Contains(text, hex.EncodeToString([]byte("secret"))) {
			t.Error(text)
		}
	}
	if text := fmt.Sprintf("%+v|%#v|%8.2s|", err, err, err); text != `no more|"no more"|      no|` {
		t.Error(text)
	}
}
