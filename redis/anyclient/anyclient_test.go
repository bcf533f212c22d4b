package anyclient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/redis/anyclient"
	"github.com/flamego/session/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

var prefixes atomic.Int64

func testConfig(t testing.TB) (anyclient.Config, *goredis.Client) {
	client := goredis.NewClient(&goredis.Options{
		Addr: testserver.Redis(t), Password: testserver.RedisPassword(), MaxRetries: -1,
	})
	t.Cleanup(func() { _ = client.Close() })
	return anyclient.Config{
		Eval:      anyclient.GoRedis(client),
		KeyPrefix: fmt.Sprintf("%s:%d:%d:", t.Name(), time.Now().UnixNano(), prefixes.Add(1)),
	}, client
}

func open(t testing.TB, config anyclient.Config) session.Backend {
	t.Helper()
	b, _, err := anyclient.Open(t.Context(), config)
	require.NoError(t, err)
	return b
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
		config, _ := testConfig(t)
		config.Lifetime = lifetime
		return session.Options{Initer: anyclient.Initer(), Config: config}
	})
}

func TestTimesToLive(t *testing.T) {
	t.Parallel()
	config, _ := testConfig(t)
	backendtest.TimesToLive(t, open(t, config), "ttl")
}

func TestNthCallFails(t *testing.T) {
	t.Parallel()
	config, _ := testConfig(t)
	backendtest.NthCallFailsShortly(t, func(t testing.TB) session.Backend { return open(t, config) })
}

// A store of package redis and one of this package see the same sessions.
func TestSameAsRedis(t *testing.T) {
	t.Parallel()
	config, client := testConfig(t)
	ours := open(t, config)
	theirs := backendtest.OpenStore(t, redis.Initer(), redis.Config{Client: client, KeyPrefix: config.KeyPrefix})
	ctx := t.Context()
	require.NoError(t, theirs.Save(ctx, session.NewBaseSessionWithData("abc", nil, nil, session.Data{"n": 1})))
	rec, found, err := ours.Load(ctx, "abc")
	require.NoError(t, err)
	require.True(t, found)
	data, err := session.GobDecoder(rec.Data)
	require.NoError(t, err)
	require.Equal(t, session.Data{"n": 1}, data)
	require.NoError(t, ours.Delete(ctx, "abc"))
	require.False(t, theirs.Exist(ctx, "abc"))
}

func TestOperations(t *testing.T) {
	t.Parallel()
	config, client := testConfig(t)
	for _, cluster := range []bool{false, true} {
		config.Cluster = cluster
		b := open(t, config)
		ctx := t.Context()
		is := func(want bool) func(bool, error) {
			return func(got bool, err error) {
				t.Helper()
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		}
		one, two := backendtest.Record("one", time.Minute), backendtest.Record("two", time.Minute)
		large := backendtest.Record(strings.Repeat("x", 5000), time.Minute)
		for _, sid := range []string{"abc", "def", "ghi"} {
			require.NoError(t, b.Delete(ctx, sid))
		}
		is(false)(b.Swap(ctx, "abc", []byte("one"), two))
		is(false)(b.Rename(ctx, "abc", "def", []byte("one"), two))
		is(true)(b.Insert(ctx, "abc", one))
		is(false)(b.Insert(ctx, "abc", two))
		is(false)(b.Swap(ctx, "abc", []byte("two"), two))
		is(true)(b.Swap(ctx, "abc", []byte("one"), large))
		is(false)(b.Rename(ctx, "abc", "def", []byte("one"), two))
		is(true)(b.Rename(ctx, "abc", "def", large.Data, two))
		_, found, err := b.Load(ctx, "abc")
		is(false)(found, err)
		require.NoError(t, b.Extend(ctx, "def", time.Second))
		rec, found, err := b.Load(ctx, "def")
		is(true)(found, err)
		require.Greater(t, rec.TTL, 50*time.Second, "shortened")
		require.NoError(t, b.Extend(ctx, "def", time.Hour))
		rec, _, err = b.Load(ctx, "def")
		require.NoError(t, err)
		require.Greater(t, rec.TTL, 50*time.Minute)
		require.Equal(t, "two", string(rec.Data))

		// A record without an expiry gets one.
		require.NoError(t, client.Persist(ctx, config.KeyPrefix+"def").Err())
		rec, found, err = b.Load(ctx, "def")
		is(true)(found, err)
		require.Zero(t, rec.TTL)
		require.NoError(t, b.Extend(ctx, "def", time.Hour))
		require.Positive(t, client.PTTL(ctx, config.KeyPrefix+"def").Val())

		is(true)(b.Insert(ctx, "ghi", one))
		require.EqualValues(t, 1, backendtest.Winners(t, func(i int) (bool, error) {
			return b.Rename(ctx, "ghi", fmt.Sprint("new", i, cluster), []byte("one"), two)
		}))
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	good, _ := testConfig(t)
	reply := func(reply any, err error) anyclient.Config {
		return anyclient.Config{Eval: func(context.Context, string, []string, ...string) (any, error) { return reply, err }}
	}
	both := good
	both.NoKeyPrefix = true
	for name, test := range map[string]struct {
		config anyclient.Config
		want   string
	}{
		"no Eval":            {anyclient.Config{}, "empty Eval"},
		"prefix and none":    {both, "NoKeyPrefix and a KeyPrefix"},
		"nil":                {reply(nil, nil), "redis: the reply to a script is of another form"},
		"number":             {reply(int64(1), nil), "redis: the reply to a script is of another form"},
		"refused":            {reply("SET", nil), "redis: the server refuses SET to this user, and the store needs it"},
		"something else":     {reply("canary", nil), "redis: the server refuses a command to this user, and the store needs it"},
		"error of Eval":      {reply(nil, errors.New("canary")), "redis: connect: error of type *errors.errorString"},
		"refused script":     {reply(nil, goError("ERR unknown command 'EVAL', with args beginning with: 'canary'")), "redis: the server refuses EVAL, and the store needs scripts: ERR unknown command (EVAL)"},
		"reply that repeats": {reply(nil, goError("WRONGTYPE canary")), "redis: connect: WRONGTYPE the key holds a value of another kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := anyclient.Initer()(t.Context(), test.config, session.IDWriter(backendtest.NoID))
			require.EqualError(t, err, test.want)
			require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), "canary")
		})
	}
}

// goError is an error reply, as clients of go-redis have them.
type goError string

func (e goError) Error() string { return string(e) }
func (goError) RedisError()     {}

// Whatever Eval does, an operation ends when its context does, and what is not known to be
// refused may have happened.
func TestEval(t *testing.T) {
	t.Parallel()
	good, _ := testConfig(t)
	type eval func(ctx context.Context) (any, error)
	var instead atomic.Pointer[eval]
	var calls atomic.Int64
	config := good
	config.Eval = func(ctx context.Context, script string, keys []string, args ...string) (any, error) {
		if f := instead.Load(); f != nil {
			calls.Add(1)
			return (*f)(ctx)
		}
		return good.Eval(ctx, script, keys, args...)
	}
	b := open(t, config)
	set := func(f eval) { instead.Store(&f); calls.Store(0) }

	end := make(chan struct{})
	defer close(end)
	set(func(context.Context) (any, error) { <-end; return nil, nil })
	for op, call := range backendtest.Operations(b) {
		err := call(backendtest.Deadline(t, 50*time.Millisecond))
		require.ErrorIs(t, err, context.DeadlineExceeded, op)
		require.NotErrorIs(t, err, session.ErrNotApplied, op)
	}

	isWrite := map[string]bool{"insert": true, "swap": true, "rename": true}
	for name, test := range map[string]struct {
		err        error
		notApplied bool // a write is not applied
		load, set  int64
	}{
		"unknown":        {errors.New("canary"), false, 4, 1},
		"loading":        {goError("LOADING canary"), true, 4, 4},
		"no permission":  {goError("NOPERM canary"), true, 1, 1},
		"failed somehow": {goError("ERR canary"), false, 1, 1},
	} {
		set(func(context.Context) (any, error) { return nil, test.err })
		for op, call := range backendtest.Operations(b) {
			calls.Store(0)
			err := call(t.Context())
			require.ErrorIs(t, err, test.err, name)
			require.NotContains(t, err.Error(), "canary")
			require.Equal(t, test.notApplied && isWrite[op], errors.Is(err, session.ErrNotApplied), "%s: %s", name, op)
			if want := test.load; isWrite[op] {
				require.Equal(t, test.set, calls.Load(), "%s: %s", name, op)
			} else {
				require.Equal(t, want, calls.Load(), "%s: %s", name, op)
			}
		}
	}

	// Replies of another form are errors.
	for _, reply := range []any{nil, "1", []any{}, []any{"x"}, []any{"x", "y"}, []any{1, int64(2)}, 1.5} {
		set(func(context.Context) (any, error) { return reply, nil })
		for op, call := range backendtest.Operations(b) {
			require.ErrorContains(t, call(t.Context()), "another form", "%s: %v", op, reply)
		}
	}

	// A panic of the client is an error, without its text.
	set(func(context.Context) (any, error) { panic("canary") })
	for op, call := range backendtest.Operations(b) {
		require.EqualError(t, call(t.Context()), "the client panicked with a string", op)
	}
}
