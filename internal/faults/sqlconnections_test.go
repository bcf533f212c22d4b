package faults

import (
	"context"
	"database/sql"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What an error says while the server has no connection for the app, and while it takes no writes.
var (
	noConnection = map[string]string{"postgres": "too many connections (SQLSTATE 53300)", "mysql": "too many connections (error 1040)"}
	noWrites     = map[string]string{"postgres": "read-only (SQLSTATE 25006)", "mysql": "(error 1290)"}
)

// TestTooManyConnections has others take all connections of the server while the app has none.
// Each request fails when Options.Timeout is over, with one error, and the app tries only now and then
// to connect. Requests that wait when the others free their connections succeed. It rests on the class
// Full of internal/sqlstore, after which the store tries again until the time is over, and on its
// gate, which lets few try at a time.
func TestTooManyConnections(t *testing.T) {
	const timeout, grace, freed = 3 * time.Second, 2 * time.Second, time.Second
	few := map[string]string{"postgres": "-cmax_connections=20", "mysql": "--max-connections=20"}
	each(t, isSQLServer, func(t *testing.T, s subject) {
		server := newSQLServer(t, s, few[s.name])
		through, p, tried := s.behindCounted(t, server.url)
		opts := s.at(s.place(t), through)
		opts.Timeout = timeout
		a := newApp(t, opts)
		all := a.visitors(t, 8)

		p.Cut()
		free := server.takeAll()
		tried.Store(0)
		statuses, slowest := atOnce(all, func(int) string { return "/set?n=1" })
		for _, status := range statuses {
			require.Equal(t, http.StatusInternalServerError, status)
		}
		oneClearError(t, a.TakeErrors(), len(all), noConnection[s.name])
		require.LessOrEqual(t, slowest, timeout+grace)
		n := tried.Load()
		require.LessOrEqual(t, n, int64(50*timeout.Seconds()), "connections are tried")

		time.AfterFunc(freed, free)
		statuses, slowest = atOnce(all, func(int) string { return "/set?n=2" })
		for _, status := range statuses {
			require.Equal(t, http.StatusOK, status)
		}
		require.Empty(t, a.TakeErrors())
		for _, v := range all {
			require.Equal(t, "2", v.see()["n"])
		}
		figure(t, "8 requests with a Timeout of %v s: each fails with one error, %d connections are tried in all; when connections are freed the last succeeds after %d ms",
			timeout.Seconds(), n, (slowest - freed).Milliseconds())
	})
}

// takeAll takes all connections that an ordinary user can get.
func (s *sqlServer) takeAll() (free func()) {
	s.t.Helper()
	db := s.open(s.t, s.url)
	db.SetMaxIdleConns(0)
	var taken []*sql.Conn
	for refused := (time.Time{}); refused.IsZero() || time.Since(refused) < 300*time.Millisecond; {
		// What the server has not closed yet is free in a moment.
		c, err := db.Conn(context.Background())
		if err != nil {
			if refused.IsZero() {
				refused = time.Now()
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		taken, refused = append(taken, c), time.Time{}
	}
	return func() {
		for _, c := range taken {
			_ = c.Close()
		}
	}
}

// TestReadOnlyServer has the server take no writes for a while. Reads go on. Each write fails when
// Options.Timeout is over, with one error, and changes nothing. Writes that wait when the server takes
// writes again succeed. It rests on the class ReadOnly of internal/sqlstore: after such an error the
// store tries again until the time is over. (That it closes idle connections, TestFailover of the
// backends shows.)
func TestReadOnlyServer(t *testing.T) {
	const timeout, grace, lifted = 3 * time.Second, 2 * time.Second, time.Second
	setting := map[string]string{"postgres": "default_transaction_read_only", "mysql": "read_only"}
	writes := []string{"/set?n=1", "/renew", "/logout", "/flush"}
	each(t, isSQLServer, func(t *testing.T, s subject) {
		server := newSQLServer(t, s)
		through, p, tried := s.behindCounted(t, server.url)
		opts := s.at(s.place(t), through)
		opts.Timeout = timeout
		a := newApp(t, opts)
		all := a.visitors(t, 8)

		server.set(setting[s.name], "on")
		tried.Store(0)
		before := p.Trips()
		statuses, slowest := atOnce(all, func(i int) string { return writes[i%len(writes)] })
		for i, status := range statuses {
			require.Equal(t, http.StatusInternalServerError, status, writes[i%len(writes)])
		}
		oneClearError(t, a.TakeErrors(), len(all), noWrites[s.name])
		require.LessOrEqual(t, slowest, timeout+grace)
		tries, conns := p.Trips()-before, tried.Load()
		require.LessOrEqual(t, tries, len(all)*int(60*timeout.Seconds()))
		for _, v := range all {
			require.Equal(t, "0", v.see()["n"])
		}

		var lift sync.WaitGroup
		lift.Go(func() {
			time.Sleep(lifted)
			server.set(setting[s.name], "off")
		})
		statuses, slowest = atOnce(all, func(int) string { return "/set?n=2" })
		lift.Wait()
		for _, status := range statuses {
			require.Equal(t, http.StatusOK, status)
		}
		require.Empty(t, a.TakeErrors())
		for _, v := range all {
			require.Equal(t, "2", v.see()["n"])
		}
		figure(t, "8 writes with a Timeout of %v s: each fails with one error, %d round trips and %d new connections in all, reads go on; when writes are taken again the last succeeds after %d ms",
			timeout.Seconds(), tries, conns, (slowest - lifted).Milliseconds())
	})
}
