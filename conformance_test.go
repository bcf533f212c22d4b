package session_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/storetest"
)

func TestMemoryConformance(t *testing.T) {
	t.Parallel()
	backendtest.Conformance(t, backendtest.Always, func(_ testing.TB, lifetime time.Duration) session.Options {
		return session.Options{Config: session.MemoryConfig{Lifetime: lifetime}}
	}, storetest.Private, storetest.Live)
}

func TestFileConformance(t *testing.T) {
	t.Parallel()
	backendtest.Conformance(t, backendtest.InFull, func(t testing.TB, lifetime time.Duration) session.Options {
		return session.Options{
			Initer: session.FileIniter(),
			Config: session.FileConfig{Lifetime: lifetime, RootDir: filepath.Join(t.TempDir(), "not", "there", "yet")},
		}
	})
}
