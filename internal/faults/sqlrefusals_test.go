package faults

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRefusedWrites has the server refuse each write of a session with the code of a fault that does not
// pass by itself, by a trigger. The request fails after a bounded number of tries, or at once where another try
// would not help, with one error that says what the code means. The session stays as it is, and the
// first request after the fault succeeds. It rests on the classes of codes of internal/sqlstore, on
// the limit of tries of the class Again, and on errors that say that nothing was done.
func TestRefusedWrites(t *testing.T) {
	type code struct {
		code, text string
		again      bool // another try may help
	}
	raise := map[string]string{
		"postgres": "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS " +
			"'BEGIN RAISE EXCEPTION USING ERRCODE = ''%[2]s'', MESSAGE = concat(''canary'', NEW.key); END'; " +
			"CREATE TRIGGER refuse BEFORE UPDATE ON %[1]s FOR EACH ROW EXECUTE PROCEDURE refuse()",
		"mysql": "CREATE TRIGGER refuse BEFORE UPDATE ON %[1]s FOR EACH ROW " +
			"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = %[2]s, MESSAGE_TEXT = 'canary'",
	}
	drop := map[string]string{"postgres": "DROP TRIGGER refuse ON %s", "mysql": "DROP TRIGGER refuse -- %s"}
	codes := map[string][]code{
		"postgres": {
			{"40001", "serialization failure", true}, {"40P01", "deadlock", true}, {"53100", "the disk is full", false},
			{"53200", "the server is out of memory", false}, {"54000", "a limit of the server", false}, {"P0001", "a trigger or function has raised", false},
		},
		"mysql": {
			{"1213", "deadlock", true}, {"1020", "the row has changed", true}, {"1021", "the disk is full", false},
			{"1037", "the server is out of memory", false}, {"1041", "the server is out of memory", false}, {"1114", "the table is full", false},
			{"1969", "the statement has taken too long", true}, {"3024", "the statement has taken too long", true},
		},
	}
	each(t, isSQLServer, func(t *testing.T, s subject) {
		server := newSQLServer(t, s)
		place := s.place(t)
		through, p, _ := s.behindCounted(t, server.url)
		a := newApp(t, s.at(place, through))
		v := a.visitors(t, 1)[0]
		most := 0
		for i, c := range codes[s.name] {
			server.exec(fmt.Sprintf(raise[s.name], place, c.code))
			before := p.Trips()
			status, _ := v.visit(set("n", "-1"))
			require.Equal(t, http.StatusInternalServerError, status, c.text)
			tries := p.Trips() - before
			require.LessOrEqual(t, tries, 40, "%s: round trips of one request", c.text)
			require.Equal(t, c.again, tries > 6, "%s is tried again, %d round trips", c.text, tries)
			most = max(most, tries)
			oneClearError(t, a.TakeErrors(), 1, c.text)
			require.Equal(t, fmt.Sprint(i), v.see()["n"])
			server.exec(fmt.Sprintf(drop[s.name], place))
			v.ok(set("n", fmt.Sprint(i+1)))
			require.Empty(t, a.TakeErrors())
		}
		figure(t, "%d codes: each with one error that names the cause, %d round trips for a request at most; the next request succeeds", len(codes[s.name]), most)
	})
}

// TestStatementTimeout has the server end each statement after a moment, and a trigger have writes
// take longer. Reads go on, as they are made again. A write, too, is made again, and fails when
// Options.Timeout is over, at the latest, with one error that names the cause. It rests on the codes of
// a statement that was ended: they are of the class Locked or Again of internal/sqlstore. (Of MariaDB TestRefusedWrites
// counts the tries.)
func TestStatementTimeout(t *testing.T) {
	const timeout, grace = 2 * time.Second, 2 * time.Second
	slow := map[string][]string{
		"postgres": {
			"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END'",
			"CREATE TRIGGER slow BEFORE UPDATE ON %s FOR EACH ROW EXECUTE PROCEDURE slow()",
		},
		// MariaDB does not always end a SLEEP in a trigger. On a busy machine it may end a statement
		// tens of milliseconds late.
		"mysql": {"CREATE TRIGGER slow BEFORE UPDATE ON %s FOR EACH ROW SET @n = (SELECT SUM(seq % 7) FROM seq_1_to_5000000)"},
	}
	drop := map[string]string{"postgres": "DROP TRIGGER slow ON %s", "mysql": "DROP TRIGGER slow -- %s"}
	setting := map[string][3]string{
		"postgres": {"statement_timeout", "1ms", "0"},
		// If the time is over while MariaDB reads the trigger, it says that a table is not there.
		"mysql": {"max_statement_time", "0.05", "0"},
	}
	each(t, isSQLServer, func(t *testing.T, s subject) {
		server := newSQLServer(t, s)
		place := s.place(t)
		through, p, _ := s.behindCounted(t, server.url)
		opts := s.at(place, through)
		opts.Timeout = timeout
		a := newApp(t, opts)
		all := a.visitors(t, 8)
		for _, statement := range slow[s.name] {
			server.exec(strings.ReplaceAll(statement, "%s", place))
		}
		p.Cut() // MariaDB tells new connections only
		name, on, off := setting[s.name][0], setting[s.name][1], setting[s.name][2]
		server.set(name, on)
		before := p.Trips()
		statuses, slowest := atOnce(all, func(int) string { return set("n", "1") })
		tries := p.Trips() - before
		for _, status := range statuses {
			require.Equal(t, http.StatusInternalServerError, status)
		}
		require.LessOrEqual(t, slowest, timeout+grace)
		if s.name == "postgres" { // which may as well have ended the statement because somebody held a lock
			require.GreaterOrEqual(t, slowest, timeout*9/10, "writes are made again until the time is over")
		}
		oneClearError(t, a.TakeErrors(), len(all), "statement_timeout", "the statement has taken too long")
		for _, v := range all {
			require.Equal(t, "0", v.see()["n"])
		}
		server.set(name, off)
		p.Cut()
		server.exec(fmt.Sprintf(drop[s.name], place)) // or writes take as long, one after the other
		statuses, _ = atOnce(all, func(int) string { return set("n", "2") })
		for _, status := range statuses {
			require.Equal(t, http.StatusOK, status)
		}
		require.Empty(t, a.TakeErrors())
		for _, v := range all {
			require.Equal(t, "2", v.see()["n"])
		}
		figure(t, "8 writes with a Timeout of %v s: each fails with one error after %.1f s at most, %d round trips in all; the next ones succeed",
			timeout.Seconds(), slowest.Seconds(), tries)
	})
}

// TestMaxAllowedPacket has an administrator of MariaDB lower the size of a statement below what the
// store has found at start. A session that is too large then is refused with one error and stays as it
// is. Others go on. It rests on the code of the server, which says that nothing was done: so the store
// neither looks nor tries again.
func TestMaxAllowedPacket(t *testing.T) {
	each(t, func(s subject) bool { return s.name == "mysql" }, func(t *testing.T, s subject) {
		server := newSQLServer(t, s)
		through, p, _ := s.behindCounted(t, server.url)
		a := newApp(t, s.at(s.place(t), through))
		large, small := a.visitors(t, 1)[0], a.visitors(t, 1)[0]
		big := "/set?a=" + url.QueryEscape(strings.Repeat("a", 20_000))
		most := server.number("SELECT @@GLOBAL.max_allowed_packet")

		server.set("max_allowed_packet", "16384")
		p.Cut()
		before := p.Trips()
		status, _ := large.visit(big)
		require.Equal(t, http.StatusInternalServerError, status)
		tries := p.Trips() - before
		require.LessOrEqual(t, tries, 8)
		oneClearError(t, a.TakeErrors(), 1, "max_allowed_packet")
		require.Equal(t, map[string]string{"n": "0"}, large.see())
		small.ok("/set?n=1")

		server.set("max_allowed_packet", fmt.Sprint(most))
		p.Cut()
		large.ok(big)
		require.Len(t, large.see()["a"], 20_000)
		require.Empty(t, a.TakeErrors())
		figure(t, "a statement that is too large is refused with one error after %d round trips; other sessions go on", tries)
	})
}
