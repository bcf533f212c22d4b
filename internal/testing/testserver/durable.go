package testserver

import (
	"net"
	"testing"
	"time"
)

// Durable is a server of one test that the test may kill and start again. What the server has
// answered is there then: it is in files, though not flushed to the disk, so it outlives the
// server but not the machine. The server ends with the test, killed or not.
type Durable struct {
	URL  string // as that of the server of all tests
	Addr string // host:port

	k    *kind
	s    *server
	down bool
}

// DurablePostgres starts a PostgreSQL server. Shared memory is in its folder, too: a server that
// is killed leaves it behind.
func DurablePostgres(t testing.TB) *Durable {
	t.Helper()
	return durable(t, postgres, "-c", "synchronous_commit=on", "-c", "dynamic_shared_memory_type=mmap")
}

// DurableMySQL starts a MariaDB server.
func DurableMySQL(t testing.TB) *Durable {
	t.Helper()
	return durable(t, mysql, "--innodb-flush-log-at-trx-commit=2")
}

// DurableRedis starts a Redis server. A reply is sent when its command is in the file.
func DurableRedis(t testing.TB) *Durable {
	t.Helper()
	return durable(t, redis, "--appendonly", "yes", "--appendfsync", "no")
}

// DurableMongo starts a FerretDB server.
func DurableMongo(t testing.TB) *Durable {
	t.Helper()
	return durable(t, mongo)
}

func durable(t testing.TB, k *kind, args ...string) *Durable {
	t.Helper()
	url, s := alone(t, k, args)
	return &Durable{URL: url, Addr: s.access.hostPort(), k: k, s: s.server}
}

// Kill ends the server without a goodbye, by the signal 9, and returns when nobody listens.
func (d *Durable) Kill(t testing.TB) {
	t.Helper()
	d.order(t, orderKill, false)
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", d.Addr)
		if err != nil {
			return
		}
		_ = c.Close()
	}
	t.Fatalf("testserver: %s still listens %v after it was killed", d.k.name, startLimit)
}

// Start starts the server again after Kill, at the same address, and returns when it serves.
func (d *Durable) Start(t testing.TB) {
	t.Helper()
	d.order(t, orderStart, true)
	if err := d.s.wait(d.k.probe); err != nil {
		t.Fatalf("testserver: %s does not start again: %v", d.k.name, err)
	}
}

// order sends the supervisor an order. They take turns: the supervisor does not look which of
// the two it is.
func (d *Durable) order(t testing.TB, order string, down bool) {
	t.Helper()
	if d.down != down {
		t.Fatalf("testserver: %s %s: it is down: %t", order, d.k.name, d.down)
	}
	d.down = !down
	if _, err := d.s.pipe.Write([]byte(order + "\n")); err != nil {
		t.Fatal(err)
	}
}
