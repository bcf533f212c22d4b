package postgres

import (
	"database/sql/driver"

	"github.com/jackc/pgx/v4"
)

// Dialect lets tests use the backend without the store on top of it.
var Dialect = &dialect

// Connector makes connections as the dialect does, from what a DSN cannot say.
func Connector(config pgx.ConnConfig) driver.Connector {
	return watched(&config)
}
