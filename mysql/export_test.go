package mysql

import (
	"time"

	"github.com/flamego/session/internal/sqlstore"
)

// Dialect lets tests use the backend without the store on top of it.
var Dialect = &dialect

// InZone is the dialect for an expired_at in the wall time of a zone.
func InZone(loc *time.Location) *sqlstore.Dialect { return inZone(dialect, loc, time.Now()) }

// DriverParameters are the names that an error may have.
var DriverParameters = driverParameters

// Literal writes a value into a statement.
var Literal = literal
