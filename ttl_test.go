package session_test

import (
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
)

func TestFileTimesToLive(t *testing.T) {
	t.Parallel()
	backendtest.TimesToLive(t, session.BackendOf(newFileStore(t, t.TempDir(), time.Minute)), "ttl")
}
