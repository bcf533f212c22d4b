package servers

import (
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	redisdriver "github.com/go-redis/redis/v8"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sqlite"
)

// An app does not start without its database, also where it has a pool or client of its
// own: Sessioner panics within 5 seconds.
func TestStartWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())

	const dsn, mysqlDSN = "postgres://user:password@%s/app", "user:password@tcp(%s)/app"
	db, err := sql.Open("pgx/v5", fmt.Sprintf(dsn, addr))
	require.NoError(t, err)
	defer db.Close()
	client := redisdriver.NewClient(&redis.Options{Addr: addr})
	defer client.Close()

	for name, opts := range map[string]session.Options{
		"postgres":     {Initer: postgres.Initer(), Config: postgres.Config{DSN: fmt.Sprintf(dsn, addr)}},
		"postgres DB":  {Initer: postgres.Initer(), Config: postgres.Config{DB: db}},
		"mysql":        {Initer: mysql.Initer(), Config: mysql.Config{DSN: fmt.Sprintf(mysqlDSN, addr)}},
		"redis":        {Initer: redis.Initer(), Config: redis.Config{Options: &redis.Options{Addr: addr}}},
		"redis Client": {Initer: redis.Initer(), Config: redis.Config{Client: client}},
		"mongo": {Initer: mongo.Initer(), Config: mongo.Config{
			Options: options.Client().ApplyURI("mongodb://" + addr), Database: "app",
		}},
		"sqlite": {Initer: sqlite.Initer(), Config: sqlite.Config{DSN: filepath.Join(t.TempDir(), "missing", "app.db")}},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			text := apps.Panic(func() { session.Sessioner(opts) })
			store, _, _ := strings.Cut(name, " ")
			require.Contains(t, text, "session: "+store+": connect: ")
			require.NotContains(t, text, "password")
			require.Less(t, time.Since(begun), 8*time.Second)
		})
	}
}

// What is not looked at when an app starts: a table that InitTable does not make, and
// the folder of the file store. There the first save fails.
func TestStartWithoutPlace(t *testing.T) {
	for store, options := range map[string]func(t *testing.T) session.Options{
		"postgres": func(t *testing.T) session.Options {
			return session.Options{Initer: postgres.Initer(), Config: postgres.Config{DSN: testserver.Postgres(t), Table: "missing"}}
		},
		"mysql": func(t *testing.T) session.Options {
			return session.Options{Initer: mysql.Initer(), Config: mysql.Config{DSN: testserver.MySQL(t), Table: "missing"}}
		},
		"sqlite": func(t *testing.T) session.Options {
			return session.Options{Initer: sqlite.Initer(), Config: sqlite.Config{DSN: filepath.Join(t.TempDir(), "app.db")}}
		},
		"file": func(*testing.T) session.Options {
			return session.Options{Initer: session.FileIniter(), Config: session.FileConfig{RootDir: "main_test.go/sessions"}}
		},
	} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			errs := make(chan error, 8)
			opts := options(t)
			opts.ErrorFunc = func(err error) { errs <- err }
			b := webapp.Connect(t, apps.Serve(t, apps.New(opts)))
			w := b.Get("/set")
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.Equal(t, "Internal Server Error\n", w.Body.String())
			require.ErrorContains(t, <-errs, "session: "+store+": save: ")
		})
	}
}
