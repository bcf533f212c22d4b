package counting

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

// Leaks tests that nothing is left after Close: no goroutine of the store or its
// driver, and no connection.
func (s *Server) Leaks(t *testing.T) {
	p := s.proxy(t)
	left := Goroutines(t, func() {
		a, err := newApp(t, s.Open(t, p.Addr(), nil))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				visitor(t, a.App).visit()
			})
		}
		wg.Wait()
		if p.Conns() == 0 {
			t.Error("the proxy is not used")
		}
		for range 2 {
			if err := a.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	Eventually(t, func() string {
		if n := p.Conns(); n > 0 {
			return fmt.Sprintf("%d connections are left", n)
		}
		return ""
	})
	Eventually(t, left)
}

// Goroutines runs f and returns a function that tells which goroutines, started
// by f or by one of those, still run: nothing if there is none. It knows them by
// a label that goroutines inherit, so other tests may run meanwhile.
func Goroutines(t testing.TB, f func()) (left func() string) {
	t.Helper()
	label := fmt.Sprintf("%s %p", t.Name(), new(int64))
	pprof.Do(context.Background(), pprof.Labels("counting", label), func(context.Context) { f() })
	return func() string {
		var buf bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
			return err.Error()
		}
		var found []string
		for stack := range strings.SplitSeq(buf.String(), "\n\n") {
			if strings.Contains(stack, label) {
				found = append(found, stack)
			}
		}
		return strings.Join(found, "\n\n")
	}
}

// Eventually fails the test unless f soon has no problem to report.
func Eventually(t testing.TB, f func() string) {
	t.Helper()
	var problem string
	for range 1000 {
		if problem = f(); problem == "" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error(problem)
}
