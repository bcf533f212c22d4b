package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each load gets what is its own, whoever gives up meanwhile, and one that has time
// left does not fail because another one, which took it along, had less.
func TestWaitingLoadsAreApart(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.Options.PoolSize = 2
	b := openBackend(t, config)
	c := bare(t, config.Options)
	require.NoError(t, c.LPush(context.Background(), config.KeyPrefix+"bad", "x").Err())
	for i := range 10 {
		_, err := b.Insert(deadline(t, time.Minute), fmt.Sprint("abc", i), rec(fmt.Sprint(i), time.Minute))
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for n := range 100 {
				ctx, hurried := deadline(t, time.Minute), g%4 == 0
				if hurried {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, rand.N(2*time.Millisecond))
					defer cancel()
				}
				switch i := (g + n) % 12; {
				case i < 10:
					r, found, err := b.Load(ctx, fmt.Sprint("abc", i))
					if hurried && errors.Is(err, context.DeadlineExceeded) {
						continue
					}
					assert.NoError(t, err)
					assert.True(t, found)
					assert.Equal(t, fmt.Sprint(i), string(r.Data))
				case i == 10:
					_, found, err := b.Load(ctx, "none")
					assert.True(t, err == nil || hurried)
					assert.False(t, found)
				default:
					_, found, err := b.Load(ctx, "bad")
					assert.Error(t, err)
					assert.False(t, found)
				}
			}
		})
	}
	wg.Wait()
}

// What is too much to arrive together arrives one by one.
func TestLargeLoads(t *testing.T) {
	t.Parallel()
	const n, size, perSecond = 48, 64 << 10, 8 << 20
	rate, config := proxiedSlowly(t)
	config.Options.PoolSize = 4
	config.Options.ReadTimeout = 200 * time.Millisecond
	b := openBackend(t, config)
	for i := range n {
		_, err := b.Insert(deadline(t, time.Minute), fmt.Sprintf("a%02d", i), rec(strings.Repeat("x", size), time.Minute))
		require.NoError(t, err)
	}
	rate.Store(perSecond)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, found, err := b.Load(deadline(t, 20*time.Second), fmt.Sprintf("a%02d", i))
			assert.NoError(t, err)
			assert.True(t, found)
			assert.Len(t, r.Data, size)
		})
	}
	wg.Wait()
}
