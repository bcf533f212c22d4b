package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/go-redis/redis/v8"
	"github.com/gorilla/sessions"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// store is a place for sessions. open returns all subjects that can use it.
type store struct {
	name string
	open func(tb testing.TB) []subject
}

var stores = []store{
	{"memory", func(tb testing.TB) []subject {
		return []subject{
			oursApp(tb, session.Options{}),
			scsApp("scs", 0, nil),
			scsApp("scs-sliding", idle, nil),
			gorillaApp(sessions.NewCookieStore(gorillaKey)), // in the cookie: it has no memory store
			flamegoApp(),
		}
	}},
	{"file", func(tb testing.TB) []subject {
		// All in the same folders: where on the disk they are decides what it takes to
		// make a file there, up to ten times as much.
		root := withFolders(tb)
		opts := session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: root}}
		subjects := onDriver(tb, opts, func(string) rawStore { return newRawFile(root) })
		return append(subjects, gorillaApp(sessions.NewFilesystemStore(tb.TempDir(), gorillaKey)))
	}},
	onDatabase(sqliteDB),
	{"redis", func(tb testing.TB) []subject {
		// Settings that are not there are filled in by this library for itself.
		conn := redis.Options{
			Addr: testserver.Redis(tb), Password: testserver.RedisPassword(), PoolSize: poolSize,
			DialTimeout: 2 * time.Second, ReadTimeout: time.Second,
		}
		opts := session.Options{Initer: redis.Initer(), Config: redis.Config{Options: &conn, KeyPrefix: "ours:"}}
		return onDriver(tb, opts, func(tag string) rawStore {
			own := conn
			client := goredis.NewClient(&own)
			tb.Cleanup(func() { check(tb, client.Close()) })
			_, info, _ := strings.Cut(must[string](tb)(client.Info(ctx, "server").Result()), "redis_version:")
			configure("redis", strings.Fields(info)[0])
			return rawRedis{client, tag + ":"}
		})
	}},
	onDatabase(postgresDB),
	onDatabase(mysqlDB),
}

// folders is how many folders a file store has in each of two levels.
const folders = 36

func folder(n int) string { return "0123456789abcdefghijklmnopqrstuvwxyz"[n : n+1] }

// withFolders returns a folder with those that our file store makes one by one, as
// sessions come: an app that has run for a while has them all.
func withFolders(tb testing.TB) string {
	root := tb.TempDir()
	for n := range folders * folders {
		check(tb, os.MkdirAll(filepath.Join(root, folder(n/folders), folder(n%folders)), 0o700))
	}
	return root
}

// idle is the Lifetime of this library, by default.
const idle = time.Hour

// onDriver returns the subjects of a store with a driver. raw returns a store of
// its own for each.
func onDriver(tb testing.TB, opts session.Options, raw func(tag string) rawStore) []subject {
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
	return store{d.name, func(tb testing.TB) []subject {
		dsn := d.dsn(tb)
		d.configure(tb, dsn)
		return onDriver(tb, d.options(dsn, "ours"), func(tag string) rawStore {
			return newRawSQL(tb, d, d.dsn(tb), tag)
		})
	}}
}
