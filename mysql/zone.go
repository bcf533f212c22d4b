package mysql

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/flamego/session/internal/sqlstore"
)

// zoneYears are the years for which the statements know the changes of a zone, before and
// after the start of the store.
const (
	zoneYearsBefore = 2
	zoneYearsAfter  = 40
)

// location is the zone of expired_at: what the Config says, else the loc of the DSN.
func location(config Config) (loc *time.Location) {
	if config.Location != nil {
		return config.Location
	}
	if config.DB != nil || config.DSN == "" {
		return time.UTC
	}
	defer func() {
		if recover() != nil {
			loc = time.UTC // Open finds the same panic
		}
	}()
	parsed, err := mysql.ParseDSN(config.DSN)
	if err != nil || parsed.Loc == nil {
		return time.UTC // Open finds the same error
	}
	return parsed.Loc
}

// inZone is the dialect for an expired_at in the wall time of a zone. The server's clock is
// that of UTC_TIMESTAMP. What the zone makes of it is compiled into the statements, since
// the server may have no table of zones, or one of another age than ours.
//
// A wall time may be two times, in the hour that comes twice when the clocks are set back.
// It is read as the later one, so that no session ends early, nor is deleted while it is
// live. It may live an hour longer.
func inZone(d sqlstore.Dialect, loc *time.Location, now time.Time) *sqlstore.Dialect {
	changes := changesOf(loc, now.AddDate(-zoneYearsBefore, 0, 0), now.AddDate(zoneYearsAfter, 0, 0))
	if len(changes) == 1 && changes[0].offset == 0 {
		return &d
	}
	var fromUTC, fromWall []int64
	for _, c := range changes[1:] {
		// Of a change at U, the times from U + the offset on are read with that offset. If
		// the clocks are set back, the hour before the change has the same times. If they
		// are set forward, no time is from the hour that is left out.
		fromUTC = append(fromUTC, c.at)
		fromWall = append(fromWall, c.at+c.offset)
	}
	toUTC := func(wall string) string {
		return fmt.Sprintf("%s - INTERVAL %s SECOND", wall, offset(wall, fromWall, changes))
	}
	toWall := func(utc string) string {
		return fmt.Sprintf("%s + INTERVAL %s SECOND", utc, offset(utc, fromUTC, changes))
	}

	d.Until = d.Expiry
	d.Expires = "(" + toUTC("{expired_at}") + ")"
	// The subquery computes the time once, as it has a parameter.
	d.Expiry = "(SELECT " + toWall("utc.t") + " FROM (SELECT " + d.Until + " AS t) AS utc)"
	d.Left = strings.ReplaceAll(d.Left, "{expired_at}", d.Expires)
	// The first condition is for the index. What it leaves out is found when the second
	// hour of the same time has passed.
	d.SweepKeys = strings.Replace(d.SweepKeys, "{dead}", "{expired_at} <= "+toWall("{now}")+" AND {dead}", 1)
	d.SweepDelete = strings.Replace(d.SweepDelete, "{expired_at} + INTERVAL 0 SECOND <= {now}", "{dead}", 1)
	return &d
}

// change says that a zone has an offset to UTC, in seconds, from a time on.
type change struct{ at, offset int64 }

// changesOf returns the changes of a zone between two times. The first one is the offset
// before all others.
func changesOf(loc *time.Location, from, to time.Time) []change {
	offsetAt := func(t time.Time) int64 {
		_, offset := t.In(loc).Zone()
		return int64(offset)
	}
	changes := []change{{offset: offsetAt(from)}}
	for {
		_, end := from.In(loc).ZoneBounds()
		if end.IsZero() || end.After(to) {
			return changes
		}
		if offset := offsetAt(end); offset != changes[len(changes)-1].offset {
			changes = append(changes, change{end.Unix(), offset})
		}
		if !end.After(from) {
			// Go takes the last day of a leap year for the next year, and ends there.
			end = from.Add(24 * time.Hour)
		}
		from = end
	}
}

// offset is an expression for the offset to UTC at a time. INTERVAL finds, by bisection,
// how many of its further arguments are not greater than the first.
func offset(at string, from []int64, changes []change) string {
	if len(from) == 0 {
		return fmt.Sprintf("(%d)", changes[0].offset)
	}
	var times, offsets strings.Builder
	for _, t := range from {
		times.WriteString(", " + strconv.FormatInt(t+yearZero, 10))
	}
	for _, c := range changes {
		offsets.WriteString(", " + strconv.FormatInt(c.offset, 10))
	}
	return fmt.Sprintf("CAST(ELT(INTERVAL(TO_SECONDS(%s)%s) + 1%s) AS SIGNED)", at, times.String(), offsets.String())
}

// yearZero is what TO_SECONDS answers for 1970.
const yearZero = 62167219200
