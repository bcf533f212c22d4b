package redisfaults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
)

// Open returns the options of an app whose sessions are at the servers of the addresses, with a
// prefix of the keys.
type Open func(t testing.TB, addrs []string, prefix string) session.Options

const (
	writers  = 8
	renewers = 2
	// replicated is how long before a failover a renewal must be to count as one that the replica has:
	// far more than the replica lags behind.
	replicated = 500 * time.Millisecond
)

// KillMasters kills masters of a Cluster of three, one after the other, below visitors whose
// sessions are there. They succeed again when the replica has taken its place, or at most grace
// later. What was given up before stays dead.
func KillMasters(t *testing.T, open Open, kills int, grace time.Duration) string {
	c := testserver.StartRedisReplicas(t, 3)
	prefix := prefix()
	a := newApp(t, open(t, c.Addrs(), prefix))
	var own, outage time.Duration
	var sum, others total
	renewed, failedRenewals, ended, revived := 0, 0, 0, 0
	for i := range kills {
		master := c.Masters[i]
		here := func() *visitor { return visitorAt(t, a, c, prefix, i) }
		gone := giveUp(t, here)
		theirs, elsewhere := &crowd{}, &crowd{}
		for range writers {
			theirs.writers = append(theirs.writers, &writer{visitor: here()})
			elsewhere.writers = append(elsewhere.writers, &writer{visitor: visitorAt(t, a, c, prefix, (i+1)%3)})
		}
		elsewhere.writers = elsewhere.writers[:2]
		for range renewers {
			theirs.renewers = append(theirs.renewers, &renewer{visitor: a.visitor(t), t: t})
		}
		theirs.start()
		elsewhere.start()
		time.Sleep(2 * replicated)
		master.AwaitReplicas(t)
		killed := time.Now()
		master.Kill()
		took := eventually(t, "the replica takes the place of its master", func() bool { return c.Taken(i) })
		over := time.Now()
		eventually(t, "all visitors are served", func() bool { return theirs.servedSince(over) && elsewhere.servedSince(over) })
		theirs.end(t)
		elsewhere.end(t)

		now := theirs.total()
		t.Logf("the Cluster took %v, and the visitors %v; %s", took, now.outage, a.reasons(t, prefix, master.Addr))
		require.LessOrEqual(t, now.outage, took+grace, "the visitors waited longer than the Cluster took")
		own, outage = max(own, took), max(outage, now.outage)
		sum.add(now)
		others.add(elsewhere.total())
		r, f, e := theirs.renewals()
		renewed, failedRenewals, ended = renewed+r, failedRenewals+f, ended+e
		revived += theirs.revived(t, killed.Add(-replicated))
		for _, id := range gone {
			require.False(t, a.Store().Exist(t.Context(), id), "an ID that was given up is alive")
		}
	}
	return fmt.Sprintf("%d masters killed: slots served again by the Cluster after %s, sessions after %s; "+
		"%d commits answered, %d of them lost; %d requests failed (and %d on other slots); %d renewals, %d requests of their visitors failed, %d sessions ended, %d old IDs of the last moment alive",
		kills, seconds(own), seconds(outage), sum.commits, sum.lost, sum.failed, others.failed, renewed, failedRenewals, ended, revived)
}

// OpenSentinel returns the options of an app whose sessions are with the master of the Sentinels.
type OpenSentinel func(t testing.TB, s *testserver.RedisSentinel, prefix string) session.Options

// Sentinel has Sentinels replace a master. If it is killed, visitors succeed again when a replica has
// taken its place, or at most grace later. What was given up before stays dead.
func Sentinel(t *testing.T, open OpenSentinel, kill bool, grace time.Duration) string {
	s := testserver.StartRedisSentinel(t, 1)
	prefix := prefix()
	a := newApp(t, open(t, s, prefix))
	here := func() *visitor { return a.visitor(t) }
	gone := giveUp(t, here)
	c := &crowd{}
	for range writers {
		c.writers = append(c.writers, &writer{visitor: here()})
	}
	for range renewers {
		c.renewers = append(c.renewers, &renewer{visitor: here(), t: t})
	}
	c.start()
	time.Sleep(2 * replicated)
	s.Master.AwaitReplicas(t)
	begun := time.Now()
	if kill {
		s.Master.Kill()
	} else {
		s.Sentinels[0].MustDo(t, "SENTINEL", "FAILOVER", testserver.SentinelName)
	}
	own := eventually(t, "a replica takes the place of the master", func() bool {
		now := s.Now()
		return now != nil && now != s.Master
	})
	over := time.Now()
	eventually(t, "all visitors are served", func() bool { return c.servedSince(over) })
	if !kill { // the Sentinels still have to make the former master a replica
		eventually(t, "the former master is a replica", func() bool {
			info, err := s.Master.Do("ROLE")
			return err == nil && strings.HasPrefix(info, "slave")
		})
		over = time.Now()
		eventually(t, "all visitors are served", func() bool { return c.servedSince(over) })
	}
	c.end(t)
	sum := c.total()
	t.Logf("the Sentinels took %v, and the visitors %v; %s", own, sum.outage, a.reasons(t, prefix, s.Master.Addr))
	require.LessOrEqual(t, sum.outage, own+grace, "the visitors waited longer than the Sentinels took")
	renewed, failedRenewals, ended := c.renewals()
	revived := c.revived(t, begun.Add(-replicated))
	for _, id := range gone {
		require.False(t, a.Store().Exist(t.Context(), id), "an ID that was given up is alive")
	}
	return fmt.Sprintf("the Sentinels had a new master after %s, the visitors sessions after %s; %d commits answered, %d of them lost; "+
		"%d requests failed; %d renewals, %d requests of their visitors failed, %d sessions ended, %d old IDs of the last moment alive",
		seconds(own), seconds(sum.outage), sum.commits, sum.lost, sum.failed, renewed, failedRenewals, ended, revived)
}

// giveUp returns IDs that were given up, by a logout and by a renewal.
func giveUp(t testing.TB, here func() *visitor) (gone []string) {
	t.Helper()
	for range 4 {
		out, renewed := here(), here()
		gone = append(gone, out.id(), renewed.id())
		require.True(t, out.ok("/logout"))
		require.True(t, renewed.ok("/renew"))
		n, ok := renewed.number()
		require.True(t, ok)
		require.Zero(t, n)
	}
	return gone
}

// visitorAt returns a visitor whose session is at a master, or at the replica that has taken its place.
func visitorAt(t testing.TB, a app, c *testserver.RedisCluster, prefix string, master int) *visitor {
	t.Helper()
	for {
		v := a.visitor(t)
		slot, err := strconv.Atoi(c.Replicas[master].MustDo(t, "CLUSTER", "KEYSLOT", prefix+v.id()))
		require.NoError(t, err)
		if n, slots := len(c.Masters), 1<<14; slot >= master*slots/n && slot < (master+1)*slots/n {
			return v
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Unreplicated cuts a master of a Cluster off from its replica, has visitors write and log out, and
// kills it. What they were promised in that time is lost with it: this is what asynchronous
// replication may lose. With minReplicas the master refuses to write without a replica, and nothing
// that was answered by 200 is lost.
func Unreplicated(t *testing.T, open Open, minReplicas bool) string {
	c := testserver.StartRedisReplicas(t, 3)
	prefix := prefix()
	a := newApp(t, open(t, c.Addrs(), prefix))
	if minReplicas {
		for _, s := range c.Servers() {
			s.MustDo(t, "CONFIG", "SET", "min-replicas-to-write", "1")
		}
	}
	v, out := visitorAt(t, a, c, prefix, 0), visitorAt(t, a, c, prefix, 0)
	id := out.id()
	require.True(t, v.ok("/set?1"))
	c.Masters[0].AwaitReplicas(t)
	a.TakeErrors()

	// The replica sleeps, so it does not come back at once when it has lost its master.
	asleep := make(chan error, 1)
	go func() {
		_, err := c.Replicas[0].Do("DEBUG", "SLEEP", "2")
		asleep <- err
	}()
	time.Sleep(100 * time.Millisecond)
	c.Masters[0].MustDo(t, "CLIENT", "KILL", "TYPE", "replica")
	time.Sleep(50 * time.Millisecond)
	last := 1
	for n := 2; n <= 10; n++ {
		if v.ok(fmt.Sprint("/set?", n)) {
			last = n
		}
	}
	loggedOut := out.ok("/logout")
	reasons := a.reasons(t, prefix)
	c.Masters[0].Kill()
	require.NoError(t, <-asleep)
	if minReplicas { // the replica is a master without a replica now
		c.Replicas[0].MustDo(t, "CONFIG", "SET", "min-replicas-to-write", "0")
	}
	eventually(t, "the replica takes the place of its master", func() bool { return c.Taken(0) })
	var now int
	eventually(t, "the session can be read again", func() (ok bool) {
		now, ok = v.number()
		return ok
	})
	lost, revived := last-now, loggedOut && a.Store().Exist(t.Context(), id)
	if minReplicas {
		require.Zero(t, lost)
		require.False(t, revived)
		require.Contains(t, reasons, "NOREPLICAS")
		return "with min-replicas-to-write 1: 0 commits answered, 0 lost; each request that writes is an error (" + reasons + ")"
	}
	require.Equal(t, 9, lost, "all that was written after the link broke")
	require.True(t, revived)
	return fmt.Sprintf("replica cut off from its master, %d commits and a logout answered, master killed: all %d commits lost, the logout undone", lost, lost)
}
