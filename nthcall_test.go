package session_test

import (
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// What a request must keep to when a call of its backend fails. The memory store has no backend:
// what it does cannot fail.
func TestNthCallFails(t *testing.T) {
	t.Parallel()
	t.Run("map", func(t *testing.T) {
		t.Parallel()
		backendtest.NthCallFails(t, func(testing.TB) session.Backend { return mapbackend.New() })
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		backendtest.NthCallFails(t, func(t testing.TB) session.Backend { return fileBackend(t, t.TempDir()) })
	})
}
