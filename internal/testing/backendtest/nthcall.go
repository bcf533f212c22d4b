package backendtest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/figures"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// NthCallFails has the first, the second, and so on, call of the backend in a request fail, until
// a request is served without a fault, for each kind of request and in each way that a call can
// fail. It does so over HTTP, with and without an owner. The response is 200 or 500, and a 500
// is reported once. What was answered by 200 is stored; what was answered by 500 is stored or not,
// but never half; what has ended stays dead; never two IDs of a session are alive; no error shows
// an ID or an owner; and nobody sees, or changes, what is another's. Then the same visitor goes on.
//
// The backends of one call of open may keep their records in one place.
func NthCallFails(t *testing.T, open func(t testing.TB) session.Backend) {
	nthCallFails(t, open, func(nthTest) bool { return true })
}

// NthCallFailsShortly is NthCallFails for what the store does on each backend alike: without FAULTS=full
// it has single requests with an owner, whose calls fail at once or after they were made.
func NthCallFailsShortly(t *testing.T, open func(t testing.TB) session.Backend) {
	nthCallFails(t, open, func(test nthTest) bool {
		short := test.owner && !test.pair && (test.how == failsBefore || test.how == failsAfter)
		return short || os.Getenv("FAULTS") == "full"
	})
}

// How many tests run at a time.
const (
	atOnce        = 2
	hangingAtOnce = 64 // whoever hangs needs no processor
)

// nthTest is a test of a request or of a pair, in one way to fail.
type nthTest struct {
	owner bool // sessions have owners
	pair  bool
	how   string
	name  string
	run   func(t *testing.T)
}

func (test nthTest) hangs() bool { return test.how == hangs || test.how == hangsAfter }

func nthCallFails(t *testing.T, open func(t testing.TB) session.Backend, wanted func(nthTest) bool) {
	var total counts
	var tests, hanging []nthTest
	for _, owner := range []bool{false, true} {
		for _, test := range nthTests(openOwners(t, open, owner), owner, &total) {
			switch {
			case !wanted(test):
			case test.hangs():
				hanging = append(hanging, test)
			default:
				tests = append(tests, test)
			}
		}
	}
	runTests(t, atOnce, tests)
	runTests(t, hangingAtOnce, hanging)
	text := fmt.Sprintf("%d requests, %d calls that failed, %d requests answered by 500", total.requests.Load(), total.hits.Load(), total.failed.Load())
	t.Log(text)
	if total.hits.Load() == 0 {
		t.Error("no call has failed, so nothing was tested")
	}
	if t.Failed() {
		return
	}
	row, subject, _ := strings.Cut(t.Name(), "/")
	pkg := strings.TrimSuffix(filepath.Base(os.Args[0]), ".test")
	if err := figures.Note(row, strings.TrimSuffix(pkg+" "+subject, " "), text); err != nil {
		t.Fatal(err)
	}
}

// openOwners opens a backend, whose index of owners is ready if sessions have owners.
func openOwners(t *testing.T, open func(t testing.TB) session.Backend, owner bool) ownersBackend {
	t.Helper()
	b, ok := open(t).(ownersBackend)
	if !ok {
		t.Fatal("the backend has no index of owners")
	}
	if i, ok := b.(session.OwnerIniter); ok && owner {
		if err := i.InitOwners(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// nthTests returns all tests of a backend.
func nthTests(b ownersBackend, owner bool, total *counts) (tests []nthTest) {
	_, quick := b.(*mapbackend.Backend) // in others fewer calls hang, as that takes long
	for _, how := range callFaults {
		test := nthTest{owner: owner, how: how}
		opts, prefix := session.Options{}, "nobody/"+how+"/"
		if owner {
			opts.OwnerKey, prefix = "user", "owner/"+how+"/"
		}
		if test.hangs() {
			opts.Timeout = hangTimeout
		}
		for _, kind := range kindsOfRequest {
			if !owner && (kind.ofOwner || test.hangs() && !quick) {
				continue
			}
			opts := opts
			if kind.touches {
				opts.TouchInterval = -1
			}
			test.pair, test.name = false, prefix+kind.name
			test.run = func(t *testing.T) {
				(&nthCase{faultyApp: newFaultyApp(t, b, opts), kindOfRequest: kind, how: how, counts: total}).run()
			}
			tests = append(tests, test)
		}
		for _, pair := range pairsOfRequests {
			if !owner && pair.ofOwner || test.hangs() && !quick {
				continue
			}
			test.pair, test.name = true, prefix+pair.name()
			test.run = func(t *testing.T) {
				(&pairCase{faultyApp: newFaultyApp(t, b, opts), pairOfRequests: pair, how: how, counts: total}).run()
			}
			tests = append(tests, test)
		}
	}
	return tests
}

// runTests runs tests, so many at a time.
func runTests(t *testing.T, most int, tests []nthTest) {
	places := make(chan struct{}, most)
	var wg sync.WaitGroup
	for _, test := range tests {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			t.Run(test.name, test.run)
		})
	}
	wg.Wait()
}

// eachCall has the first, the second, and so on, call fail, until there is no such call. The function
// once reports whether there was one.
func eachCall(t *testing.T, once func(n int) (hit bool)) {
	t.Helper()
	for n := 1; n <= mostCalls; n++ {
		switch hit := once(n); {
		case t.Failed():
			return
		case !hit && n == 1:
			t.Fatal("not even the first call has failed, so nothing was tested")
		case !hit:
			return
		}
	}
	t.Fatalf("a request makes more than %d calls", mostCalls)
}

// counts is what was done in all tests of a backend.
type counts struct{ requests, hits, failed atomic.Int64 }

// note counts requests, some of which were answered by 500, and whether a call has failed.
func (c *counts) note(requests, failed int, hit string) {
	c.requests.Add(int64(requests))
	c.failed.Add(int64(failed))
	if hit != "" {
		c.hits.Add(1)
	}
}

// numberOf returns how many are true.
func numberOf(all ...bool) (n int) {
	for _, ok := range all {
		if ok {
			n++
		}
	}
	return n
}

// failFunc fails a test, and says which call has failed.
type failFunc func(format string, args ...any)

// noSecrets fails if an error shows a secret: the ID of any call, or an owner.
func noSecrets(fail failFunc, errs []error, secrets ...string) {
	for _, err := range errs {
		if slices.ContainsFunc(secrets, func(s string) bool { return s != "" && strings.Contains(err.Error(), s) }) {
			fail("an error shows an ID or an owner")
		}
	}
}

// names numbers visitors.
var names atomic.Int64

// bystander is a visitor whose session is no business of the request.
type bystander struct {
	*visitor
	was string // stored before
}

func (a *faultyApp) bystander(owner string) bystander {
	a.t.Helper()
	v := a.someone(owner)
	return bystander{v, a.stored(v.id())}
}

// isUntouched fails if the session is not as it was.
func (b bystander) isUntouched(fail failFunc) {
	b.a.t.Helper()
	if now := b.a.stored(b.id()); now != b.was {
		fail("the session of somebody else was %s and is %q", b.was, now)
	}
}

// someone returns a visitor who has a session of an owner.
func (a *faultyApp) someone(owner string) *visitor {
	a.t.Helper()
	v := a.visitor("")
	v.ok("/set?a=old&kept=" + fmt.Sprint("of", names.Add(1)) + "&user=" + owner)
	return v
}

// ok makes a request without a fault, and returns what it shows.
func (v *visitor) ok(path string) string {
	v.a.t.Helper()
	w := v.Get(path)
	if errs := v.a.takeErrors(); w.Code != http.StatusOK || len(errs) > 0 {
		v.a.t.Fatalf("%s without a fault: status %d, %v", path, w.Code, errs)
	}
	return w.Body.String()
}
