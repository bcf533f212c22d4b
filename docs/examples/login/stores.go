package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"

	goredis "github.com/go-redis/redis/v8"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"github.com/flamego/session"
	"github.com/flamego/session/mongo"
	"github.com/flamego/session/mysql"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/redis"
	"github.com/flamego/session/sqlite"
)

// stores are the values of -store. An app has one store: this one has all, to try them.
var stores = map[string]struct {
	title   string // as a page calls it
	example string // of a -dsn
}{
	"memory":   {"the memory of this process", ""},
	"file":     {"files", "sessions"},
	"sqlite":   {"SQLite", "sessions.db"},
	"postgres": {"PostgreSQL", "postgres://user:password@127.0.0.1:5432/app?sslmode=disable"},
	"mysql":    {"MySQL", "user:password@tcp(127.0.0.1:3306)/app"},
	"redis":    {"Redis", "redis://127.0.0.1:6379/0"},
	"mongo":    {"MongoDB", "mongodb://user:password@127.0.0.1:27017/app"},
}

// openSessions returns the sessions of the app. An error about the -dsn has an example of one.
func openSessions(opts session.Options, store, dsn string, db *sql.DB) (*session.Manager, error) {
	initer, config, err := backend(store, dsn, db)
	if err != nil {
		return nil, withExample(err, store)
	}
	opts.Initer, opts.Config = initer, config
	sessions, err := session.New(opts)
	if err != nil {
		return nil, withExample(err, store)
	}
	return sessions, nil
}

func withExample(err error, store string) error {
	example := stores[store].example
	if example == "" {
		return err
	}
	return fmt.Errorf("%w\nFor this store the flags look like this:\n\t-store %s -dsn '%s'", err, store, example)
}

// backend returns where the sessions are kept. Without a -dsn, SQLite shares the pool that the
// users are in.
func backend(store, dsn string, db *sql.DB) (initer session.Initer, config any, err error) {
	known, ok := stores[store]
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("-store %q is none of memory, file, sqlite, postgres, mysql, redis and mongo", store)
	case store == "memory" && dsn != "":
		return nil, nil, errors.New("-store memory takes no -dsn")
	case store == "file" && dsn == "":
		dsn = known.example
	case store != "memory" && store != "sqlite" && dsn == "":
		return nil, nil, fmt.Errorf("-store %s needs a -dsn", store)
	}

	switch store {
	case "memory":
		return session.MemoryIniter(), session.MemoryConfig{Lifetime: idleLifetime}, nil
	case "file":
		// The store would make the folder too, but only when it saves the first session.
		if err := os.MkdirAll(dsn, 0o700); err != nil {
			return nil, nil, err
		}
		return session.FileIniter(), session.FileConfig{Lifetime: idleLifetime, RootDir: dsn}, nil
	case "sqlite":
		if dsn != "" {
			db = nil // a pool of the store's own
		}
		return sqlite.Initer(), sqlite.Config{Lifetime: idleLifetime, DSN: dsn, DB: db, InitTable: true}, nil
	case "postgres":
		return postgres.Initer(), postgres.Config{Lifetime: idleLifetime, DSN: dsn, InitTable: true}, nil
	case "mysql":
		return mysql.Initer(), mysql.Config{Lifetime: idleLifetime, DSN: dsn, InitTable: true}, nil
	case "redis":
		server, err := goredis.ParseURL(dsn)
		if err != nil { // which may hold the password
			return nil, nil, errors.New("-dsn is not the URL of a Redis")
		}
		return redis.Initer(), redis.Config{Lifetime: idleLifetime, Options: server}, nil
	default: // mongo
		uri, err := connstring.Parse(dsn)
		if err != nil || uri.Database == "" {
			return nil, nil, errors.New("-dsn is not the URI of a database in MongoDB")
		}
		return mongo.Initer(), mongo.Config{Lifetime: idleLifetime, Options: options.Client().ApplyURI(dsn), Database: uri.Database}, nil
	}
}
