package faults

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/redis"
)

// redisApp is an app with a Redis server of its own, whose user is named app.
type redisApp struct {
	*app
	server *testserver.RedisServer
	prefix string
}

// everyRedis runs a row with each way, also in the short form.
func everyRedis(t *testing.T, row func(t *testing.T, c redisClient)) {
	t.Helper()
	for _, c := range redisClients {
		t.Run(c.name, func(t *testing.T) { row(t, c) })
	}
}

const redisPassword = "p4ssw0rd-of-app"

// rights are those that the package doc of redis lists.
var rights = []string{"on", ">" + redisPassword, "~rows:*", "+get", "+pttl", "+set", "+del", "+pexpire", "+exists", "+eval", "+evalsha"}

func newRedisApp(t *testing.T, c redisClient) *redisApp {
	t.Helper()
	a := &redisApp{server: testserver.StartRedis(t), prefix: "rows:"}
	a.server.MustDo(t, append([]string{"ACL", "SETUSER", "app", "reset"}, rights...)...)
	a.app = newApp(t, c.one(t, redis.Options{Addr: a.server.Addr, Username: "app", Password: redisPassword}, a.prefix))
	return a
}

// refuses checks that a request is a 500 with one error, which names the code of the reply and no
// secret, and which says whether nothing was done.
func (a *redisApp) refuses(t *testing.T, v *visitor, path, code string, notApplied bool) {
	t.Helper()
	a.TakeErrors()
	status, body := v.visit(path)
	errs := a.TakeErrors()
	require.Equal(t, http.StatusInternalServerError, status, "%s: %s", path, body)
	require.Len(t, errs, 1, path)
	require.ErrorContains(t, errs[0], code, path)
	if notApplied {
		require.ErrorIs(t, errs[0], session.ErrNotApplied, path)
	}
	noSecrets(t, errs, redisPassword, v.id, a.prefix, a.server.Addr)
}

// TestRedisScriptFlush has the server forget its scripts, again and again, below visitors who
// write. No request fails, and nothing is lost. It rests on the text of a script, which is sent when
// the server does not know the hash.
func TestRedisScriptFlush(t *testing.T) {
	everyRedis(t, func(t *testing.T, c redisClient) {
		a := newRedisApp(t, c)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		counts := make([]int, 4)
		for i := range counts {
			v := a.visitor(t)
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					counts[i]++
					if status, body := v.visit("/add?n"); status != http.StatusOK {
						t.Errorf("status %d: %s, %v", status, body, a.TakeErrors())
						return
					}
					if n := v.see()["n"]; n != strconv.Itoa(counts[i]) {
						t.Errorf("the number is %s after %d additions", n, counts[i])
					}
					if status, _ := v.visit("/renew"); status != http.StatusOK {
						t.Errorf("a renewal is answered by status %d: %v", status, a.TakeErrors())
					}
				}
			})
		}
		flushes := rounds(50, 500)
		for range flushes {
			a.server.MustDo(t, "SCRIPT", "FLUSH")
			time.Sleep(2 * time.Millisecond)
		}
		close(stop)
		wg.Wait()
		sum := 0
		for _, n := range counts {
			sum += n
		}
		require.Greater(t, sum, flushes/10, "there was no load")
		figure(t, "%d times SCRIPT FLUSH below %d requests: none failed", flushes, 3*sum)
	})
}

// TestRedisFlushAll removes all sessions. Their visitors are as new ones, nothing that was there
// comes back, and no request fails. It rests on the rule that an ID which the store does not know is
// as good as none.
func TestRedisFlushAll(t *testing.T) {
	everyRedis(t, func(t *testing.T, c redisClient) {
		a := newRedisApp(t, c)
		n := rounds(5, 50)
		for range n {
			reads, writes, renews, leaves := a.visitor(t), a.visitor(t), a.visitor(t), a.visitor(t)
			for _, v := range []*visitor{reads, writes, renews, leaves} {
				v.ok("/set?a=1")
			}
			before := writes.id
			a.server.MustDo(t, "FLUSHALL")
			require.Empty(t, reads.see())
			writes.ok("/set?b=2")
			require.Equal(t, map[string]string{"b": "2"}, writes.see())
			require.NotEqual(t, before, writes.id, "an ID that the store does not know is taken for a session")
			require.False(t, a.Store().Exist(t.Context(), before))
			renews.ok("/renew")
			require.Empty(t, renews.see())
			leaves.ok("/logout")
		}
		require.Empty(t, a.TakeErrors())
		figure(t, "%d times FLUSHALL: visitors are as new, no request fails", n)
	})
}

// TestRedisWrongType puts a list under the key of a session. Requests of this session are errors that
// say so, those of others go on, and when the list is gone the visitor is as a new one.
func TestRedisWrongType(t *testing.T) {
	everyRedis(t, func(t *testing.T, c redisClient) {
		a := newRedisApp(t, c)
		v, other := a.visitor(t), a.visitor(t)
		v.ok("/set?a=1")
		other.ok("/set?a=1")
		a.server.MustDo(t, "DEL", a.prefix+v.id)
		a.server.MustDo(t, "LPUSH", a.prefix+v.id, "an element")
		for _, path := range []string{"/get", "/set?a=2", "/renew", "/logout"} {
			a.refuses(t, v, path, "WRONGTYPE", false)
			other.ok("/set?a=2")
		}
		require.Equal(t, "1", a.server.MustDo(t, "LLEN", a.prefix+v.id), "the list was changed")
		a.server.MustDo(t, "DEL", a.prefix+v.id)
		require.Empty(t, v.see())
		v.ok("/set?a=3")
		require.Equal(t, "3", v.see()["a"])
		figure(t, "4 requests of 4 are a 500 with WRONGTYPE, other sessions go on; the key is left alone")
	})
}

// TestRedisFullMemory has a server without memory that evicts nothing. What is stored can be read
// and ended, what would write is an error and changes nothing. With memory all goes on at once.
func TestRedisFullMemory(t *testing.T) {
	everyRedis(t, func(t *testing.T, c redisClient) {
		a := newRedisApp(t, c)
		n := rounds(3, 30)
		for range n {
			v, leaves := a.visitor(t), a.visitor(t)
			v.ok("/set?a=1")
			leaves.ok("/set?a=1")
			before, left := v.id, leaves.id
			a.server.MustDo(t, "CONFIG", "SET", "maxmemory", "1")
			require.Equal(t, "1", v.see()["a"])
			for _, path := range []string{"/set?a=2", "/set?a=", "/renew"} {
				a.refuses(t, v, path, "OOM the memory of the server is full", true)
			}
			a.refuses(t, a.visitor(t), "/set?a=1", "OOM", true)
			require.Equal(t, before, v.id, "an ID was sent for a renewal that was not made")
			require.Equal(t, "1", v.see()["a"])
			leaves.ok("/logout")
			require.False(t, a.Store().Exist(t.Context(), left), "a logout that was answered did not hold")
			a.server.MustDo(t, "CONFIG", "SET", "maxmemory", "0")
			v.ok("/set?a=2")
			v.ok("/renew")
			require.Equal(t, "2", v.see()["a"])
			require.False(t, a.Store().Exist(t.Context(), before))
		}
		figure(t, "%d times full: 4 writes of 4 are a 500 with OOM and change nothing; reads and logouts succeed; the first request with memory does", n)
	})
}

// TestRedisACL takes rights from the user while the app runs. Each request that needs them is an error
// that says which. With the rights back the first request succeeds.
func TestRedisACL(t *testing.T) {
	everyRedis(t, func(t *testing.T, c redisClient) {
		a := newRedisApp(t, c)
		acl := func(t *testing.T, words ...string) {
			a.server.MustDo(t, append([]string{"ACL", "SETUSER", "app"}, words...)...)
		}
		for name, fault := range map[string]struct {
			begin func(t *testing.T)
			code  string
		}{
			"no scripts":        {func(t *testing.T) { acl(t, "-eval", "-evalsha") }, "NOPERM the user has no permission (EVALSHA)"},
			"no keys":           {func(t *testing.T) { acl(t, "resetkeys", "~other:*") }, "the user has no access to keys with this KeyPrefix"},
			"no SET in scripts": {func(t *testing.T) { acl(t, "-set") }, "the user has no permission for what the script does"},
			"another password":  {func(t *testing.T) { acl(t, "resetpass", ">another"); killClients(t, a.server) }, "WRONGPASS"},
			"disabled":          {func(t *testing.T) { acl(t, "off"); killClients(t, a.server) }, "WRONGPASS"},
			"deleted":           {func(t *testing.T) { a.server.MustDo(t, "ACL", "DELUSER", "app") }, "WRONGPASS"},
		} {
			t.Run(name, func(t *testing.T) {
				v := a.visitor(t)
				v.ok("/set?a=1")
				v.ok("/set?a=1")
				fault.begin(t)
				for range 3 {
					a.refuses(t, v, "/set?a=2", fault.code, false)
				}
				acl(t, append([]string{"reset"}, rights...)...)
				require.Equal(t, "1", v.see()["a"], "a request that was refused has changed the session")
				v.ok("/set?a=3")
				require.Equal(t, "3", v.see()["a"])
			})
		}
		figure(t, "6 changes of rights: each request that needs them is a 500 that says so, the first one with the rights back succeeds")
	})
}

// killClients closes all connections, so that the clients log in again.
func killClients(t *testing.T, s *testserver.RedisServer) {
	t.Helper()
	for line := range strings.Lines(s.MustDo(t, "CLIENT", "LIST")) {
		var id int
		if _, err := fmt.Sscanf(line, "id=%d ", &id); err == nil && !strings.Contains(line, "cmd=client") {
			s.MustDo(t, "CLIENT", "KILL", "ID", strconv.Itoa(id))
		}
	}
}
