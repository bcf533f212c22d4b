package faults

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDeadlock has another transaction lock two rows in the other order than a save does, so that
// neither can go on. The server refuses the save, and the store makes it again: the visitor notices nothing.
// A save of its own locks one row. A trigger of the app has it lock a second one. It rests on the
// class Again of internal/sqlstore.
func TestDeadlock(t *testing.T) {
	trigger := map[string][]string{
		"postgres": {
			"CREATE SEQUENCE tries", // which is not rolled back
			`CREATE FUNCTION second() RETURNS trigger LANGUAGE plpgsql AS
				'BEGIN PERFORM nextval(''tries''); UPDATE others SET n = n + 1 WHERE id = 1; RETURN NULL; END'`,
			"CREATE TRIGGER second AFTER UPDATE ON %s FOR EACH ROW EXECUTE PROCEDURE second()",
			"GRANT ALL ON others TO " + appUser, "GRANT ALL ON tries TO " + appUser,
		},
		"mysql": {"CREATE TRIGGER second AFTER UPDATE ON %s FOR EACH ROW UPDATE others SET n = n + 1 WHERE id = 1"},
	}
	// How the other transaction begins, so that the server refuses the save and not this
	// transaction: the one that looks for deadlocks first, or that has changed less.
	begin := map[string]string{
		"postgres": "SET LOCAL deadlock_timeout = '1min'",
		"mysql":    "UPDATE others SET n = n + 1 WHERE id > 1",
	}
	deadlocks := map[string]string{
		"postgres": "SELECT last_value - (SELECT n FROM others WHERE id = 1) FROM tries",
		"mysql":    "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'",
	}
	each(t, isSQLServer, func(t *testing.T, s subject) {
		server := newSQLServer(t, s)
		place := s.place(t)
		through, p, _ := s.behindCounted(t, server.url)
		a := newApp(t, s.at(place, through))
		v := a.visitor(t)
		v.ok("/add?n")
		server.exec("CREATE TABLE others (id INT PRIMARY KEY, n INT NOT NULL)")
		for id := range 100 {
			server.exec(fmt.Sprintf("INSERT INTO others VALUES (%d, 0)", id))
		}
		for _, statement := range trigger[s.name] {
			server.exec(strings.ReplaceAll(statement, "%s", place))
		}
		v.ok("/add?n")
		met := server.number(deadlocks[s.name])

		// Now and then the other transaction comes too early, as MariaDB may show a wait that is over.
		n, visits, tries := rounds(2, 3), 0, 0
		for ; server.number(deadlocks[s.name])-met < n && visits < 10*n; visits++ {
			tx, err := server.db.Begin()
			require.NoError(t, err)
			for _, statement := range []string{begin[s.name], "UPDATE others SET n = n WHERE id = 1"} {
				_, err := tx.Exec(statement)
				require.NoError(t, err)
			}
			before := p.Trips()
			var status atomic.Int64
			var wg sync.WaitGroup
			wg.Go(func() {
				code, _ := v.visit("/add?n")
				status.Store(int64(code))
			})
			server.waitBlocked(1) // the save has the session, and waits for the other row
			_, err = tx.Exec("SELECT 1 FROM " + place + " WHERE " + s.keyIs(v.id) + " FOR UPDATE")
			require.NoError(t, err, "the other transaction is refused")
			require.NoError(t, tx.Commit())
			wg.Wait()
			require.EqualValues(t, http.StatusOK, status.Load())
			tries += p.Trips() - before
		}
		require.Empty(t, a.TakeErrors())
		require.GreaterOrEqual(t, server.number(deadlocks[s.name])-met, n, "how many deadlocks the server has met")
		require.Equal(t, fmt.Sprint(visits+2), v.see()["n"])
		require.Equal(t, visits+1, server.number("SELECT n FROM others WHERE id = 1"), "a save is made twice")
		figure(t, "%d deadlocks, %.1f round trips for each request, 0 errors, each save made once", n, float64(tries)/float64(visits))
	})
}

// keyIs is the condition that names the row of a session.
func (s subject) keyIs(id string) string { return sqlKinds[s.name].key + " = '" + id + "'" }

// TestIsolation has eight visitors of four processes write to one session at the same time, where the server
// makes each statement a transaction of another isolation level by default. No write is lost, and
// nobody sees an error. It rests on the class Again of internal/sqlstore, as a server that isolates
// more refuses one of two writes.
func TestIsolation(t *testing.T) {
	const processes, writers = 4, 8
	setting := map[string]string{"postgres": "default_transaction_isolation", "mysql": "tx_isolation"}
	levels := map[string][]string{
		"sqlite":   {"serializable"}, // there is no other
		"postgres": {"read committed", "repeatable read", "serializable"},
		"mysql":    {"READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"},
	}
	each(t, isSQL, func(t *testing.T, s subject) {
		var server *sqlServer
		address := ""
		if isSQLServer(s) {
			server = newSQLServer(t, s)
			address = server.url
		}
		for _, level := range levels[s.name] {
			t.Run(level, func(t *testing.T) {
				if server != nil {
					value := level
					if s.name == "mysql" {
						value = "'" + level + "'"
					}
					server.set(setting[s.name], value)
				}
				place := s.place(t)
				apps := make([]*app, processes)
				for i := range apps {
					apps[i] = newApp(t, s.at(place, address))
				}
				first := apps[0].visitor(t)
				first.ok("/add?n")
				times := rounds(15, 100)
				begun := time.Now()
				var wg sync.WaitGroup
				for i := range writers {
					wg.Go(func() {
						v := apps[i%processes].with(t, first.id)
						for n := range times {
							path := "/add?n"
							if n%5 == 4 {
								path = set(keys[i%3], fmt.Sprint(n)) // a, b or c
							}
							if status, body := v.visit(path); status != http.StatusOK {
								t.Errorf("%s: status %d: %s", path, status, body)
							}
						}
					})
				}
				wg.Wait()
				took := time.Since(begun)
				for _, a := range apps {
					require.Empty(t, a.TakeErrors())
				}
				seen := apps[1].with(t, first.id).see()
				require.Equal(t, fmt.Sprint(1+writers*(times-times/5)), seen["n"], "a write is lost")
				for _, key := range keys[:3] {
					require.Equal(t, fmt.Sprint(times-1), seen[key])
				}
				figure(t, "%d writes of one session by %d processes, 0 lost, 0 errors, %.1f ms each",
					writers*times, processes, took.Seconds()*1000/float64(writers*times))
			})
		}
	})
}
