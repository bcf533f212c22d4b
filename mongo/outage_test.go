package mongo_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/mongo"
)

// All connections are dead after a restart; the first request of each of many
// goes through all the same.
func TestRestart(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	// The server is FerretDB, which may be slow: 64 saves at once take some seconds on a busy machine.
	m, err := session.New(session.Options{Initer: mongo.Initer(), Config: config, Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	store := m.Store()
	sid := func(i int) string { return fmt.Sprint("abc", i) }
	visit := func(i int) (bool, error) {
		s, err := store.Read(deadline(t, time.Minute), sid(i))
		if err != nil {
			return false, err
		}
		n, _ := s.Get("n").(int)
		s.Set("n", n+1)
		return true, store.Save(deadline(t, time.Minute), s)
	}
	for n := range 4 {
		p.Cut()
		require.EqualValues(t, 64, winners(t, visit))
		s, err := store.Read(deadline(t, 5*time.Second), sid(n))
		require.NoError(t, err)
		require.Equal(t, n+1, s.Get("n"))
	}

	b := openBackend(t, config)
	p.Cut()
	_, found, err := b.Load(deadline(t, 5*time.Second), sid(1))
	require.NoError(t, err)
	require.True(t, found)
	p.Cut()
	require.NoError(t, b.Extend(deadline(t, 5*time.Second), sid(1), time.Minute))
	p.Cut()
	_, err = b.Sweep(deadline(t, 5*time.Second))
	require.NoError(t, err)
	p.Cut()
	require.NoError(t, b.Delete(deadline(t, 5*time.Second), sid(1)))
}

// While all connections are in use, a neighbor's broken one clears the pool.
// Not in parallel: the load would slow down the tests beside it.
func TestRestartUnderLoad(t *testing.T) {
	p, config := proxied(t)
	b := openBackend(t, config)
	var done atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for !stop.Load() {
				assert.NoError(t, b.Delete(deadline(t, 10*time.Second), "abc"))
				done.Add(1)
			}
		})
	}
	for range 6 {
		enough := done.Load() + 200
		assert.Eventually(t, func() bool { return done.Load() >= enough }, 20*time.Second, time.Millisecond)
		p.Cut()
	}
	stop.Store(true)
	wg.Wait()
}

func TestOutage(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	b := openBackend(t, config)
	p.Stop()
	for range 3 {
		start := time.Now()
		_, _, err := b.Load(deadline(t, 200*time.Millisecond), "abc")
		require.Error(t, err)
		require.Less(t, time.Since(start), 3*time.Second)
		require.NotContains(t, err.Error(), "topology")
	}
	p.Start(t)
	_, _, err := b.Load(deadline(t, 5*time.Second), "abc")
	require.NoError(t, err)

	p.Stop()
	start := time.Now()
	require.NoError(t, b.(io.Closer).Close())
	require.Less(t, time.Since(start), 3*time.Second)
}

// A lost answer is not an error, and what was written once is not lost.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, config := proxied(t)
	store := openStore(t, config)
	save := func(s session.Session) {
		t.Helper()
		lost := p.Lose()
		require.NoError(t, store.Save(ctx, s))
		require.True(t, lost.Happened())
	}
	save(session.NewBaseSessionWithData("abc", session.GobEncoder, noID, session.Data{"n": 0}))
	for n := 1; n < 3; n++ {
		s, err := store.Read(ctx, "abc")
		require.NoError(t, err)
		require.Equal(t, n-1, s.Get("n"))
		s.Set("n", n)
		save(s)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	b := openBackend(t, config)
	p.Set(tcpproxy.Mute)
	operations := backendtest.Operations(b)
	operations["sweep"] = func(ctx context.Context) error { _, err := b.Sweep(ctx); return err }
	for op, call := range operations {

		t.Run(op, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			require.Error(t, call(deadline(t, 300*time.Millisecond)))
			assert.Less(t, time.Since(start), 3*time.Second)
		})
	}
}

// Handshakes that get no answer end by themselves. The driver makes two connections at a time, and
// would wait for these two for good.
func TestHungHandshakes(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	config.Options.SetConnectTimeout(time.Second)
	b := openBackend(t, config)
	load := func(timeout time.Duration) error {
		_, _, err := b.Load(deadline(t, timeout), "abc")
		return err
	}
	require.NoError(t, load(5*time.Second))
	p.Set(tcpproxy.Hang)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.Error(t, load(500*time.Millisecond)) })
	}
	wg.Wait()
	p.Set(tcpproxy.Pass)
	require.Eventually(t, func() bool { return load(500*time.Millisecond) == nil }, 15*time.Second, 10*time.Millisecond)
}
