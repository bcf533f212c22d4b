package mongo_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
)

func TestPlainGob(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	store, coll := openStore(t, config), bare(t, config)

	var buf bytes.Buffer
	data := map[interface{}]interface{}{"user_id": 123, 7: "seven"}
	require.NoError(t, gob.NewEncoder(&buf).Encode(data))
	_, err := coll.InsertOne(ctx, bson.M{"key": "theirs", "data": buf.Bytes(), "expired_at": time.Now().Add(time.Minute)})
	require.NoError(t, err)
	s, err := store.Read(ctx, "theirs")
	require.NoError(t, err)
	assert.Equal(t, 123, s.Get("user_id"))
	assert.Equal(t, "seven", s.Get(7))
	s.Set("user_id", 124)
	require.NoError(t, store.Save(ctx, s), "written over")

	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("ours", session.GobEncoder, noID, data)))
	var doc struct {
		Key       string
		Data      []byte
		ExpiredAt time.Time `bson:"expired_at"`
	}
	require.NoError(t, coll.FindOne(ctx, bson.M{"key": "ours"}).Decode(&doc))
	got := map[interface{}]interface{}{}
	require.NoError(t, gob.NewDecoder(bytes.NewReader(doc.Data)).Decode(&got))
	assert.Equal(t, data, got)
	assert.True(t, doc.ExpiredAt.After(time.Now()))
}

func TestOperations(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := openBackend(t, testConfig(t))
	must := func(want bool) func(bool, error) {
		return func(got bool, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	holds := func(sid, want string) {
		t.Helper()
		r, found, err := b.Load(ctx, sid)
		require.NoError(t, err)
		require.Equal(t, want != "", found)
		require.Equal(t, want, string(r.Data))
	}

	holds("a00", "")
	must(false)(b.Swap(ctx, "a00", []byte("x"), rec("y", time.Minute)))
	must(false)(b.Rename(ctx, "a00", "b00", []byte("x"), rec("y", time.Minute)))
	require.NoError(t, b.Extend(ctx, "a00", time.Minute))
	require.NoError(t, b.Delete(ctx, "a00"))
	holds("a00", "")

	must(true)(b.Insert(ctx, "a00", rec("one", time.Minute)))
	must(false)(b.Insert(ctx, "a00", rec("two", time.Minute)))
	must(false)(b.Swap(ctx, "a00", []byte("two"), rec("three", time.Minute)))
	holds("a00", "one")
	must(true)(b.Swap(ctx, "a00", []byte("one"), rec("two", time.Minute)))
	must(true)(b.Swap(ctx, "a00", []byte("two"), rec("two", time.Minute)))

	must(true)(b.Insert(ctx, "c00", rec("taken", time.Minute)))
	if !isFerret(t, server(t)) { // it has another error for this
		must(false)(b.Rename(ctx, "a00", "c00", []byte("two"), rec("three", time.Minute)))
	}
	must(false)(b.Rename(ctx, "a00", "b00", []byte("one"), rec("three", time.Minute)))
	holds("a00", "two")
	must(true)(b.Rename(ctx, "a00", "b00", []byte("two"), rec("three", time.Minute)))
	holds("a00", "")
	holds("b00", "three")
	holds("c00", "taken")
	require.NoError(t, b.Delete(ctx, "b00"))
	holds("b00", "")

	large := string(bytes.Repeat([]byte{0xff, 0}, 1<<19))
	must(true)(b.Insert(ctx, "d00", rec(large, time.Minute)))
	must(true)(b.Swap(ctx, "d00", []byte(large), rec(large[1:], time.Minute)))
	must(false)(b.Swap(ctx, "d00", []byte(large), rec("", time.Minute)))
	must(true)(b.Swap(ctx, "d00", []byte(large[1:]), session.Record{TTL: time.Minute}))
	must(true)(b.Swap(ctx, "d00", nil, rec("from none", time.Minute)))
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := openBackend(t, testConfig(t))
	const ttl = 500 * time.Millisecond
	start := time.Now()
	_, err := b.Insert(ctx, "a00", rec("one", ttl))
	require.NoError(t, err)
	end := time.Now().Add(ttl + time.Millisecond)
	r, found, err := b.Load(ctx, "a00")
	require.NoError(t, err)
	if time.Since(start) < ttl {
		require.True(t, found)
		require.Positive(t, r.TTL)
	}
	require.LessOrEqual(t, r.TTL, ttl+time.Millisecond, "rounded up by more than BSON's millisecond")
	time.Sleep(time.Until(end))

	_, found, err = b.Load(ctx, "a00")
	require.NoError(t, err)
	require.False(t, found, "not dead")
	require.NoError(t, b.Extend(ctx, "a00", time.Minute))
	_, found, err = b.Load(ctx, "a00")
	require.NoError(t, err)
	require.False(t, found, "revived")
	for _, sid := range []string{"a00", "b00"} {
		ok, err := b.Swap(ctx, "a00", []byte("one"), rec("two", time.Minute))
		require.NoError(t, err)
		require.False(t, ok)
		ok, err = b.Rename(ctx, "a00", sid+"x", []byte("one"), rec("two", time.Minute))
		require.NoError(t, err)
		require.False(t, ok)
	}
	ok, err := b.Insert(ctx, "a00", rec("three", time.Minute))
	require.NoError(t, err)
	require.True(t, ok, "a dead one is in the way")

	require.NoError(t, b.Extend(ctx, "a00", time.Hour))
	require.NoError(t, b.Extend(ctx, "a00", time.Second))
	r, found, err = b.Load(ctx, "a00")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "three", string(r.Data))
	require.Greater(t, r.TTL, 59*time.Minute, "shortened")
}

// The date has whole milliseconds, and is never earlier than it should be.
func TestExpiryIsRoundedUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	b, coll := openBackend(t, config), bare(t, config)
	for i := range 20 {
		sid := fmt.Sprint("abc", i)
		before := time.Now()
		_, err := b.Insert(ctx, sid, rec("x", time.Minute))
		require.NoError(t, err)
		raw, err := coll.FindOne(ctx, bson.M{"key": sid}).Raw()
		require.NoError(t, err)
		require.False(t, raw.Lookup("expired_at").Time().Before(before.Add(time.Minute)))
	}
}

// Of 64 at once exactly one wins.
func TestRaces(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := openBackend(t, testConfig(t))
	live, dead := rec("old", time.Minute), rec("old", -time.Minute)
	for name, test := range map[string]struct {
		before *session.Record
		op     func(sid string, i int) (bool, error)
	}{
		"insert":  {nil, func(sid string, _ int) (bool, error) { return b.Insert(ctx, sid, live) }},
		"replace": {&dead, func(sid string, _ int) (bool, error) { return b.Insert(ctx, sid, live) }},
		"swap":    {&live, func(sid string, _ int) (bool, error) { return b.Swap(ctx, sid, live.Data, rec("new", time.Minute)) }},
		"rename": {&live, func(sid string, i int) (bool, error) {
			return b.Rename(ctx, sid, fmt.Sprint(sid, "by", i), live.Data, rec("new", time.Minute))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 5 {
				sid := fmt.Sprint(name, round)
				if test.before != nil {
					_, err := b.Insert(ctx, sid, *test.before)
					require.NoError(t, err)
				}
				require.EqualValues(t, 1, winners(t, func(i int) (bool, error) { return test.op(sid, i) }))
			}
		})
	}
}

// The driver's error for a duplicate key, which holds the ID, becomes a refusal.
// MongoDB and FerretDB, left to itself, raise it for inserts at the same time.
func TestInsertRaceLeftToTheServer(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.Options = options.Client().ApplyURI(testserver.Mongo(t))
	b := openBackend(t, config)
	for round := range 5 {
		require.EqualValues(t, 1, winners(t, func(int) (bool, error) {
			return b.Insert(context.Background(), fmt.Sprint("abc", round), rec("one", time.Minute))
		}))
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	b, coll := openBackend(t, config), bare(t, config)
	var docs []interface{}
	for i := range 1250 {
		expiry := time.Now().Add(-time.Hour)
		if i%25 == 0 {
			expiry = time.Now().Add(time.Hour)
		}
		docs = append(docs, bson.M{"key": fmt.Sprint("k", i), "data": []byte("x"), "expired_at": expiry})
	}
	_, err := coll.InsertMany(ctx, docs)
	require.NoError(t, err)
	count := func() int64 {
		n, err := coll.CountDocuments(ctx, bson.D{})
		require.NoError(t, err)
		return n
	}
	for _, want := range []struct {
		more bool
		left int64
	}{{true, 750}, {true, 250}, {false, 50}, {false, 50}} {
		more, err := b.Sweep(ctx)
		require.NoError(t, err)
		require.Equal(t, want.more, more)
		require.Equal(t, want.left, count())
	}
	n, err := coll.CountDocuments(ctx, bson.M{"expired_at": bson.M{"$gt": time.Now()}})
	require.NoError(t, err)
	require.EqualValues(t, 50, n)
}
