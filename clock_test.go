package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// clockBackend is a backend on a server whose clock is off by so much.
type clockBackend struct {
	session.Backend
	off   time.Duration
	err   error
	asked int
}

func (b *clockBackend) ServerTime(ctx context.Context) (time.Time, error) {
	if _, ok := ctx.Deadline(); !ok {
		return time.Time{}, errors.New("no deadline")
	}
	b.asked++
	return time.Now().Add(b.off), b.err
}

func newClockApp(t *testing.T, b session.Backend, opts session.Options) *app {
	opts.Initer = session.NewIniter(func(context.Context, struct{}) (session.Backend, session.StoreConfig, error) {
		return b, session.StoreConfig{Name: "clocked"}, nil
	})
	opts.Config = struct{}{}
	return newApp(t, opts)
}

// The clock of the server is asked for at start and before each GC, and ErrorFunc is told when it
// turns out that the two differ.
func TestServerClock(t *testing.T) {
	b := &clockBackend{Backend: mapbackend.New()}
	a := newClockApp(t, b, session.Options{MaxLifetime: time.Hour})
	gc := func(errs ...string) {
		t.Helper()
		require.NoError(t, a.Store().GC(t.Context()))
		got := a.TakeErrors()
		require.Len(t, got, len(errs))
		for i := range errs {
			require.EqualError(t, got[i], "session: clocked: clock: "+errs[i])
		}
	}
	require.Equal(t, 1, b.asked)
	gc()
	b.off = -2 * time.Minute
	gc("that of this process is 2m0s ahead of that of the server, which counts")
	gc() // has told
	b.off = 0
	gc()
	b.off = 61 * time.Second
	gc("that of this process is 1m1s behind that of the server, which counts")
	b.err = errors.New("no right to the clock")
	gc()
	require.Equal(t, 7, b.asked)

	a.Get("/", func(s session.Session) string { s.Set("a", 1); return "" })
	a.get("/")
	s, err := a.Store().Read(t.Context(), sidOf(a.cookie))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(61*time.Second), session.IssuedAt(s), 30*time.Second, "what was known before the error counts")
}

// A backend that knows of no server goes by the clock of the process.
func TestNoServerClock(t *testing.T) {
	a := newClockApp(t, mapbackend.New(), session.Options{})
	require.NoError(t, a.Store().GC(t.Context()))
	require.Empty(t, a.TakeErrors())
}
