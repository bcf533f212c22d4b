package mongo_test

import (
	"context"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsoncodec"
	"go.mongodb.org/mongo-driver/bson/bsonrw"
	"go.mongodb.org/mongo-driver/bson/bsontype"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
)

const secret = "pa55word-of-mongo"

func TestBadConfig(t *testing.T) {
	t.Parallel()
	hang, err := net.Listen("tcp", "127.0.0.1:0") // never accepted
	require.NoError(t, err)
	t.Cleanup(func() { _ = hang.Close() })
	writer := session.IDWriter(noID)
	uri := func(uri string) mongo.Config {
		return mongo.Config{Options: options.Client().ApplyURI(uri), Database: "db"}
	}

	for name, test := range map[string]struct {
		args []interface{}
		want string // the error
	}{
		"zero":        {[]interface{}{writer, mongo.Config{}}, "empty Options"},
		"no options":  {[]interface{}{writer, mongo.Config{Database: "db"}}, "empty Options"},
		"no database": {[]interface{}{writer, mongo.Config{Options: options.Client()}}, "empty Database"},
		"refused": {
			[]interface{}{writer, uri("mongodb://user:" + secret + "@127.0.0.1:1/")},
			"mongo: connect: no primary found: dial: connection refused",
		},
		"bad uri": {
			[]interface{}{writer, uri("mongodb://user:" + secret + "/@127.0.0.1:1/")},
			"mongo: connect: the URI or another setting is not valid: unescaped slash in password",
		},
		"bad escape": {
			[]interface{}{writer, uri("mongodb://user:%" + secret + "@127.0.0.1:1/")},
			"mongo: connect: the URI or another setting is not valid: invalid password",
		},
		"no answer": {
			[]interface{}{writer, uri("mongodb://user:" + secret + "@" + hang.Addr().String())},
			"mongo: connect: no primary found: context deadline exceeded",
		},
		"bad name": {
			[]interface{}{writer, mongo.Config{Options: options.Client().ApplyURI("mongodb://:" + secret + "@127.0.0.1:1/"), Database: "db"}},
			"mongo: connect: the URI or another setting is not valid: username required",
		},
		"at": {
			[]interface{}{writer, uri("mongodb://app:p@" + secret + "@127.0.0.1/")},
			"mongo: connect: the URI or another setting is not valid: unescaped @ sign in user info",
		},
		"port": {
			[]interface{}{writer, uri("mongodb://app:p@127.0.0.1:" + secret)},
			"mongo: connect: the URI or another setting is not valid: port must be an integer",
		},
		"option": {
			[]interface{}{writer, uri("mongodb://127.0.0.1:1/?MaxPoolSize=" + secret)},
			"mongo: connect: the URI has an invalid value for maxPoolSize",
		},
		"file": {
			[]interface{}{writer, uri("mongodb://127.0.0.1:1/?tls=true&tlsCAFile=" + secret)},
			"mongo: connect: a file that the Options name cannot be read",
		},
		"database": {
			[]interface{}{writer, mongo.Config{Options: options.Client(), Database: secret + "/"}},
			"bad Database: a name has up to 63 bytes, without / \\ . $ \" and spaces",
		},
		"collection": {
			[]interface{}{writer, mongo.Config{Options: options.Client(), Database: "db", Collection: "$" + secret}},
			"bad Collection: a name has no $",
		},
		"no IDWriter":    {[]interface{}{mongo.Config{}}, "IDWriter not given"},
		"nothing":        {[]interface{}{writer}, "config of type mongo.Config not given"},
		"foreign config": {[]interface{}{writer, session.FileConfig{}}, "unexpected argument of type session.FileConfig, want a config of type mongo.Config and an IDWriter: do Options.Initer and Options.Config belong together?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			store, err := mongo.Initer()(context.Background(), test.args...)
			require.EqualError(t, err, test.want)
			assert.Nil(t, store)
			assert.Less(t, time.Since(start), 20*time.Second)
		})
	}
}

func TestDefaultsAndIndexes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	config.Database, config.Collection = config.Database+config.Collection, ""
	store := openStore(t, config)
	require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("abc", session.GobEncoder, noID, session.Data{"k": 1})))

	config.Collection = "sessions"
	coll := bare(t, config)
	t.Cleanup(func() { _ = coll.Database().Drop(ctx) })
	raw, err := coll.FindOne(ctx, bson.D{{Key: "key", Value: "abc"}}).Raw()
	require.NoError(t, err)
	elements, err := raw.Elements()
	require.NoError(t, err)
	assert.Len(t, elements, 4, "_id and our three")
	assert.Equal(t, bson.TypeBinary, raw.Lookup("data").Type)
	assert.InDelta(t, time.Hour, time.Until(raw.Lookup("expired_at").Time()), float64(10*time.Second))

	specs, err := coll.Indexes().ListSpecifications(ctx)
	require.NoError(t, err)
	unique := map[string]bool{}
	for _, spec := range specs {
		unique[spec.Name] = spec.Unique != nil && *spec.Unique
		assert.Nil(t, spec.ExpireAfterSeconds)
	}
	assert.True(t, unique["key_1"])
	assert.Contains(t, unique, "expired_at_1")
}

// Tables of old may hold what forbids the index.
func TestIndexFailure(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	coll := bare(t, config)
	for _, expiry := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(2 * time.Hour)} {
		_, err := coll.InsertOne(ctx, bson.D{
			{Key: "key", Value: "twice0123456789"},
			{Key: "data", Value: []byte("old")},
			{Key: "expired_at", Value: expiry},
		})
		require.NoError(t, err)
	}
	store := openStore(t, config)
	err := store.GC(ctx)
	require.ErrorContains(t, err, "create index on key")
	require.NotContains(t, err.Error(), "twice")
	require.NoError(t, store.GC(ctx), "told once")

	specs, err := coll.Indexes().ListSpecifications(ctx)
	require.NoError(t, err)
	require.Len(t, specs, 2, "_id and expired_at")

	b := openBackend(t, config)
	ok, err := b.Insert(ctx, "twice0123456789", rec("new", time.Minute))
	require.NoError(t, err)
	require.False(t, ok, "there is a live one, whatever the index")
	require.NoError(t, b.Delete(ctx, "twice0123456789"))
	n, err := coll.CountDocuments(ctx, bson.D{})
	require.NoError(t, err)
	require.Zero(t, n, "the one that was left would rise from the dead")
}

func TestSharedClientStaysConnected(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := testConfig(t)
	config.Client, config.Options = connect(t, server(t)), nil
	store, err := mongo.Initer()(ctx, config, session.IDWriter(noID))
	require.NoError(t, err)
	require.NoError(t, store.(io.Closer).Close())
	require.NoError(t, config.Client.Ping(ctx, nil))
}

func TestOwnClientIsDisconnected(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, config := proxied(t)
	store, err := mongo.Initer()(ctx, config, session.IDWriter(noID))
	require.NoError(t, err)
	require.Positive(t, p.Conns())
	require.NoError(t, store.(io.Closer).Close())
	require.Eventually(t, func() bool { return p.Conns() == 0 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, store.(io.Closer).Close(), "closed twice")
	require.Error(t, store.Destroy(ctx, "abc"))
}

// The registry of an app's client does not change how our fields look.
func TestForeignRegistry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	registry := bson.NewRegistry()
	odd := bsoncodec.ValueEncoderFunc(func(_ bsoncodec.EncodeContext, w bsonrw.ValueWriter, _ reflect.Value) error {
		return w.WriteString("odd")
	})
	registry.RegisterTypeEncoder(reflect.TypeOf(primitive.Binary{}), odd)
	registry.RegisterTypeEncoder(reflect.TypeOf(primitive.DateTime(0)), odd)
	config := testConfig(t)
	config.Options.SetRegistry(registry)
	b := openBackend(t, config)
	_, err := b.Insert(ctx, "abc", rec("x", time.Minute))
	require.NoError(t, err)
	raw, err := bare(t, config).FindOne(ctx, bson.D{}).Raw()
	require.NoError(t, err)
	assert.Equal(t, bson.TypeBinary, raw.Lookup("data").Type)
	assert.Equal(t, bsontype.DateTime, raw.Lookup("expired_at").Type)
}
