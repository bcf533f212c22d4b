package redis_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// Every client of go-redis fits.
var (
	_ = redis.Config{Client: (*goredis.Client)(nil)}
	_ = redis.Config{Client: (*goredis.ClusterClient)(nil)}
	_ = redis.Config{Client: goredis.UniversalClient(nil)}
)

const secret = "pa55word-of-redis"

func TestBadConfig(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	hang, err := net.Listen("tcp", "127.0.0.1:0") // never accepted
	require.NoError(t, err)
	t.Cleanup(func() { _ = hang.Close() })
	writer := session.IDWriter(noID)

	for name, test := range map[string]struct {
		args []interface{}
		want string // in the error
	}{
		"nothing":              {[]interface{}{writer}, "redis.Config not given"},
		"no IDWriter":          {[]interface{}{redis.Config{Options: &redis.Options{}}}, "IDWriter not given"},
		"pointer":              {[]interface{}{writer, &redis.Config{}}, "*redis.Config"},
		"foreign config":       {[]interface{}{writer, session.FileConfig{}}, "FileConfig"},
		"zero":                 {[]interface{}{writer, redis.Config{}}, "empty Options"},
		"nil client inside":    {[]interface{}{writer, redis.Config{Client: (*goredis.Client)(nil)}}, "empty Options"},
		"nil cluster inside":   {[]interface{}{writer, redis.Config{Client: (*goredis.ClusterClient)(nil)}}, "empty Options"},
		"prefix and none":      {[]interface{}{writer, redis.Config{Options: &redis.Options{}, KeyPrefix: "a:", NoKeyPrefix: true}}, "NoKeyPrefix and a KeyPrefix"},
		"refused":              {[]interface{}{writer, redis.Config{Options: &redis.Options{Addr: "127.0.0.1:1", Password: secret}}}, "redis: connect: dial: connect: connection refused"},
		"refused, with a DB":   {[]interface{}{writer, redis.Config{Options: &redis.Options{Addr: "127.0.0.1:1", DB: 3, Username: "u", Password: secret}}}, "connection refused"},
		"refused, own client":  {[]interface{}{writer, redis.Config{Client: bare(t, &redis.Options{Addr: "127.0.0.1:1", Password: secret})}}, "connection refused"},
		"refused, cluster":     {[]interface{}{writer, redis.Config{Client: cluster(t, "127.0.0.1:1")}}, "connection refused"},
		"wrong password":       {[]interface{}{writer, redis.Config{Options: &redis.Options{Addr: server, Username: "nobody", Password: secret}}}, "redis: connect: "},
		"DB that is not there": {[]interface{}{writer, redis.Config{Options: &redis.Options{Addr: server, DB: 1 << 20, Password: testserver.RedisPassword()}}}, "redis: connect: "},
		"unknown host":         {[]interface{}{writer, redis.Config{Options: &redis.Options{Addr: "no-such-host.invalid:6379", Password: secret}}}, "redis: connect: "},
		"no answer":            {[]interface{}{writer, redis.Config{Options: &redis.Options{Addr: hang.Addr().String(), Password: secret}}}, "redis: connect: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			store, err := redis.Initer()(context.Background(), test.args...)
			require.ErrorContains(t, err, test.want)
			assert.Nil(t, store)
			assert.NotContains(t, err.Error(), secret)
			assert.Less(t, time.Since(start), 20*time.Second)
		})
	}
}

func TestOptionsAreCopied(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	before := *config.Options
	openBackend(t, config)
	assert.Zero(t, config.Options.PoolSize)
	assert.Nil(t, config.Options.Dialer)
	assert.Equal(t, before.ReadTimeout, config.Options.ReadTimeout)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	config.KeyPrefix = ""
	store := openStore(t, config)
	sid := "defaults0123456789"
	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData(sid, session.GobEncoder, noID, session.Data{"k": 1})))

	c := bare(t, config.Options)
	t.Cleanup(func() { c.Del(ctx, "session:"+sid) })
	ttl, err := c.PTTL(ctx, "session:"+sid).Result()
	require.NoError(t, err)
	assert.InDelta(t, time.Hour, ttl, float64(10*time.Second))
}

func TestSharedClientStaysOpen(t *testing.T) {
	t.Parallel()
	c := bare(t, testConfig(t).Options)
	config := testConfig(t)
	config.Client = c
	store, err := redis.Initer()(context.Background(), config, session.IDWriter(noID))
	require.NoError(t, err)
	require.NoError(t, store.(io.Closer).Close())
	require.NoError(t, c.Ping(context.Background()).Err())
	require.Equal(t, 3, c.Options().MaxRetries, "the client of the app is as it was")
}

func TestOwnClientIsClosed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	name := strings.ReplaceAll(config.KeyPrefix, ":", "-")
	config.Options.OnConnect = func(ctx context.Context, c *goredis.Conn) error {
		return c.ClientSetName(ctx, name).Err()
	}
	store, err := redis.Initer()(ctx, config, session.IDWriter(noID))
	require.NoError(t, err)

	admin := bare(t, testConfig(t).Options)
	connections := func() int { return strings.Count(admin.ClientList(ctx).Val(), name) }
	require.Positive(t, connections())
	require.NoError(t, store.(io.Closer).Close())
	require.Eventually(t, func() bool { return connections() == 0 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, store.(io.Closer).Close(), "closed twice")
	require.Error(t, store.Destroy(ctx, "abc"))
}

func TestPlainGob(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	store, c := openStore(t, config), bare(t, config.Options)

	var buf bytes.Buffer
	data := map[interface{}]interface{}{"user_id": 123, 7: "seven"}
	require.NoError(t, gob.NewEncoder(&buf).Encode(data))
	require.NoError(t, c.Set(ctx, config.KeyPrefix+"theirs", buf.Bytes(), time.Minute).Err())
	s, err := store.Read(ctx, "theirs")
	require.NoError(t, err)
	assert.Equal(t, 123, s.Get("user_id"))
	assert.Equal(t, "seven", s.Get(7))

	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("ours", session.GobEncoder, noID, data)))
	raw, err := c.Get(ctx, config.KeyPrefix+"ours").Bytes()
	require.NoError(t, err)
	got := map[interface{}]interface{}{}
	require.NoError(t, gob.NewDecoder(bytes.NewReader(raw)).Decode(&got))
	assert.Equal(t, data, got)
}

func TestOperations(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := openBackend(t, testConfig(t))
	load := func(sid string) (string, bool) {
		r, found, err := b.Load(ctx, sid)
		require.NoError(t, err)
		return string(r.Data), found
	}
	is := func(want bool) func(bool, error) {
		return func(got bool, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}

	_, found := load("a00")
	require.False(t, found)
	is(false)(b.Swap(ctx, "a00", []byte("x"), rec("y", time.Minute)))
	is(false)(b.Rename(ctx, "a00", "b00", []byte("x"), rec("y", time.Minute)))
	require.NoError(t, b.Extend(ctx, "a00", time.Minute))
	require.NoError(t, b.Delete(ctx, "a00"))
	_, found = load("a00")
	require.False(t, found, "created by something other than Insert")

	is(true)(b.Insert(ctx, "a00", rec("one", time.Minute)))
	is(false)(b.Insert(ctx, "a00", rec("two", time.Minute)))
	is(false)(b.Swap(ctx, "a00", []byte("two"), rec("three", time.Minute)))
	data, _ := load("a00")
	require.Equal(t, "one", data)
	is(true)(b.Swap(ctx, "a00", []byte("one"), rec("two", time.Minute)))

	is(true)(b.Insert(ctx, "c00", rec("taken", time.Minute)))
	is(false)(b.Rename(ctx, "a00", "c00", []byte("two"), rec("three", time.Minute)))
	is(false)(b.Rename(ctx, "a00", "b00", []byte("one"), rec("three", time.Minute)))
	data, _ = load("a00")
	require.Equal(t, "two", data)
	is(true)(b.Rename(ctx, "a00", "b00", []byte("two"), rec("three", time.Minute)))
	_, found = load("a00")
	require.False(t, found)
	data, _ = load("b00")
	require.Equal(t, "three", data)
	data, _ = load("c00")
	require.Equal(t, "taken", data)

	require.NoError(t, b.Delete(ctx, "b00"))
	_, found = load("b00")
	require.False(t, found)
	more, err := b.Sweep(ctx)
	require.NoError(t, err)
	require.False(t, more)
}

// Above 4 KiB the server compares a hash.
func TestLargeData(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := openBackend(t, testConfig(t))
	for _, size := range []int{0, 4096, 4097, 1 << 20} {
		old := bytes.Repeat([]byte{0xff, 0}, size/2+1)[:size]
		sid := "size" + strings.Repeat("0", size%7)
		_, err := b.Insert(ctx, sid, session.Record{Data: old, TTL: time.Minute})
		require.NoError(t, err)
		if size > 0 {
			other := bytes.Clone(old)
			other[size-1] ^= 1
			ok, err := b.Swap(ctx, sid, other, rec("new", time.Minute))
			require.NoError(t, err)
			require.False(t, ok, size)
		}
		ok, err := b.Swap(ctx, sid, old, rec("new", time.Minute))
		require.NoError(t, err)
		require.True(t, ok, size)
		require.NoError(t, b.Delete(ctx, sid))
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	b, c := openBackend(t, config), bare(t, config.Options)

	const ttl = 300 * time.Millisecond
	start := time.Now()
	_, err := b.Insert(ctx, "a00", rec("one", ttl))
	end := time.Now().Add(ttl + 20*time.Millisecond)
	require.NoError(t, err)
	r, found, err := b.Load(ctx, "a00")
	require.NoError(t, err)
	if time.Since(start) < ttl {
		require.True(t, found)
		require.Greater(t, r.TTL, time.Duration(0))
	}
	require.LessOrEqual(t, r.TTL, ttl)
	time.Sleep(time.Until(end))

	require.NoError(t, b.Extend(ctx, "a00", time.Minute))
	_, found, err = b.Load(ctx, "a00")
	require.NoError(t, err)
	require.False(t, found, "not dead, or revived")
	ok, err := b.Swap(ctx, "a00", []byte("one"), rec("two", time.Minute))
	require.NoError(t, err)
	require.False(t, ok)
	ok, err = b.Insert(ctx, "a00", rec("three", time.Nanosecond))
	require.NoError(t, err)
	require.True(t, ok, "a TTL below a millisecond is none for Redis")

	// A record that never expires, by somebody else, is given an expiry.
	require.NoError(t, c.Set(ctx, config.KeyPrefix+"b00", "x", 0).Err())
	r, found, err = b.Load(ctx, "b00")
	require.NoError(t, err)
	require.True(t, found)
	require.Zero(t, r.TTL)
	require.NoError(t, b.Extend(ctx, "b00", time.Minute))
	require.Positive(t, c.PTTL(ctx, config.KeyPrefix+"b00").Val())

	// Never shortened.
	require.NoError(t, b.Extend(ctx, "b00", 2*time.Minute))
	require.NoError(t, b.Extend(ctx, "b00", time.Second))
	require.Greater(t, c.PTTL(ctx, config.KeyPrefix+"b00").Val(), time.Minute)
}

// spy sees the commands, and may make a key expire between GET and PTTL.
type spy struct {
	goredis.Hook
	args    []interface{}
	expires bool
}

func (s *spy) BeforeProcess(ctx context.Context, cmd goredis.Cmder) (context.Context, error) {
	s.args = cmd.Args()
	return ctx, nil
}

func (*spy) AfterProcess(context.Context, goredis.Cmder) error { return nil }

func (*spy) BeforeProcessPipeline(ctx context.Context, _ []goredis.Cmder) (context.Context, error) {
	return ctx, nil
}

func (s *spy) AfterProcessPipeline(_ context.Context, cmds []goredis.Cmder) error {
	if s.expires {
		cmds[1].(*goredis.DurationCmd).SetVal(-2)
	}
	return nil
}

func TestMilliseconds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	c, s := bare(t, config.Options), &spy{}
	c.AddHook(s)
	config.Client = c
	b := openBackend(t, config)
	const ttl = time.Minute + time.Nanosecond
	_, err := b.Insert(ctx, "a00", rec("one", ttl))
	require.NoError(t, err)
	require.Contains(t, s.args, int64(60001))
	_, err = b.Swap(ctx, "a00", []byte("one"), rec("two", ttl))
	require.NoError(t, err)
	require.Contains(t, s.args, int64(60001))

	_, found, err := b.Load(ctx, "a00")
	require.NoError(t, err)
	require.True(t, found)
	s.expires = true
	_, found, err = b.Load(ctx, "a00")
	require.NoError(t, err)
	require.False(t, found, "expired between GET and PTTL")
}

// Of 64 at once exactly one wins.
func TestRaces(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	b := openBackend(t, config)
	large := strings.Repeat("x", 5000)
	for name, test := range map[string]struct {
		data string
		op   func(i int) (bool, error)
	}{
		"insert": {"", func(i int) (bool, error) { return b.Insert(ctx, "insert", rec("new", time.Minute)) }},
		"swap":   {"old", func(i int) (bool, error) { return b.Swap(ctx, "swap", []byte("old"), rec("new", time.Minute)) }},
		"large":  {large, func(i int) (bool, error) { return b.Swap(ctx, "large", []byte(large), rec("new", time.Minute)) }},
		"rename": {"old", func(i int) (bool, error) {
			return b.Rename(ctx, "rename", "renamed"+string(rune('a'+i%26))+string(rune('a'+i/26)), []byte("old"), rec("new", time.Minute))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				require.NoError(t, b.Delete(ctx, name))
				if test.data != "" {
					_, err := b.Insert(ctx, name, rec(test.data, time.Minute))
					require.NoError(t, err)
				}
				require.EqualValues(t, 1, winners(t, test.op))
			}
		})
	}
}
