package backendtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// pairOfRequests is two requests of one visitor that overlap. A call of the first one fails.
type pairOfRequests struct {
	hit, other string // paths
	before     string // a page that is requested before, empty for none
	ofOwner    bool   // the first is by another visitor, of the same owner
	check      func(r *pairResult)
}

const beside = " beside "

func (p pairOfRequests) name() string { return p.hit[1:] + beside + p.other[1:] }

// pairResult is what became of a pair.
type pairResult struct {
	*pairCase
	two    bool      // two instances have served them
	before string    // the ID
	now    values    // what is stored under it, nil if nothing is
	new    [2]values // what is stored under the new IDs
	ok     [2]bool
	shown  [2]string
	fail   func(format string, args ...any)
}

var pairsOfRequests = []pairOfRequests{
	{hit: "/set?a=new", other: "/set?b=new", check: func(r *pairResult) {
		for i, key := range []string{"a", "b"} {
			if r.ok[i] && r.now[key] != "new" {
				r.fail("what was answered is not stored: %v", r.now)
			}
		}
		if r.now["kept"] == "" {
			r.fail("a key is lost: %v", r.now)
		}
	}},
	{hit: "/add", other: "/add", check: func(r *pairResult) {
		n := 0
		_, _ = fmt.Sscan(r.now["n"], &n)
		if answered := numberOf(r.ok[:]...); n < answered || n > 2 {
			r.fail("%d additions were answered, and the number is %d", answered, n)
		}
	}},
	{hit: "/renew", other: "/set?b=new", check: func(r *pairResult) {
		if (r.now == nil) == (r.new[0] == nil) {
			r.fail("under the old ID is %v, under the new one %v", r.now, r.new[0])
		}
		if r.now != nil && (r.ok[0] || r.ok[1] && r.now["b"] != "new") {
			r.fail("the old ID has %v", r.now)
		}
	}},
	{hit: "/set?b=new", other: "/renew", check: func(r *pairResult) {
		if (r.now == nil) == (r.new[1] == nil) {
			r.fail("under the old ID is %v, under the new one %v", r.now, r.new[1])
		}
		if r.now != nil && (r.ok[1] || r.ok[0] && r.now["b"] != "new") {
			r.fail("the old ID has %v", r.now)
		}
	}},
	{hit: "/login?a=new", other: "/login?b=new", check: func(r *pairResult) {
		kept := 0
		for _, v := range []values{r.now, r.new[0], r.new[1]} {
			if v["kept"] != "" {
				kept++
			}
		}
		if kept > 1 || r.now != nil && (r.new[0] != nil || r.new[1] != nil) {
			r.fail("under the old ID is %v, under the new ones %v", r.now, r.new)
		}
		for i, key := range []string{"a", "b"} {
			// Another instance may look before the mark is there that tells a renewal from an end.
			dropped := r.two && r.new[i] == nil && r.new[1-i] != nil
			if r.ok[i] && r.new[i][key] != "new" && !dropped {
				r.fail("a login that was answered has %v", r.new[i])
			}
		}
	}},
	{hit: "/logout", other: "/set?b=new", check: func(r *pairResult) {
		if r.ok[0] && r.now != nil || r.now != nil && r.ok[1] && r.now["b"] != "new" {
			r.fail("%v is stored", r.now)
		}
	}},
	{hit: "/set?b=new", other: "/logout", check: func(r *pairResult) {
		if r.ok[1] && r.now != nil || r.now != nil && r.ok[0] && r.now["b"] != "new" {
			r.fail("%v is stored", r.now)
		}
	}},
	{hit: "/get", other: "/get", before: "/flash", check: func(r *pairResult) {
		n := 0
		for i, text := range r.shown {
			if r.ok[i] && strings.Contains(text, "hello") {
				n++
			}
		}
		if strings.Contains(r.visitor(r.before).ok("/get"), "hello") {
			n++
		}
		if n > 1 {
			r.fail("the flash is shown %d times", n)
		}
	}},
	{hit: "/end", other: "/set?b=new", ofOwner: true, check: func(r *pairResult) {
		if r.ok[0] && r.now != nil {
			r.fail("a session of the owner is alive: %v", r.now)
		}
	}},
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

// pairCase is the test of a pair.
type pairCase struct {
	*faultyApp
	pairOfRequests
	*counts
	how string

	stranger *visitor
}

// run lets each call of the first request fail, a few times.
func (p *pairCase) run() {
	const most = 8
	rounds := 2
	if p.how == hangs || p.how == hangsAfter {
		rounds = 1
	}
	for n := 1; n <= most; n++ {
		hit := false
		for round := range rounds {
			hit = p.once(n, round%2 == 1) || hit
			if p.t.Failed() {
				return
			}
		}
		if !hit {
			return
		}
	}
}

// once reports whether a call has failed. One instance serves both requests at the same time. Of two
// instances the second serves its request while the call fails: after the one, before the other
// knows.
func (p *pairCase) once(n int, two bool) bool {
	p.t.Helper()
	owner := fmt.Sprint("owner", names.Add(1))
	if p.stranger == nil {
		p.stranger = p.someone("other" + owner)
	}
	v, strangers := p.someone(owner), p.stored(p.stranger.id())
	if p.before != "" {
		v.ok(p.before)
	}
	r := &pairResult{pairCase: p, two: two, before: v.id()}
	first := p.visitor(v.id())
	if p.ofOwner {
		first = p.someone(owner)
	}
	tries := [2]*try{{how: p.how, at: n}, {second: two}}
	visitors := [2]*visitor{first, p.visitor(v.id())}
	visit := func(i int, path string) {
		w := visitors[i].Do(tries[i].with(httptest.NewRequest(http.MethodGet, path, nil)))
		r.ok[i], r.shown[i] = w.Code == http.StatusOK, w.Body.String()
		if !r.ok[i] && w.Code != http.StatusInternalServerError {
			p.t.Errorf("status %d", w.Code)
		}
	}
	paths := [2]string{p.hit, p.pairOfRequests.other}
	if two {
		var once sync.Once
		tries[0].during = func() { once.Do(func() { visit(1, paths[1]) }) }
		visit(0, paths[0])
		tries[0].during()
	} else {
		meet := newMeeting()
		var wg sync.WaitGroup
		for i, path := range paths {
			tries[i].meet = meet
			wg.Go(func() {
				visit(i, path)
				if !tries[i].wasServed {
					meet.arrive()
				}
			})
		}
		wg.Wait()
	}
	errs := p.takeErrors()
	answered := numberOf(r.ok[:]...)
	p.counts.note(2, 2-answered, tries[0].hit)
	r.fail = func(format string, args ...any) {
		p.t.Helper()
		p.t.Errorf("call %d (%s) fails, answered by 200: %v, %v: %s", n, tries[0].hit, r.ok, errs, fmt.Sprintf(format, args...))
	}
	switch {
	case len(errs) != 2-answered:
		r.fail("%d errors", len(errs))
	case !r.ok[0] && tries[0].hit == "":
		r.fail("a request without a fault fails")
	case !r.ok[1] && (n == 1 || tries[0].hit == ""):
		r.fail("the other request fails")
	}
	r.now = p.storedValues(r.before)
	for i, tr := range tries {
		if tr.sid != r.before && (!p.ofOwner || i > 0) {
			r.new[i] = p.storedValues(tr.sid)
		}
		if tr.endless {
			r.fail("a call has no deadline")
		}
	}
	p.check(r)
	if got := p.stored(p.stranger.id()); got != strangers {
		r.fail("the session of somebody else was %s and is %s", strangers, got)
	}
	p.forget(r.before, first.id(), tries[0].sid, tries[1].sid)
	return tries[0].hit != ""
}
