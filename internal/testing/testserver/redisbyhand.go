package testserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// Cluster starts a Redis Cluster of three masters and three replicas, and a master with a replica and
// three Sentinels, and prints how to reach them. It ends them, and returns, at an interrupt or
// when the process is told to end.
func Cluster(out io.Writer) (err error) {
	h := new(hand)
	defer h.end()
	defer func() {
		if thrown := recover(); thrown != nil {
			failure, ok := thrown.(handFailure)
			if !ok {
				panic(thrown)
			}
			err = errors.New(string(failure))
		}
	}()
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	cluster := StartRedisReplicas(h, 3)
	set := StartRedisSentinel(h, 1)
	_, port, _ := net.SplitHostPort(cluster.Masters[0].Addr)
	_, sentinel, _ := net.SplitHostPort(set.Sentinels[0].Addr)
	fmt.Fprintf(out, `# A Redis Cluster: three masters, and after them the replica of each.
export REDIS_CLUSTER='%s'
#   redis-cli -c -p %s cluster nodes
# Three Sentinels of a master and its replica.
export REDIS_SENTINELS='%s' REDIS_MASTER='%s'
#   redis-cli -p %s sentinel failover %[4]s
# Ctrl-C ends them all.
`, strings.Join(cluster.Addrs(), ","), port, strings.Join(set.Addrs(), ","), SentinelName, sentinel)
	<-end
	return nil
}

// hand stands for a test where people want the servers. It has what those who start Redis use of
// a test.
type hand struct {
	testing.TB
	ends []func()
}

// handFailure is what ends it.
type handFailure string

func (h *hand) Helper() {}

func (h *hand) Cleanup(end func()) { h.ends = append(h.ends, end) }

func (h *hand) TempDir() string {
	dir, err := os.MkdirTemp(tempParent(), "testserver-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = removeAll(dir) })
	return dir
}

func (h *hand) Fatal(args ...any)                 { panic(handFailure(fmt.Sprint(args...))) }
func (h *hand) Fatalf(format string, args ...any) { panic(handFailure(fmt.Sprintf(format, args...))) }
func (h *hand) Skip(args ...any)                  { h.Fatal(args...) }

// end calls what is to be called at the end, the last one first.
func (h *hand) end() {
	for len(h.ends) > 0 {
		last := h.ends[len(h.ends)-1]
		h.ends = h.ends[:len(h.ends)-1]
		last()
	}
}
