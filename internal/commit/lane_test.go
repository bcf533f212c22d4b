package commit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// lateBackend takes a second for each write, after which broken may fail it.
type lateBackend struct {
	*mapbackend.Backend
	swaps  int
	broken func(swap int) error
}

func (b *lateBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	b.swaps++
	n := b.swaps
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if b.broken != nil {
		if err := b.broken(n); err != nil {
			return false, err
		}
	}
	return b.Backend.Swap(ctx, sid, old, rec)
}

// lane is a store with one session, in which saves wait for each other.
type lane struct {
	*testing.T
	backend *lateBackend
	store   session.Store
	wg      sync.WaitGroup
}

// inLane runs f where the time passes only when all wait.
func inLane(t *testing.T, f func(*lane)) {
	synctest.Test(t, func(t *testing.T) {
		b := &lateBackend{Backend: mapbackend.New()}
		l := &lane{T: t, backend: b, store: session.NewStore(b, session.StoreConfig{})}
		require.NoError(t, l.store.Save(ctx, session.NewBaseSessionWithData("abc", nil, nil, session.Data{"root": 1})))
		f(l)
	})
}

func (l *lane) read() session.Session {
	s, err := l.store.Read(ctx, "abc")
	require.NoError(l, err)
	return s
}

// save saves in the background, as the last of those that wait.
func (l *lane) save(ctx context.Context, s session.Session) *error {
	err := new(error)
	l.wg.Go(func() {
		*err = errors.New("panicked")
		defer func() { _ = recover() }()
		*err = l.store.Save(ctx, s)
	})
	synctest.Wait()
	return err
}

// set saves a session with one more key.
func (l *lane) set(key, val any) (session.Session, *error) {
	s := l.read()
	s.Set(key, val)
	return s, l.save(ctx, s)
}

func (l *lane) requireStored(want session.Data) {
	l.Helper()
	l.wg.Wait()
	raw, err := l.read().Encode()
	require.NoError(l, err)
	got, err := session.GobDecoder(raw)
	require.NoError(l, err)
	require.Equal(l, want, got)
}

// Commits that wait for one of the same session are one write.
func TestCommitsTogether(t *testing.T) {
	inLane(t, func(l *lane) {
		want := session.Data{"root": 1}
		var all []session.Session
		for i := range 9 {
			key := fmt.Sprint("key", i)
			s, err := l.set(key, i)
			defer func() { require.NoError(t, *err) }()
			want[key] = i
			all = append(all, s)
		}
		l.requireStored(want)
		require.Equal(t, 2, l.backend.swaps)
		for i, s := range all {
			require.Equal(t, i, s.Get(fmt.Sprint("key", i)))
			require.False(t, s.HasChanged())
		}
	})
}

// Each session goes on showing what it set itself, and does not bring that back
// where another has changed the same key after it.
func TestCommitsOfOneKey(t *testing.T) {
	inLane(t, func(l *lane) {
		l.set("first", true)
		a, _ := l.set("key", "a")
		b, _ := l.set("key", "b")
		gone := l.read()
		gone.Set("other", 1)
		gone.Delete("root")
		l.save(ctx, gone)
		l.requireStored(session.Data{"first": true, "key": "b", "other": 1})
		require.Equal(t, "a", a.Get("key"))
		require.Equal(t, "b", b.Get("key"))
		require.Equal(t, 2, l.backend.swaps)

		a.Set("later", "a")
		require.Equal(t, "a", a.Get("key"))
		require.NoError(t, l.store.Save(ctx, a))
		l.requireStored(session.Data{"first": true, "key": "b", "other": 1, "later": "a"})
		require.Equal(t, 3, l.backend.swaps)

		c, _ := l.set("first", false)
		flushed := l.read()
		flushed.Flush()
		flushed.Set("new", 1)
		l.save(ctx, flushed)
		d, _ := l.set("d", "d")
		l.requireStored(session.Data{"new": 1, "d": "d"})
		require.Equal(t, false, c.Get("first"))
		require.Nil(t, d.Get("first"))
		require.Equal(t, 5, l.backend.swaps)
	})
}

// Each session has its own of what the others set: they may change that in place.
func TestCommitsTogetherShareNothing(t *testing.T) {
	inLane(t, func(l *lane) {
		l.set("first", 1)
		own := map[string]int{"n": 1}
		a, _ := l.set("map", own)
		b, _ := l.set("b", 1)
		c, _ := l.set("c", 1)
		l.wg.Wait()
		inMap := func(s session.Session) map[string]int { return s.Get("map").(map[string]int) }
		var wg sync.WaitGroup
		wg.Go(func() { own["n"] = 2 })
		wg.Go(func() { inMap(b)["n"] = 3 })
		require.Equal(t, 1, inMap(c)["n"])
		wg.Wait()
		require.Equal(t, 2, inMap(a)["n"])
		require.Equal(t, 3, inMap(b)["n"])
		require.Equal(t, 1, inMap(c)["n"])
	})
}

// What is wrong with one commit is no trouble for those that wait with it.
func TestCommitsTogetherFail(t *testing.T) {
	unregistered := struct{ X chan int }{}

	t.Run("a value that cannot be encoded", func(t *testing.T) {
		inLane(t, func(l *lane) {
			l.set("first", 1)
			_, a := l.set("a", 1)
			_, bad := l.set("bad", unregistered)
			_, b := l.set("b", 1)
			l.requireStored(session.Data{"root": 1, "first": 1, "a": 1, "b": 1})
			require.NoError(t, *a)
			require.ErrorContains(t, *bad, "bad")
			require.NoError(t, *b)
			require.Equal(t, 3, l.backend.swaps) // it does not make them read the record anew either
		})
	})
	t.Run("too much data", func(t *testing.T) {
		inLane(t, func(l *lane) {
			l.set("first", 1)
			_, a := l.set("a", 1)
			_, bad := l.set("bad", make([]byte, 2<<20))
			l.requireStored(session.Data{"root": 1, "first": 1, "a": 1})
			require.NoError(t, *a)
			require.ErrorContains(t, *bad, "more than the limit")
		})
	})
	t.Run("little time", func(t *testing.T) {
		inLane(t, func(l *lane) {
			ctx, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
			defer cancel()
			l.set("first", 1)
			_, a := l.set("a", 1)
			s := l.read()
			s.Set("late", 1)
			start := time.Now()
			late := l.save(ctx, s)
			l.wg.Go(func() { <-ctx.Done(); synctest.Wait(); require.ErrorIs(t, *late, context.DeadlineExceeded) })
			_, b := l.set("b", 1)
			l.requireStored(session.Data{"root": 1, "first": 1, "a": 1, "b": 1})
			require.NoError(t, *a)
			require.NoError(t, *b)
			require.True(t, s.HasChanged())
			require.Less(t, time.Since(start), 5*time.Second)
		})
	})
	t.Run("a hang-up in the queue", func(t *testing.T) {
		inLane(t, func(l *lane) {
			ctx, cancel := context.WithCancel(ctx)
			l.set("first", 1)
			s := l.read()
			s.Set("a", 1)
			a := l.save(ctx, s)
			_, b := l.set("b", 1)
			cancel()
			synctest.Wait()
			require.ErrorIs(t, *a, context.Canceled)
			l.requireStored(session.Data{"root": 1, "first": 1, "b": 1})
			require.NoError(t, *b)
		})
	})
	t.Run("a panic of the backend", func(t *testing.T) {
		inLane(t, func(l *lane) {
			l.backend.broken = func(swap int) error {
				if swap == 2 {
					panic("the backend is broken")
				}
				return nil
			}
			l.set("first", 1)
			_, a := l.set("a", 1)
			_, b := l.set("b", 1)
			_, c := l.set("c", 1)
			l.requireStored(session.Data{"root": 1, "first": 1})
			require.EqualError(t, *a, "panicked")
			require.ErrorContains(t, *b, "the backend panicked", "whether it has written them is not known")
			require.ErrorContains(t, *c, "the backend panicked")
		})
	})
	t.Run("a panic of the encoder", func(t *testing.T) {
		inLane(t, func(l *lane) {
			l.store = session.NewStore(l.backend, session.StoreConfig{Encoder: func(data session.Data) ([]byte, error) {
				if data["a"] != nil {
					panic("the encoder is broken")
				}
				return session.GobEncoder(data)
			}})
			l.set("first", 1)
			_, a := l.set("a", 1)
			_, b := l.set("b", 1)
			l.requireStored(session.Data{"root": 1, "first": 1, "b": 1})
			require.ErrorContains(t, *a, "the encoder panicked")
			require.NoError(t, *b)
		})
	})
	t.Run("a lost answer", func(t *testing.T) {
		inLane(t, func(l *lane) {
			l.backend.broken = func(swap int) error {
				if swap == 2 {
					values := session.Data{"root": 2}
					raw, err := session.GobEncoder(values)
					require.NoError(t, err)
					rec, _, err := l.backend.Load(ctx, "abc")
					require.NoError(t, err)
					_, err = l.backend.Backend.Swap(ctx, "abc", rec.Data, session.Record{Data: raw, TTL: time.Hour})
					require.NoError(t, err)
					return errors.New("hung up")
				}
				return nil
			}
			l.set("first", 1)
			_, a := l.set("a", 1)
			_, b := l.set("b", 1)
			l.wg.Wait()
			require.ErrorContains(t, *a, "not known")
			require.ErrorContains(t, *b, "not known")
			l.requireStored(session.Data{"root": 2})
		})
	})
	t.Run("an outage", func(t *testing.T) {
		inLane(t, func(l *lane) {
			l.backend.broken = func(swap int) error {
				if swap == 2 || swap == 3 {
					return fmt.Errorf("%w: no connection", session.ErrNotApplied)
				}
				return nil
			}
			l.set("first", 1)
			s, a := l.set("a", 1)
			_, b := l.set("b", 1)
			l.wg.Wait()
			require.NoError(t, *b)
			require.Equal(t, 4, l.backend.swaps, "the last one starts from what the first one has written")
			l.requireStored(session.Data{"root": 1, "first": 1, "b": 1})
			require.ErrorContains(t, *a, "no connection")
			require.NoError(t, *b)
			require.True(t, s.HasChanged())
			require.NoError(t, l.store.Save(ctx, s))
			l.requireStored(session.Data{"root": 1, "first": 1, "a": 1, "b": 1})
		})
	})
	t.Run("the end of the session", func(t *testing.T) {
		inLane(t, func(l *lane) {
			a, _ := l.set("a", 1)
			b, _ := l.set("b", 1)
			c, _ := l.set("c", 1)
			require.NoError(t, l.store.Destroy(ctx, "abc"))
			l.requireStored(session.Data{})
			for _, s := range []session.Session{a, b, c} {
				require.Nil(t, s.Get("root"))
				require.Nil(t, s.Get("a"))
			}
			require.False(t, l.store.Exist(ctx, "abc"))
		})
	})
}

// Commits that do more than change values go alone.
func TestCommitsAlone(t *testing.T) {
	inLane(t, func(l *lane) {
		l.set("first", 1)
		_, a := l.set("a", 1)
		renewed := l.read()
		require.NoError(t, renewed.RegenerateID(nil, nil))
		renewed.Set("renewed", true)
		r := l.save(ctx, renewed)
		late, _ := l.set("late", 1)
		l.wg.Wait()
		require.NoError(t, *a)
		require.NoError(t, *r)
		require.Equal(t, 1, late.Get("root"))
		now, err := l.store.Read(ctx, renewed.ID())
		require.NoError(t, err)
		require.Equal(t, 1, now.Get("a"))
		require.Equal(t, 1, now.Get("late"), "written along with a, before the renewal")
		require.Equal(t, true, now.Get("renewed"))
	})
}

// stuckBackend hangs for one session.
type stuckBackend struct{ *mapbackend.Backend }

func (b stuckBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if sid == "stuck" {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return b.Backend.Swap(ctx, sid, old, rec)
}

// No session waits for a write of another one, however long that takes.
func TestNobodyWaitsForAnotherSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := session.NewStore(stuckBackend{mapbackend.New()}, session.StoreConfig{})
		save := func(sid string) {
			for range 2 {
				s, err := store.Read(ctx, sid)
				require.NoError(t, err)
				s.Set("a", 1)
				if err = store.Save(ctx, s); sid != "stuck" {
					require.NoError(t, err)
				}
			}
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { save("stuck") })
		}
		synctest.Wait()
		begun := time.Now()
		for i := range 3000 {
			save(fmt.Sprint("other", i))
		}
		require.Zero(t, time.Since(begun), "some have waited")
		wg.Wait()
	})
}
