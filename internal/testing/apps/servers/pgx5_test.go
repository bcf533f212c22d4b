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

// Package postgres takes no name among the drivers of database/sql: an app on pgx 5 gets
// its own driver, and what it has registered there is known.
func TestPgx5DriverNames(t *testing.T) {
	require.NotContains(t, sql.Drivers(), "pgx/v4")
	config, err := pgx.ParseConfig(testserver.Postgres(t))
	require.NoError(t, err)
	registered := stdlib.RegisterConnConfig(config)
	t.Cleanup(func() { stdlib.UnregisterConnConfig(registered) })
	for _, name := range []string{"pgx", "pgx/v5"} {
		db, err := sql.Open(name, registered)
		require.NoError(t, err)
		require.Equal(t, "github.com/jackc/pgx/v5/stdlib", reflect.TypeOf(db.Driver()).Elem().PkgPath(), name)
		require.NoError(t, db.Ping(), name)
		require.NoError(t, db.Close())
	}
}

// A pool of pgx 5 holds sessions too.
func TestPgx5Pool(t *testing.T) {
	db, err := sql.Open("pgx", testserver.Postgres(t))
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
