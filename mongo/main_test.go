package mongo_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/mongo"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const database = "flamego_session_test"

var collections atomic.Int64

// testConfig is for a collection of its own on the shared server.
func testConfig(t testing.TB) mongo.Config {
	config := mongo.Config{
		Options:    options.Client().ApplyURI(server(t)),
		Database:   database,
		Collection: fmt.Sprintf("c%d_%d", time.Now().UnixNano(), collections.Add(1)),
	}
	t.Cleanup(func() { _ = bare(t, config).Drop(context.Background()) })
	return config
}

// server is the server of the tests. So that our filters are tested and not FerretDB, its commands
// on one collection go one by one.
var server = func() func(t testing.TB) string {
	var once sync.Once
	var uri string
	return func(t testing.TB) string {
		direct := testserver.Mongo(t)
		once.Do(func() {
			uri = direct
			if !isFerret(t, direct) {
				return
			}
			p, err := tcpproxy.Open(host(t, direct), mongowire.InTurn()) // for the whole run
			require.NoError(t, err)
			uri = through(t, direct, p.Addr())
		})
		return uri
	}
}()

func isFerret(t testing.TB, uri string) bool {
	c := connect(t, uri)
	info, err := c.Database("admin").RunCommand(context.Background(), bson.D{{Key: "buildInfo", Value: 1}}).Raw()
	require.NoError(t, err)
	_, err = info.LookupErr("ferretdbVersion")
	return err == nil
}

func connect(t testing.TB, uri string) *driver.Client {
	c, err := driver.Connect(context.Background(), options.Client().ApplyURI(uri))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

// bare is the collection by the driver alone, to look at what is really there.
func bare(t testing.TB, config mongo.Config) *driver.Collection {
	return connect(t, server(t)).Database(config.Database).Collection(config.Collection)
}

func openBackend(t testing.TB, config mongo.Config) session.Backend {
	t.Helper()
	return backendtest.Open(t, mongo.Open, config)
}

func openStore(t testing.TB, config mongo.Config) session.Store {
	t.Helper()
	return backendtest.OpenStore(t, mongo.Initer(), config)
}

var (
	noID     = backendtest.NoID
	rec      = backendtest.Record
	deadline = backendtest.Deadline
	winners  = backendtest.Winners
)
