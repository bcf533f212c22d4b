package faults

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/go-redis/redis/v8"
	_ "github.com/jackc/pgx/v4/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session/internal/testing/testserver"
)

// count returns how many records there are in a place, by another way than the store: live ones,
// dead ones and marks. It is -1 for the memory store, which nobody else can look into.
func (s subject) count(t testing.TB, place, server string) int {
	t.Helper()
	if s.records == nil {
		return -1
	}
	return s.records(t, place, server)
}

// inFolder counts the records of the file store, and not its lock files and temporary files.
func inFolder(t testing.TB, place, _ string) (n int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "~") && !strings.HasPrefix(path, filepath.Join(place, ".")) {
			n++
		}
		return err
	}))
	return n
}

func inTable(t testing.TB, driver, dsn, table string) (n int) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM "+table).Scan(&n))
	require.NoError(t, db.Close())
	return n
}

func inRedis(t testing.TB, place, server string) (n int) {
	t.Helper()
	ctx := context.Background()
	c := goredis.NewClient(&goredis.Options{Addr: server, Password: testserver.RedisPassword()})
	keys := c.Scan(ctx, 0, place+":*", 1000).Iterator()
	for keys.Next(ctx) {
		n++
	}
	require.NoError(t, keys.Err())
	require.NoError(t, c.Close())
	return n
}

func inMongo(t testing.TB, place, server string) int {
	t.Helper()
	ctx := context.Background()
	c, err := driver.Connect(ctx, options.Client().ApplyURI(server))
	require.NoError(t, err)
	n, err := c.Database(place).Collection("sessions").CountDocuments(ctx, bson.D{})
	require.NoError(t, err)
	require.NoError(t, c.Disconnect(ctx))
	return int(n)
}
