package session_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// A record that is locked holds up one extension at a time, however many requests read the
// session: the others leave the connections of the store to other sessions.
func TestExtensionsOfALockedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, all atomic.Int64
		opts := backendOptions(before(func(_ context.Context, method, _ string) error {
			if method == "Extend" {
				all.Add(1)
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
			}
			return nil
		}))
		opts.TouchInterval = -1
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("user", 1) })
		handler := func(s session.Session) string { return "ok" }
		for range 3 {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() { require.Equal(t, "ok", a.once(cookie, handler).Body.String()) })
			}
			wg.Wait()
		}
		require.EqualValues(t, 1, most.Load(), "extensions at the same time")
		require.EqualValues(t, 3, all.Load(), "extensions")
	})
}
