package redisfaults

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/testserver"
)

// Migrate moves slots with sessions from server to server of a Cluster, while their visitors
// write. A slot is on its way for the given time: sessions are there in part at each of the servers. In
// that time other visitors get new IDs. With oneSlot all sessions are in the slot that moves. Nothing
// is lost, and, if strict, no request fails.
func Migrate(t *testing.T, open Open, oneSlot, strict bool, moves int, onItsWay time.Duration) string {
	masters := testserver.StartRedisCluster(t, 3)
	m := newMover(t, masters)
	prefix := prefix()
	if oneSlot {
		prefix = "{" + strings.TrimSuffix(prefix, ":") + "}:"
	}
	a := newApp(t, open(t, m.addrs, prefix))
	c := &crowd{}
	for range writers {
		c.writers = append(c.writers, &writer{visitor: a.visitor(t)})
	}
	c.start()
	begun := time.Now()
	moved := &crowd{} // visitors who get a new ID while their slot is on its way
	refused, renewedOnTheWay := 0, 0
	for i := range moves {
		w := c.writers[i%writers]
		m.move(t, prefix+w.id(), onItsWay, func() {})

		r := &renewer{visitor: a.visitor(t), t: t}
		moved.renewers = append(moved.renewers, r)
		m.move(t, prefix+r.id(), onItsWay, func() {
			if r.renew() {
				renewedOnTheWay++
			}
			if n, ok := r.number(); !ok || n != 0 {
				refused++
			}
		})
	}
	took := time.Since(begun)
	c.end(t)
	sum := c.total()
	for _, r := range moved.renewers {
		r.check()
	}
	_, failed, ended := moved.renewals()
	reasons := a.reasons(t, prefix)
	t.Logf("%v; %s", took, reasons)
	require.Zero(t, moved.revived(t, time.Now()))
	require.Zero(t, sum.lost, "a commit that was answered is lost")
	if strict {
		require.Empty(t, reasons, "requests failed")
		require.Zero(t, sum.failed+failed+refused+ended, "requests failed")
	}
	text := fmt.Sprintf("%d moves of %s with sessions, %d ms each: %d commits answered, 0 lost, %d requests failed, longest time without a success %d ms; "+
		"%d of %d renewals on the way succeeded, and %d of %d requests after them, %d sessions ended",
		2*moves, map[bool]string{false: "a slot", true: "the only slot"}[oneSlot], onItsWay.Milliseconds(),
		sum.commits, sum.failed, sum.outage.Milliseconds(),
		renewedOnTheWay, moves, moves-refused, moves, ended)
	if reasons != "" {
		text += " (" + reasons + ")"
	}
	return text
}

// mover moves slots.
type mover struct {
	masters []*testserver.RedisServer
	ids     []string
	addrs   []string
}

func newMover(t testing.TB, masters []*testserver.RedisServer) *mover {
	m := &mover{masters: masters}
	for _, s := range masters {
		m.ids, m.addrs = append(m.ids, s.MustDo(t, "CLUSTER", "MYID")), append(m.addrs, s.Addr)
	}
	return m
}

// owner returns the index of the master that has the slot of a key.
func (m *mover) owner(t testing.TB, key string) int {
	t.Helper()
	for i, s := range m.masters {
		if _, err := s.Do("EXISTS", key); err == nil { // else MOVED
			return i
		}
	}
	t.Fatal("no master has the slot")
	return 0
}

// move moves the slot of a key to the next master, as the tools of Redis do. Before the keys are at their
// new server, half of them are for half of the time, and all of them for the other half. Then,
// while the slot still belongs to the old server, it calls meanwhile.
func (m *mover) move(t testing.TB, key string, onItsWay time.Duration, meanwhile func()) {
	t.Helper()
	slot := m.masters[0].MustDo(t, "CLUSTER", "KEYSLOT", key)
	from := m.owner(t, key)
	to := (from + 1) % len(m.masters)
	source, target := m.masters[from], m.masters[to]
	target.MustDo(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", m.ids[from])
	source.MustDo(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", m.ids[to])
	half := true
	for {
		keys := strings.Fields(source.MustDo(t, "CLUSTER", "GETKEYSINSLOT", slot, "1000"))
		if len(keys) == 0 {
			break
		}
		if half {
			keys = keys[:(len(keys)+1)/2]
		}
		host, port, _ := net.SplitHostPort(target.Addr)
		source.MustDo(t, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...)
		if half {
			time.Sleep(onItsWay / 2)
			half = false
		}
	}
	meanwhile()
	time.Sleep(onItsWay / 2)
	// The target first: else it would send the keys of the slot back.
	for _, i := range []int{to, from, (to + 1) % len(m.masters)} {
		m.masters[i].MustDo(t, "CLUSTER", "SETSLOT", slot, "NODE", m.ids[to])
	}
}
