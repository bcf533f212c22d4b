package bench

import (
	"encoding/gob"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session/internal/testing/testserver"
)

// What the other libraries need registered for the values of a session.
func init() {
	gob.Register(time.Time{})
	gob.Register(map[string]string{})
}

func TestMain(m *testing.M) { testserver.Main(m) }

// size returns full with BENCH_FULL=1, else small.
func size(small, full int) int {
	if os.Getenv("BENCH_FULL") == "1" {
		return full
	}
	return small
}

var configured sync.Map

// configure prints a line of configuration, as benchmark output may hold, once.
// It must not be called while a line of results is being printed, that is, from
// a benchmark that has none below it.
func configure(key, value string) {
	if _, done := configured.LoadOrStore(key, value); !done {
		fmt.Printf("%s: %s\n", key, value)
	}
}

func must[T any](tb testing.TB) func(val T, err error) T {
	tb.Helper()
	return func(val T, err error) T {
		tb.Helper()
		check(tb, err)
		return val
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
