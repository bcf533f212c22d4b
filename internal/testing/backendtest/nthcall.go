package backendtest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// NthCallFails has the first, the second, and so on, call of the backend in a request fail, until
// a request is served without a fault, for each kind of request and in each way that a call can
// fail. It does so over HTTP, with and without an owner. The response is 200 or 500, and a 500
// is reported once. What was answered by 200 is stored; what was answered by 500 is stored or not,
// but never half; what has ended stays dead; never two IDs of a session are alive; and nobody
// sees, or changes, what is another's. Then the same visitor goes on.
//
// The backends of one call of open may keep their records in one place.
func NthCallFails(t *testing.T, open func(t testing.TB) session.Backend) {
	nthCallFails(t, open, func(string) bool { return true })
}

// NthCallFailsShortly is NthCallFails for a slow server: without FAULTS=full it has single requests
// with an owner, whose calls fail at once or after they were made.
func NthCallFailsShortly(t *testing.T, open func(t testing.TB) session.Backend) {
	nthCallFails(t, open, func(name string) bool {
		short := strings.HasPrefix(name, "owner/"+failsBefore+"/") || strings.HasPrefix(name, "owner/"+failsAfter+"/")
		return os.Getenv("FAULTS") == "full" || short && !strings.Contains(name, beside)
	})
}

func nthCallFails(t *testing.T, open func(t testing.TB) session.Backend, wanted func(name string) bool) {
	var total counts
	defer func() {
		t.Logf("%d requests, %d calls that failed, %d requests answered by 500", total.requests.Load(), total.hits.Load(), total.failed.Load())
	}()
	all := make(map[string][]func(t *testing.T)) // the tests, by how a call fails
	for name, opts := range map[string]session.Options{
		"nobody": {},
		"owner":  {OwnerKey: "user"},
	} {
		b, ok := open(t).(ownersBackend)
		if !ok {
			t.Fatal("the backend has no index of owners")
		}
		if i, ok := b.(session.OwnerIniter); ok && opts.OwnerKey != nil {
			if err := i.InitOwners(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		_, quick := b.(*mapbackend.Backend) // in others fewer calls hang, as that takes long
		for _, how := range callFaults {
			if how == hangs || how == hangsAfter {
				opts.Timeout = hangTimeout
			}
			add := func(what string, test func(t *testing.T)) {
				if name := name + "/" + how + "/" + what; wanted(name) {
					all[how] = append(all[how], func(t *testing.T) { t.Run(name, test) })
				}
			}
			for _, kind := range kindsOfRequest {
				if opts.OwnerKey == nil && (kind.ofOwner || opts.Timeout > 0 && !quick) {
					continue
				}
				opts := opts
				if kind.touches {
					opts.TouchInterval = -1
				}
				add(kind.name, func(t *testing.T) {
					c := &nthCase{faultyApp: newFaultyApp(t, b, opts), kindOfRequest: kind, how: how, counts: &total}
					for n := 1; c.run(n) && !t.Failed(); n++ {
						if n == mostCalls {
							t.Fatalf("one request makes more than %d calls", n)
						}
					}
				})
			}
			for _, pair := range pairsOfRequests {
				if pair.ofOwner && opts.OwnerKey == nil || opts.Timeout > 0 && !quick {
					continue
				}
				opts := opts
				add(pair.name(), func(t *testing.T) {
					p := &pairCase{faultyApp: newFaultyApp(t, b, opts), pairOfRequests: pair, how: how, counts: &total}
					p.run()
				})
			}
		}
	}
	together(t, 2, slices.Concat(all[failsBefore], all[notApplied], all[failsAfter]))
	together(t, 16, slices.Concat(all[hangs], all[hangsAfter])) // who hangs needs no processor
}

// together runs tests, so many at a time.
func together(t *testing.T, most int, tests []func(t *testing.T)) {
	places := make(chan struct{}, most)
	var wg sync.WaitGroup
	for _, test := range tests {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			test(t)
		})
	}
	wg.Wait()
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

// values are those of a session.
type values = map[string]string

// kindOfRequest is a request, and what is stored after it.
type kindOfRequest struct {
	name, path string
	before     string           // a page that is requested before, empty for none
	after      func(was values) // changes what was stored to what is stored after the request
	first      bool             // the visitor has no session before
	renews     bool             // the session gets a new ID
	ends       bool             // the session ends
	takesFlash bool             // a flash waits, and is shown
	touches    bool             // each request extends the session
	ofOwner    bool             // the request needs an owner
}

func same(values) {}

var kindsOfRequest = []kindOfRequest{
	{name: "first visit", path: "/set?a=new", first: true, after: func(v values) { v["a"] = "new" }},
	{name: "read", path: "/get", after: same},
	{name: "touch", path: "/get", touches: true, after: same},
	{name: "set", path: "/set?a=new", after: func(v values) { v["a"] = "new" }},
	{name: "add", path: "/add", after: func(v values) { v["n"] = "1" }},
	{name: "renew", path: "/renew", renews: true, after: same},
	{name: "login", path: "/login?a=new", renews: true, after: func(v values) { v["a"] = "new" }},
	{name: "flash set", path: "/flash", after: func(v values) { v["flash"] = "hello" }},
	{name: "flash taken", path: "/get", before: "/flash", takesFlash: true, after: same},
	{name: "flush", path: "/flush", after: func(v values) { clear(v) }},
	{name: "logout", path: "/logout", ends: true, after: same},
	{name: "lifetime", path: "/remember", after: func(v values) { v["long"] = "yes" }},
	{name: "end owned", path: "/end", ofOwner: true, after: same},
}

// nthCase is the test of one kind of request.
type nthCase struct {
	*faultyApp
	kindOfRequest
	*counts
	how string

	owner string
	other *visitor   // somebody else
	same  []*visitor // other sessions of the owner
}

// names numbers visitors.
var names atomic.Int64

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

// run makes a request whose n-th call fails, and reports whether there was such a call.
func (c *nthCase) run(n int) (hit bool) {
	c.t.Helper()
	if c.other == nil || c.ofOwner {
		c.owner = fmt.Sprint("owner", names.Add(1))
		c.other, c.same = c.someone("other"+c.owner), []*visitor{c.someone(c.owner), c.someone(c.owner)}
	}
	v := c.visitor("")
	if !c.first {
		v = c.someone(c.owner)
	}
	if c.before != "" {
		v.ok(c.before)
	}
	before := v.id()
	was, others := c.stored(before), c.stored(c.other.id())
	will := c.storedValues(before)
	if will == nil {
		will = make(values)
	}
	shown := maps.Clone(will)
	delete(shown, "long")
	if c.takesFlash {
		delete(will, "flash")
	}
	c.after(will)

	tr := &try{how: c.how, at: n}
	w := v.Do(tr.with(httptest.NewRequest(http.MethodGet, c.path, nil)))
	errs := c.takeErrors()
	ok := w.Code == http.StatusOK
	c.counts.note(1, 1-numberOf(ok), tr.hit)
	fail := func(format string, args ...any) {
		c.t.Helper()
		c.t.Errorf("call %d (%s) fails, status %d, %v: %s", n, tr.hit, w.Code, errs, fmt.Sprintf(format, args...))
	}

	// The answer.
	switch {
	case !ok && w.Code != http.StatusInternalServerError:
		fail("another status")
	case !ok && len(errs) != 1, ok && len(errs) > 0 && !c.touches, len(errs) > 1:
		fail("%d errors", len(errs))
	case !ok && v.id() != before:
		fail("a response with an error has sent a cookie")
	case tr.hit == "" && !ok:
		fail("a request without a fault")
	case !ok && c.mustSucceed(tr.hit):
		fail("what became of the write can be known")
	case ok && w.Body.String() != textOf(shown):
		fail("the handler has seen %s, want %s", w.Body, shown)
	case tr.endless:
		fail("a call has no deadline")
	case len(errs) == 1 && (strings.Contains(errs[0].Error(), before) && before != "" || strings.Contains(errs[0].Error(), c.owner)):
		fail("an error shows an ID or an owner")
	}

	// What is stored.
	now, renewed := c.stored(before), ""
	if tr.sid != before {
		renewed = c.stored(tr.sid)
	}
	if now != "" && renewed != "" {
		fail("both IDs are alive")
	}
	either := func(got string, wants ...string) {
		c.t.Helper()
		for _, want := range wants {
			if got == want {
				return
			}
		}
		fail("%s is stored, want one of %q", got, wants)
	}
	switch {
	case c.first && ok:
		either(renewed, textOf(will))
		either(v.id(), tr.sid)
	case c.first:
		either(renewed, "", textOf(will))
	case c.renews && ok:
		either(renewed, textOf(will))
		either(v.id(), tr.sid)
		either(now, "")
	case c.renews && now == "":
		either(renewed, textOf(will))
	case c.renews:
		either(now, was)
	case c.ends && ok:
		either(now, "")
		either(v.id(), "")
	case c.ends:
		either(now, was, "")
	case ok:
		either(now, textOf(will))
	default:
		either(now, was, textOf(will))
	}
	for _, s := range c.same {
		if c.ofOwner && c.stored(s.id()) != "" && ok {
			fail("a session of the owner is alive")
		}
		if !c.ofOwner && c.stored(s.id()) == "" {
			fail("another session of the owner has ended")
		}
	}

	c.goOn(v, before, fail)
	if now := c.stored(c.other.id()); now != others {
		fail("the session of somebody else was %s and is %s", others, now)
	}
	c.forget(before, tr.sid, v.id())
	return tr.hit != ""
}

// mustSucceed reports whether the request must be answered by 200 whatever one fault it meets: the
// store can find out what became of the write.
func (c *nthCase) mustSucceed(hit string) bool {
	switch {
	case c.takesFlash: // it is rather lost than shown twice
		return false
	case c.how == failsAfter:
		return hit == "Insert" || hit == "Swap" || hit == "Rename"
	case c.how == failsBefore:
		return hit == "Insert" || hit == "Rename"
	}
	return false
}

// goOn has the visitor go on without a fault: with the session as it is stored, or without one,
// and an ID that is dead stays so.
func (c *nthCase) goOn(v *visitor, before string, fail func(string, ...any)) {
	c.t.Helper()
	id := v.id()
	want := c.storedValues(id)
	alive := want != nil
	delete(want, "long")
	if got := v.ok("/get"); got != textOf(want) {
		fail("the next request shows %s, want %s", got, textOf(want))
	}
	v.ok("/set?z=1")
	if got := c.storedValues(v.id()); alive && (v.id() != id || got["z"] != "1") {
		fail("the session goes on as %v", got)
	}
	if id == before && !alive && before != "" && c.stored(before) != "" {
		fail("the ID is alive again: %s", c.stored(before))
	}
	if before != "" && id != before && c.stored(before) != "" {
		fail("the old ID is alive: %s", c.stored(before))
	}
}
