package servers

import (
	"database/sql"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/apps"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/postgres"
)

// Package postgres and pgx 5 may be in one program. The first of two versions of pgx
// takes the name "pgx", and Go initializes v4 first.
func TestPgx5DriverNames(t *testing.T) {
	for name, want := range map[string]string{
		"pgx":    "github.com/jackc/pgx/v4/stdlib",
		"pgx/v4": "github.com/jackc/pgx/v4/stdlib",
		"pgx/v5": "github.com/jackc/pgx/v5/stdlib",
	} {
		db, err := sql.Open(name, "postgres://127.0.0.1/app")
		require.NoError(t, err)
		require.Equal(t, want, reflect.TypeOf(db.Driver()).Elem().PkgPath(), name)
		require.NoError(t, db.Close())
	}
}

// A configuration that is registered with pgx 5 is known to its own driver only.
func TestPgx5RegisteredConfig(t *testing.T) {
	config, err := pgx.ParseConfig(testserver.Postgres(t))
	require.NoError(t, err)
	name := stdlib.RegisterConnConfig(config)
	t.Cleanup(func() { stdlib.UnregisterConnConfig(name) })
	for driver, works := range map[string]bool{"pgx": false, "pgx/v5": true} {
		db, err := sql.Open(driver, name)
		require.NoError(t, err)
		require.Equal(t, works, db.Ping() == nil, driver)
		require.NoError(t, db.Close())
	}
}

// A pool of pgx 5 holds sessions too.
func TestPgx5Pool(t *testing.T) {
	db, err := sql.Open("pgx/v5", testserver.Postgres(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	apps.Visit(t, apps.New(session.Options{
		Initer: postgres.Initer(),
		Config: postgres.Config{DB: db, Table: "pgx5", InitTable: true},
	}))
}

// What only the DSNs of pgx 5 may have is sent to the server, which does not know it.
func TestPgx5DSN(t *testing.T) {
	start := func(param string) string {
		return apps.Panic(func() {
			apps.New(session.Options{
				Initer: postgres.Initer(),
				Config: postgres.Config{DSN: testserver.Postgres(t) + "&" + param, Table: "dsn", InitTable: true},
			})
		})
	}
	for _, param := range []string{
		"default_query_exec_mode=exec", "description_cache_capacity=10", "sslnegotiation=direct",
		"min_protocol_version=3.0", "max_protocol_version=3.2", "channel_binding=prefer",
	} {
		require.Equal(t, "session: postgres: connect: a parameter of the DSN: unrecognized configuration parameter, or no such object (SQLSTATE 42704)", start(param), param)
	}
	for _, param := range []string{"statement_cache_capacity=10", "prefer_simple_protocol=true", "application_name=app"} {
		require.Empty(t, start(param), param)
	}
}
