package faults

import (
	"testing"
	"time"

	"github.com/flamego/session/internal/testing/redisfaults"
)

// grace is how much later than the servers sessions may work again. (In the short form other rows
// and other packages run meanwhile.)
func grace() time.Duration {
	if full() {
		return 2 * time.Second // go-redis 8 dials once a second when all its dials have failed
	}
	return 15 * time.Second
}

// TestClusterMasterKilled kills masters of a Cluster below their visitors. Sessions work again when
// the replica has taken over, and what was given up before stays dead. It rests on slots that are
// asked for again as soon as a server does not answer.
func TestClusterMasterKilled(t *testing.T) {
	beside(t)
	t.Run("redis", func(t *testing.T) {
		figure(t, "%s", redisfaults.KillMasters(t, inCluster, rounds(1, 3), grace()))
	})
}

// TestClusterUnreplicated kills a master that is cut off from its replica, to measure what
// asynchronous replication may lose. In the full form also with min-replicas-to-write.
func TestClusterUnreplicated(t *testing.T) {
	beside(t)
	t.Run("redis", func(t *testing.T) { figure(t, "%s", redisfaults.Unreplicated(t, inCluster, false)) })
	if full() {
		t.Run("redis, min-replicas-to-write", func(t *testing.T) { figure(t, "%s", redisfaults.Unreplicated(t, inCluster, true)) })
	}
}

// TestSentinel kills the master of three Sentinels. In the full form it also has them replace a
// master that serves, after which they need 10 seconds to make that a replica.
func TestSentinel(t *testing.T) {
	beside(t)
	eachRedis(t, func(t *testing.T, c redisClient) {
		t.Run("killed", func(t *testing.T) { figure(t, "%s", redisfaults.Sentinel(t, c.sentinel, true, grace())) })
		if full() {
			t.Run("replaced", func(t *testing.T) { figure(t, "%s", redisfaults.Sentinel(t, c.sentinel, false, grace())) })
		}
	})
}

// TestSlotMigration moves slots with sessions to other servers of a Cluster. Nothing is lost, and no
// request fails. It rests on scripts that are sent on to the server which a redirect names
// (redis/cluster.go).
func TestSlotMigration(t *testing.T) {
	for name, oneSlot := range map[string]bool{"redis, a slot of many": false, "redis, one slot": true} {
		t.Run(name, func(t *testing.T) {
			beside(t)
			onItsWay := time.Duration(rounds(100, 500)) * time.Millisecond
			figure(t, "%s", redisfaults.Migrate(t, inCluster, oneSlot, true, rounds(2, 5), onItsWay))
		})
	}
}
