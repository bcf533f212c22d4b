package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

func addOne(n int) int { return n + 1 }

// Requests that compute from the same value at the same time do not lose what the others have
// computed, and each sees what came out.
func TestUpdate(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) { s.Set("other", 1) })
		var mu sync.Mutex
		seen := make(map[int]int) // how many requests have seen each count
		a.Get("/", func(s session.Session, store session.Store) {
			session.Update(s, "n", addOne)
			require.NoError(t, store.Save(context.Background(), s))
			n, _ := session.Value[int](s, "n")
			mu.Lock()
			seen[n]++
			mu.Unlock()
			session.Update(s, "again", addOne) // by the commit of the middleware
		})
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				v := a.visitor(cookie)
				for range 20 {
					v.get("/")
				}
			})
		}
		wg.Wait()
		a.once(cookie, func(s session.Session) {
			require.Equal(t, 1280, s.Get("n"))
			require.Equal(t, 1280, s.Get("again"))
			require.Equal(t, 1, s.Get("other"))
		})
		// Those that are written together see the count after all of them.
		sum := 0
		for _, n := range slices.Sorted(maps.Keys(seen)) {
			sum += seen[n]
			require.Equal(t, n, sum, "so many have seen that count or less")
		}
	})
}

// Several Updates of one request, and what was set before them.
func TestUpdateInOneRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) {
			session.Update(s, "n", addOne)
			session.Update(s, "n", addOne)
			s.Set("set", 10)
			session.Update(s, "set", addOne)
			s.Set("text", "a")
			session.Update(s, "text", addOne)
			session.Update(s, "gone", addOne)
			s.Delete("gone")
			require.Equal(t, 2, s.Get("n"))
		})
		a.once(cookie, func(s session.Session) {
			for key, want := range map[string]any{"n": 2, "set": 11, "text": 1, "gone": nil} {
				require.Equal(t, want, s.Get(key), key)
			}
			s.Flush()
			session.Update(s, "n", addOne)
			session.Update(s, "cart", func(items []string) []string { return append(items[:len(items):len(items)], "tea") })
		})
		a.once(cookie, func(s session.Session) {
			require.Equal(t, 1, s.Get("n"))
			require.Equal(t, []string{"tea"}, s.Get("cart"))
			require.Nil(t, s.Get("set"))
		})
	})
}

// Two goroutines of one request may compute at the same time.
func TestUpdateByGoroutines(t *testing.T) {
	onBoth(t, func(t *testing.T, opts session.Options) {
		a := newApp(t, opts)
		cookie := a.visit(func(s session.Session) {
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() { session.Update(s, "n", addOne) })
			}
			wg.Wait()
			require.Equal(t, 16, s.Get("n"))
		})
		require.Equal(t, 16, get(t, a.Store(), sidOf(cookie), "n"))
	})
}

// A function that fails at once fails in the handler. One that fails when the session is saved,
// since another request was faster, is an error of the save. In neither case is anything lost.
func TestUpdateFails(t *testing.T) {
	onClocks(t, func(t *testing.T, opts session.Options) {
		opts.Timeout = time.Second
		a := newApp(t, opts)
		sid := sidOf(a.visit(func(s session.Session) { s.Set("n", 1) }))
		ctx := context.Background()
		s, err := a.Store().Read(ctx, sid)
		require.NoError(t, err)
		require.PanicsWithValue(t, "no", func() { session.Update(s, "n", func(int) int { panic("no") }) })
		require.False(t, s.HasChanged())

		for name, tt := range map[string]struct {
			f    func(calls int64, n int) int
			want string
		}{
			"panic": {func(calls int64, n int) int {
				if calls > 1 {
					panic("secret")
				}
				return n
			}, "the function of an Update panicked with a string"},
			"slow": {func(calls int64, n int) int {
				if calls > 1 {
					time.Sleep(1500 * time.Millisecond)
				}
				return n
			}, "the time was over when the functions of Update had been run"},
		} {
			s, err := a.Store().Read(ctx, sid)
			require.NoError(t, err)
			var calls atomic.Int64
			session.Update(s, "n", func(n int) int { return tt.f(calls.Add(1), n) })
			save(t, a.Store(), sid, "n", 2, "other", name)
			err = a.Store().Save(ctx, s)
			require.ErrorContains(t, err, tt.want, name)
			require.NotContains(t, err.Error(), "secret")
			require.True(t, s.HasChanged())
			require.Equal(t, 2, get(t, a.Store(), sid, "n"))
			require.Equal(t, name, get(t, a.Store(), sid, "other"))
		}
	})
}

type unregistered struct{ A chan int }

// What cannot be encoded is an error that names the key.
func TestUpdateToWhatCannotBeEncoded(t *testing.T) {
	a := newApp(t, backendOptions(mapbackend.New()))
	sid := sidOf(a.visit(func(s session.Session) { s.Set("n", 1) }))
	s, err := a.Store().Read(context.Background(), sid)
	require.NoError(t, err)
	session.Update(s, "channel", func(unregistered) unregistered { return unregistered{} })
	err = a.Store().Save(context.Background(), s)
	require.ErrorContains(t, err, "channel")
	require.Equal(t, 1, get(t, a.Store(), sid, "n"))
}

// While a function of the app runs, other requests go on: those of the session, too.
func TestUpdateHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, session.Options{})
		sid := sidOf(a.visit(func(s session.Session) { s.Set("n", 1) }))
		ctx := context.Background()
		s, err := a.Store().Read(ctx, sid)
		require.NoError(t, err)
		var calls atomic.Int64
		session.Update(s, "n", func(n int) int {
			if calls.Add(1) > 1 {
				time.Sleep(time.Second)
			}
			return n + 1
		})
		done := make(chan error)
		begun := time.Now()
		go func() { done <- a.Store().Save(ctx, s) }()
		synctest.Wait()
		for i := range 3 {
			save(t, a.Store(), sid, "other", i)
		}
		require.Equal(t, 1, get(t, a.Store(), sid, "n"))
		require.Zero(t, time.Since(begun))
		require.NoError(t, <-done)
		require.Equal(t, 2, get(t, a.Store(), sid, "n"))
		require.Equal(t, 2, get(t, a.Store(), sid, "other"))
		require.EqualValues(t, 3, calls.Load(), "once for the handler, once in vain")
	})
}

// With lost answers a count never counts twice what one request has counted.
func TestUpdateWithLostAnswers(t *testing.T) {
	b := mapbackend.New()
	var n atomic.Int64
	lossy := &lossyBackend{Backend: b, lose: func() bool { return n.Add(1)%3 == 0 }}
	opts := backendOptions(lossy)
	a := newApp(t, opts)
	cookie := a.visit(func(s session.Session) { s.Set("n", 0) })
	var ok, failed atomic.Int64
	a.Get("/", func(s session.Session) string { session.Update(s, "n", addOne); return "ok" })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			v := a.visitor(cookie)
			for range 50 {
				if v.get("/").Code == 200 {
					ok.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	got := get(t, a.Store(), sidOf(cookie), "n").(int)
	require.GreaterOrEqual(t, int64(got), ok.Load())
	require.LessOrEqual(t, int64(got), ok.Load()+failed.Load())
	require.EqualValues(t, 800, ok.Load()+failed.Load())
	require.Less(t, failed.Load(), int64(100), "most are found to be made")
}

// lossyBackend makes a Swap and says that it does not know.
type lossyBackend struct {
	session.Backend
	lose func() bool
}

func (b *lossyBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	ok, err := b.Backend.Swap(ctx, sid, old, rec)
	if b.lose() {
		return false, errors.New("connection reset")
	}
	return ok, err
}

// A session of another make is asked for the value and told the new one.
func TestUpdateOfAnotherMake(t *testing.T) {
	s := &plainSession{data: map[any]any{"n": 1}}
	session.Update(s, "n", addOne)
	require.Equal(t, 2, s.data["n"])
	session.Update(s, "text", func(text string) string { return strings.Repeat("a", len(text)+1) })
	require.Equal(t, "a", s.data["text"])

	b := session.NewBaseSessionWithData("abc", session.GobEncoder, nil, session.Data{"n": 1})
	session.Update(b, "n", addOne)
	raw, err := b.Encode()
	require.NoError(t, err)
	data, err := session.GobDecoder(raw)
	require.NoError(t, err)
	require.Equal(t, "map[n:2]", fmt.Sprint(data))
}

type plainSession struct {
	session.Session
	data map[any]any
}

func (s *plainSession) Get(key interface{}) interface{} { return s.data[key] }
func (s *plainSession) Set(key, val interface{})        { s.data[key] = val }

// A session may be saved again after an error, and again: what was made counts once.
func TestUpdateSavedAgain(t *testing.T) {
	b := mapbackend.New()
	down := false
	b.Before = func(_ context.Context, method, _ string) error {
		if method == "Load" && down {
			return errors.New("nobody answers")
		}
		return nil
	}
	lossy := &lossyBackend{Backend: b}
	a := newApp(t, backendOptions(lossy))
	lossy.lose = func() bool { return false }
	sid := sidOf(a.visit(func(s session.Session) { s.Set("n", 0) }))
	ctx := context.Background()
	s, err := a.Store().Read(ctx, sid)
	require.NoError(t, err)
	lossy.lose = func() bool { down = true; return true }
	for range 4 {
		session.Update(s, "n", addOne)
		require.Error(t, a.Store().Save(ctx, s))
		down = false
	}
	lossy.lose = func() bool { return false }
	session.Update(s, "n", addOne)
	require.NoError(t, a.Store().Save(ctx, s))
	require.Equal(t, 5, s.Get("n"))
	require.Equal(t, 5, get(t, a.Store(), sid, "n"))
}

// A key that is none panics, as with Set, and leaves the session as usable as before.
func TestUpdateOfNoKey(t *testing.T) {
	a := newApp(t, session.Options{})
	done := make(chan *httptest.ResponseRecorder)
	go func() {
		done <- a.once("", func(s session.Session) string {
			if !assert.Panics(t, func() { session.Update(s, []string{"no key"}, func(n int) int { return n + 1 }) }) {
				return "it is taken"
			}
			session.Update(s, "n", func(n int) int { return n + 1 })
			return fmt.Sprint(s.Get("n"))
		})
	}()
	select {
	case w := <-done:
		require.Equal(t, "1", w.Body.String())
	case <-time.After(time.Minute):
		t.Fatal("the request hangs")
	}
}
