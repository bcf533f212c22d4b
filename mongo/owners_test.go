package mongo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/mongo"
)

func TestOwners(t *testing.T) {
	t.Parallel()
	backendtest.Owners(t, openBackend(t, testConfig(t)), "owners")
}

func TestOwnedBesideRenewals(t *testing.T) {
	t.Parallel()
	backendtest.OwnedBesideRenewals(t, openBackend(t, testConfig(t)), "renewals")
}

func TestEndOwnedBesideRenewals(t *testing.T) {
	t.Parallel()
	backendtest.EndOwnedBesideRenewals(t, openBackend(t, testConfig(t)), "end", 2, 6)
}

func openOwners(t testing.TB, config mongo.Config) session.Backend {
	t.Helper()
	b := openBackend(t, config)
	require.NoError(t, b.(session.OwnerIniter).InitOwners(context.Background()))
	return b
}

func owned(owner, data string) session.Record {
	return session.Record{Data: []byte(data), TTL: time.Minute, Owner: owner}
}

// ownedIDs are the IDs that a backend finds for an owner, in order.
func ownedIDs(t testing.TB, b session.Backend, owner string) (ids []string) {
	t.Helper()
	recs, err := b.(session.OwnerIndex).Owned(context.Background(), owner)
	require.NoError(t, err)
	for _, rec := range recs {
		ids = append(ids, rec.ID)
	}
	slices.Sort(ids)
	return ids
}

// commands notes what a client sends.
type commands struct {
	mu  sync.Mutex
	all [][]byte
}

func noting(t testing.TB) (*commands, *tcpproxy.Proxy, mongo.Config) {
	c := new(commands)
	p, config := ruled(t, tcpproxy.Rules{Read: func(from io.Reader) ([]byte, error) {
		msg, err := mongowire.Message(from)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.all = append(c.all, msg)
		}
		return msg, err
	}})
	return c, p, config
}

// named are the commands of a name so far.
func (c *commands) named(t testing.TB, name string) (docs []bson.Raw) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, msg := range c.all {
		if mongowire.IsCommand(msg, name) {
			docs = append(docs, msg[21:])
		}
	}
	return docs
}

func fieldsOf(t testing.TB, raw bson.Raw) (names []string) {
	t.Helper()
	elements, err := raw.Elements()
	require.NoError(t, err)
	for _, e := range elements {
		names = append(names, e.Key())
	}
	return names
}

// Without InitOwners nothing that is sent knows of owners; with it a document of nobody
// has no field for one.
func TestOwnerField(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, owners := range []bool{false, true} {
		c, _, config := noting(t)
		b := openBackend(t, config)
		if owners {
			require.NoError(t, b.(session.OwnerIniter).InitOwners(ctx))
		}
		coll := bare(t, config)
		holds := func(sid string, want ...string) {
			t.Helper()
			raw, err := coll.FindOne(ctx, bson.M{"key": sid}).Raw()
			require.NoError(t, err)
			require.ElementsMatch(t, append(want, "_id", "key", "data", "expired_at"), fieldsOf(t, raw))
		}
		must := func(ok bool, err error) {
			t.Helper()
			require.NoError(t, err)
			require.True(t, ok)
		}
		must(b.Insert(ctx, "abc", rec("one", -time.Minute)))
		must(b.Insert(ctx, "abc", rec("two", time.Minute)))
		holds("abc")
		must(b.Swap(ctx, "abc", []byte("two"), rec("three", time.Minute)))
		holds("abc")
		must(b.Rename(ctx, "abc", "def", []byte("three"), rec("four", time.Minute)))
		holds("def")
		_, err := b.Sweep(ctx)
		require.NoError(t, err)
		require.NoError(t, b.Extend(ctx, "def", time.Hour))
		if owners {
			must(b.Swap(ctx, "def", []byte("four"), owned("me", "five")))
			holds("def", "owner")
			must(b.Rename(ctx, "def", "ghi", []byte("five"), owned("me", "six")))
			holds("ghi", "owner")
			require.NoError(t, b.Extend(ctx, "ghi", time.Hour))
			holds("ghi", "owner")
			must(b.Swap(ctx, "ghi", []byte("six"), rec("seven", time.Minute)))
			holds("ghi")
			must(b.Insert(ctx, "jkl", session.Record{Data: []byte("x"), TTL: -time.Minute, Owner: "me"}))
			must(b.Insert(ctx, "jkl", rec("x", time.Minute)))
			holds("jkl")
			continue
		}
		c.mu.Lock()
		sent := string(bytes.Join(c.all, nil))
		c.mu.Unlock()
		require.Contains(t, sent, "expired_at")
		require.False(t, strings.Contains(sent, "owner") || strings.Contains(sent, "$unset"))
		specs, err := coll.Indexes().ListSpecifications(ctx)
		require.NoError(t, err)
		require.Len(t, specs, 3)
	}
}

func TestOwnerIndexIsSparse(t *testing.T) {
	t.Parallel()
	c, _, config := noting(t)
	openOwners(t, config)
	made := c.named(t, "createIndexes")
	require.Len(t, made, 3)
	index := made[2].Lookup("indexes", "0").Document()
	require.Equal(t, `{"owner": {"$numberInt":"1"}}`, index.Lookup("key").Document().String())
	require.True(t, index.Lookup("sparse").Boolean()) // FerretDB 1 ignores it
	specs, err := bare(t, config).Indexes().ListSpecifications(context.Background())
	require.NoError(t, err)
	require.Len(t, specs, 4)
}

// An owner costs nothing: a list is one command, and a second one for each 1,000 documents
// more.
func TestOwnersRoundTrips(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, config := proxied(t)
	b := openBackend(t, config)
	costs := func(what string, want int, op func() (bool, error)) {
		t.Helper()
		begun := p.Trips()
		ok, err := op()
		require.NoError(t, err, what)
		require.True(t, ok, what)
		require.Equal(t, want, p.Trips()-begun, what)
	}
	lists := func(n int) func() (bool, error) {
		return func() (bool, error) {
			recs, err := b.(session.OwnerIndex).Owned(ctx, "me")
			return len(recs) == n, err
		}
	}
	costs("start", 1, func() (bool, error) { return true, b.(session.OwnerIniter).InitOwners(ctx) })
	costs("insert", 1, func() (bool, error) { return b.Insert(ctx, "abc", owned("me", "one")) })
	costs("swap", 1, func() (bool, error) { return b.Swap(ctx, "abc", []byte("one"), owned("me", "two")) })
	costs("extend", 1, func() (bool, error) { return b.Swap(ctx, "abc", []byte("two"), owned("me", "two")) })
	costs("rename", 1, func() (bool, error) { return b.Rename(ctx, "abc", "def", []byte("two"), owned("me", "three")) })
	costs("list of none", 1, func() (bool, error) {
		recs, err := b.(session.OwnerIndex).Owned(ctx, "nobody")
		return len(recs) == 0, err
	})
	costs("list", 1, lists(1))

	var docs []interface{}
	for i := range 2499 {
		docs = append(docs, bson.M{"key": fmt.Sprint("k", i), "data": []byte("x"), "expired_at": time.Now().Add(time.Hour), "owner": "me"})
	}
	coll := bare(t, config)
	_, err := coll.InsertMany(ctx, docs[:900])
	require.NoError(t, err)
	costs("list of 901", 1, lists(901))
	_, err = coll.InsertMany(ctx, docs[900:])
	require.NoError(t, err)
	costs("list of 2,500", 3, lists(2500))
	require.Len(t, slices.Compact(ownedIDs(t, b, "me")), 2500)

	// Answers hold up to 16 MiB.
	large := []byte(strings.Repeat("x", 1<<20))
	for i := range 20 {
		ok, err := b.Insert(ctx, fmt.Sprint("large", i), session.Record{Data: large, TTL: time.Minute, Owner: "large"})
		require.NoError(t, err)
		require.True(t, ok)
	}
	require.Len(t, ownedIDs(t, b, "large"), 20)
}

// An app's own field of that name is found by no owner, or by one that the store then
// compares, and the next write replaces it. A document that is no session is in nobody's
// way.
func TestForeignOwner(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	coll := bare(t, config)
	in := time.Now().Add(time.Hour)
	_, err := coll.InsertMany(ctx, []interface{}{
		bson.M{"key": "number", "data": []byte("one"), "expired_at": in, "owner": 7},
		bson.M{"key": "object", "data": []byte("one"), "expired_at": in, "owner": primitive.NewObjectID()},
		bson.M{"key": "document", "data": []byte("one"), "expired_at": in, "owner": bson.M{"owner": "7"}},
		bson.M{"key": "list", "data": []byte("one"), "expired_at": in, "owner": bson.A{"6", "7"}},
		bson.M{"key": "nodata", "data": 1, "expired_at": in, "owner": "7"},
		bson.M{"key": 1, "data": []byte("one"), "expired_at": in, "owner": "7"},
		bson.M{"key": "dead", "data": []byte("one"), "expired_at": time.Now(), "owner": "7"},
		bson.M{"key": "noexpiry", "data": []byte("one"), "owner": "7"},
	})
	require.NoError(t, err)
	b := openOwners(t, config)
	require.Equal(t, []string{"list"}, ownedIDs(t, b, "7"))
	for _, sid := range []string{"number", "object", "document", "list"} {
		ok, err := b.Swap(ctx, sid, []byte("one"), owned("7", "two"))
		require.NoError(t, err)
		require.True(t, ok)
	}
	require.Equal(t, []string{"document", "list", "number", "object"}, ownedIDs(t, b, "7"))
	require.Empty(t, ownedIDs(t, b, "6"))
}

// A process without owners, as one of the old library, leaves the field as it is.
func TestOwnerSurvivesOldProcess(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	b, old := openOwners(t, config), openBackend(t, config)
	ok, err := b.Insert(ctx, "abc", owned("me", "one"))
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = old.Swap(ctx, "abc", []byte("one"), rec("two", time.Minute))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, old.Extend(ctx, "abc", time.Hour))
	ok, err = old.Rename(ctx, "abc", "def", []byte("two"), rec("three", time.Minute))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []string{"def"}, ownedIDs(t, b, "me"))
}

// Where indexes cannot be made, the first GC says so, and owners are found all the same.
func TestOwnerIndexFailure(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, others := range []bool{false, true} {
		config := testConfig(t)
		coll := bare(t, config)
		_, err := coll.Indexes().CreateOne(ctx, driver.IndexModel{
			Keys: bson.D{{Key: "other", Value: 1}}, Options: options.Index().SetName("owner_1"),
		})
		require.NoError(t, err)
		if others {
			twice := bson.M{"key": "twice", "data": []byte("x"), "expired_at": time.Now().Add(time.Hour)}
			_, err := coll.InsertMany(ctx, []interface{}{twice, twice})
			require.NoError(t, err)
		}
		b := openOwners(t, config)
		ok, err := b.Insert(ctx, "abc", owned("me", "one"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, []string{"abc"}, ownedIDs(t, b, "me"))
		_, err = b.Sweep(ctx)
		require.ErrorContains(t, err, "create index on owner: ")
		require.Equal(t, others, strings.Contains(err.Error(), "create index on key: "))
		_, err = b.Sweep(ctx)
		require.NoError(t, err, "told once")
	}
}
