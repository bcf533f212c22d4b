package storetest_test

import (
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/storetest"
)

// The test of a store is one call. Each time it opens a store on storage of its own.
func ExampleRun() {
	var t *testing.T // that of TestConformance(t *testing.T)

	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		return session.Options{
			Initer: session.FileIniter(),
			Config: session.FileConfig{RootDir: t.TempDir(), Lifetime: lifetime},
		}
	})
}
