package postgres_test

import (
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/stdlib"

	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/postgres"
)

// BenchmarkConn compares the connection of this package with that of pgx for database/sql.
func BenchmarkConn(b *testing.B) {
	config, err := pgx.ParseConfig(testserver.Postgres(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, via := range []struct {
		name      string
		connector driver.Connector
	}{{"ours", postgres.Connector(*config)}, {"stdlib", stdlib.GetConnector(*config)}} {
		db := sql.OpenDB(via.connector)
		defer db.Close()
		b.Run("case=query/via="+via.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var data []byte
				var n int64
				if err := db.QueryRow("SELECT $1::bytea, $2::bigint", []byte("data"), 7).Scan(&data, &n); err != nil {
					b.Fatal(err)
				}
				if string(data) != "data" || n != 7 {
					b.Fatal(data, n)
				}
			}
		})
		b.Run("case=exec/via="+via.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				res, err := db.Exec("UPDATE pg_class SET relname = $1 WHERE oid = 0", "x")
				if err != nil {
					b.Fatal(err)
				}
				if n, err := res.RowsAffected(); err != nil || n != 0 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
