package bench

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/gorilla/sessions"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// store is a place for sessions. open returns all subjects that can use it, with a
// tag of its own for each call. many has them share as many sessions as it is told.
type store struct {
	name string
	open func(tb testing.TB, tag string) []subject
	many func(tb testing.TB) *crowded
}

var stores = []store{
	{"memory", func(tb testing.TB, _ string) []subject {
		return []subject{
			oursApp(tb, session.Options{}),
			scsApp("scs", 0, nil),
			scsApp("scs-sliding", idle, nil),
			gorillaApp(sessions.NewCookieStore(gorillaKey)), // in the cookie: it has no memory store
			flamegoApp(),
			netHTTPApp(),
		}
	}, manyInMemory},
	{"file", func(tb testing.TB, _ string) []subject {
		// All in the same folders: where on the disk they are decides what it takes to
		// make a file there, up to ten times as much.
		root := must[string](tb)(withFolders())
		subjects := onDriver(tb, inFiles(root), func(string) rawStore { return newRawFile(root) })
		return append(subjects, gorillaApp(sessions.NewFilesystemStore(tb.TempDir(), gorillaKey)))
	}, manyInFiles},
	onDatabase(sqliteDB),
	{"redis", func(tb testing.TB, tag string) []subject {
		return onDriver(tb, inRedis(tb, tag+"-ours:"), func(subject string) rawStore {
			return newRawRedis(tb, tag+"-"+subject+":")
		})
	}, manyInRedis},
	onDatabase(postgresDB),
	onDatabase(mysqlDB),
}

// inFiles are the options of an app with files.
func inFiles(root string) session.Options {
	return session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: root}}
}

// redisOptions are those of all subjects. Settings that are not there are filled in by
// this library for itself.
func redisOptions(tb testing.TB) *redis.Options {
	return &redis.Options{
		Addr: testserver.Redis(tb), Password: testserver.RedisPassword(), PoolSize: poolSize,
		DialTimeout: 2 * time.Second, ReadTimeout: time.Second,
	}
}

// inRedis are the options of an app with Redis.
func inRedis(tb testing.TB, prefix string) session.Options {
	return session.Options{Initer: redis.Initer(), Config: redis.Config{Options: redisOptions(tb), KeyPrefix: prefix}}
}

func newRawRedis(tb testing.TB, prefix string) rawRedis {
	client := goredis.NewClient(redisOptions(tb))
	tb.Cleanup(func() { check(tb, client.Close()) })
	_, info, _ := strings.Cut(must[string](tb)(client.Info(ctx, "server").Result()), "redis_version:")
	configure("redis", strings.Fields(info)[0])
	return rawRedis{client, prefix}
}

// folders is how many folders a file store has in each of two levels.
const folders = 36

func folder(n int) string { return "0123456789abcdefghijklmnopqrstuvwxyz"[n : n+1] }

// withFolders returns a folder with those that our file store makes one by one, as
// sessions come: an app that has run for a while has them all. It is the same one for
// all benchmarks.
var withFolders = sync.OnceValues(func() (string, error) {
	root, err := os.MkdirTemp("", "bench")
	testserver.AtEnd(func() error { return os.RemoveAll(root) })
	for n := 0; err == nil && n < folders*folders; n++ {
		err = os.MkdirAll(filepath.Join(root, folder(n/folders), folder(n%folders)), 0o700)
	}
	return root, err
})

// idle is the Lifetime of this library, by default.
const idle = time.Hour

// onDriver returns the subjects of a store with a driver. raw returns a store for
// each.
func onDriver(tb testing.TB, opts session.Options, raw func(subject string) rawStore) []subject {
	return []subject{
		oursApp(tb, opts),
		scsApp("scs", 0, scsStore{raw("scs")}),
		scsApp("scs-sliding", idle, scsStore{raw("sliding")}),
		bare{raw("bare")},
	}
}

// onDatabase is the store of an SQL database. Where the database is a file, each
// subject has its own.
func onDatabase(d *database) store {
	open := func(tb testing.TB, tag string) []subject {
		dsn := d.dsn(tb)
		d.configure(tb, dsn)
		return onDriver(tb, d.options(dsn, tag+"_ours"), func(subject string) rawStore {
			return newRawSQL(tb, d, d.dsn(tb), tag+"_"+subject)
		})
	}
	return store{d.name, open, func(tb testing.TB) *crowded { return manyInTable(tb, d) }}
}
