package testserver

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var durables = []func(testing.TB) *Durable{DurablePostgres, DurableMySQL, DurableRedis, DurableMongo}

// A server serves, is killed, serves again at the same address, time and again, and is gone with
// its folder at the end of the test, killed or not.
func TestDurable(t *testing.T) {
	for i, k := range []*kind{postgres, mysql, redis, mongo} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			need(t, k)
			for _, down := range []bool{false, true} {
				var dir string
				t.Run(map[bool]string{false: "ends", true: "ends while it is down"}[down], func(t *testing.T) {
					d := durables[i](t)
					dir = d.s.plan.Dir
					serves := func() bool {
						c, err := net.Dial("tcp", d.Addr)
						if err != nil {
							return false
						}
						defer c.Close()
						return k.probe(c) == nil
					}
					for range 2 {
						if !serves() {
							t.Fatal("it does not serve")
						}
						d.Kill(t)
						if serves() {
							t.Fatal("it serves though it was killed")
						}
						d.Start(t)
					}
					if down {
						d.Kill(t)
					}
				})
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("folder at the end: %v, want it gone", err)
				}
				if left := processes(t, dir); len(left) > 0 {
					t.Errorf("processes at the end: %q", left)
				}
			}
		})
	}
}

// What was answered is there after a kill. (Of the other servers the tests of what they are for
// show it.)
func TestDurableKeeps(t *testing.T) {
	t.Parallel()
	need(t, redis)
	d := DurableRedis(t)
	s := &RedisServer{Addr: d.Addr}
	s.MustDo(t, "SET", "key", "kept")
	d.Kill(t)
	d.Start(t)
	if got := s.MustDo(t, "GET", "key"); got != "kept" {
		t.Errorf("after a kill the value is %q", got)
	}
}

// A server of the environment is not one that a test may kill, and where there is no program the
// test is skipped, or fails with CI=true.
func TestDurableMissing(t *testing.T) {
	t.Setenv("REDIS_HOST", "elsewhere")
	absent := *redis
	absent.find = func() (string, error) { return "", errMissing }
	for ci, want := range map[string]func(*fake) string{
		"":     func(f *fake) string { return f.skipped },
		"true": func(f *fake) string { return f.failed },
	} {
		t.Setenv("CI", ci)
		f := new(fake)
		var wg sync.WaitGroup
		wg.Go(func() { durable(f, &absent) })
		wg.Wait()
		if got := want(f); !strings.Contains(got, "Redis is not installed: apt-get install redis-server") || f.skipped != "" && f.failed != "" {
			t.Errorf("CI=%s: %+v", ci, f)
		}
	}
	t.Setenv("CI", "")
	need(t, redis)
	if d := DurableRedis(t); !strings.HasPrefix(d.Addr, loopback) {
		t.Errorf("the server is at %s", d.Addr)
	}
}

// A server that cannot start again is tried for a while, and then the test fails.
func TestDurableDoesNotStart(t *testing.T) {
	t.Parallel()
	need(t, redis)
	f := &fake{TB: t}
	once := *redis
	once.plan = func(program, dir string, a access) plan {
		p := redis.plan(program, dir, a)
		p.Server = append([]string{"/bin/sh", "-c", "mkdir once && exec \"$@\"", "sh"}, p.Server...)
		return p
	}
	g := new(group)
	defer g.stop()
	if _, err := g.address(&once); err != nil {
		t.Fatal(err)
	}
	s := g.slots[&once]
	d := &Durable{Addr: s.access.hostPort(), k: &once, s: s.server}
	d.Kill(t)
	var wg sync.WaitGroup
	wg.Go(func() { d.Start(f) })
	wg.Wait()
	if !strings.Contains(f.failed, "Redis does not start again: it ended") {
		t.Errorf("%+v", f)
	}
	log, err := os.ReadFile(filepath.Join(s.server.plan.Dir, "log"))
	if tries := strings.Count(string(log), "mkdir"); err != nil || tries < 2 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

// To kill what is down, or to start what is up, is a mistake of the test.
func TestDurableOrders(t *testing.T) {
	t.Parallel()
	for order, d := range map[string]*Durable{"kill": {k: redis, down: true}, "start": {k: redis}} {
		f := new(fake)
		var wg sync.WaitGroup
		wg.Go(func() {
			if order == "kill" {
				d.Kill(f)
			} else {
				d.Start(f)
			}
		})
		wg.Wait()
		if !strings.Contains(f.failed, order+" Redis: it is down:") {
			t.Errorf("%s: %+v", order, f)
		}
	}
}
