package backendtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// pairOfRequests is two requests of one visitor that overlap. A call of the first one fails.
//
// For all pairs: what is under the old ID is whole, the session is under one ID at most, and under
// one exactly if no request ends it. What a request that was answered by 500 has changed may be
// stored, or not: each check leaves that open.
type pairOfRequests struct {
	hitPath, otherPath string
	firstPath          string // a page that is requested before, empty for none
	ends               bool   // the session may end
	ofOwner            bool   // the first is by another visitor, of the same owner
	check              func(r *pairResult)
}

func (p pairOfRequests) name() string { return p.hitPath[1:] + " beside " + p.otherPath[1:] }

// pairResult is what became of a pair.
type pairResult struct {
	*pairCase
	two    bool      // two instances have served them
	hit    string    // the method that has failed, empty for none
	oldID  string    // of the session, before
	now    values    // what is stored under it, nil if nothing is
	new    [2]values // what is stored under the ID that a request had at its end, if it is another
	ok     [2]bool
	shown  [2]string
	errs   []error
	failAt int
}

var pairsOfRequests = []pairOfRequests{
	{hitPath: "/set?a=new", otherPath: "/set?b=new", check: func(r *pairResult) {
		for i, key := range []string{"a", "b"} {
			if r.ok[i] && r.now[key] != "new" {
				r.fail("what was answered is not stored: %v", r.now)
			}
		}
	}},
	{hitPath: "/add", otherPath: "/add", check: func(r *pairResult) {
		n := 0
		_, _ = fmt.Sscan(r.now["n"], &n)
		if answered := numberOf(r.ok[:]...); n < answered || n > 2 {
			r.fail("%d additions were answered, and the number is %d", answered, n)
		}
	}},
	{hitPath: "/renew", otherPath: "/set?b=new", check: movesBeside(0)},
	{hitPath: "/set?b=new", otherPath: "/renew", check: movesBeside(1)},
	// A second login that finds the session renewed may be dropped, if another instance has
	// served it: it may look before the mark is there that tells a renewal from an end.
	{hitPath: "/login?a=new", otherPath: "/login?b=new", check: func(r *pairResult) {
		if r.now != nil && (r.new[0] != nil || r.new[1] != nil) {
			r.fail("under the old ID is %v, under the new ones %v", r.now, r.new)
		}
		for i, key := range []string{"a", "b"} {
			dropped := r.two && r.new[i] == nil && r.new[1-i] != nil
			if r.ok[i] && r.new[i][key] != "new" && !dropped {
				r.fail("a login that was answered has %v", r.new[i])
			}
		}
	}},
	{hitPath: "/logout", otherPath: "/set?b=new", ends: true, check: endsBeside(0)},
	{hitPath: "/set?b=new", otherPath: "/logout", ends: true, check: endsBeside(1)},
	// A flash is lost if it is not known whether it was taken: then a request is a 500.
	{hitPath: "/get", otherPath: "/get", firstPath: "/flash", check: func(r *pairResult) {
		n := 0
		for i, text := range r.shown {
			if r.ok[i] && strings.Contains(text, "hello") {
				n++
			}
		}
		if strings.Contains(r.visitor(r.oldID).ok("/get"), "hello") {
			n++
		}
		if n > 1 || n == 0 && r.ok[0] && r.ok[1] {
			r.fail("the flash is shown %d times", n)
		}
	}},
	{hitPath: "/end", otherPath: "/set?b=new", ends: true, ofOwner: true, check: endsBeside(0)},
}

// movesBeside checks a session to which one of the requests gives a new ID, while the other one sets b.
// What a request sets under an ID that was given up while it ran is dropped, so under the new ID
// there need be no b.
func movesBeside(renewal int) func(r *pairResult) {
	return func(r *pairResult) {
		if renewed := r.new[renewal]; (r.now == nil) == (renewed == nil) {
			r.fail("under the old ID is %v, under the new one %v", r.now, renewed)
		}
		if r.now != nil && (r.ok[renewal] || r.ok[1-renewal] && r.now["b"] != "new") {
			r.fail("the old ID has %v", r.now)
		}
	}
}

// endsBeside checks a session that one of the requests ends, while the other one sets b. What a
// request sets in a session that was ended while it ran is dropped. An end that was answered by 500
// may have been made: its answer was lost, or EndOwned could not look whether the owner has a session
// left.
func endsBeside(end int) func(r *pairResult) {
	return func(r *pairResult) {
		for _, v := range r.new {
			if v["kept"] != "" {
				r.fail("under another ID is %v", v)
			}
		}
		made := r.how == failsAfter || r.how == hangsAfter || r.hit == "Owned"
		switch {
		case r.ok[end] && r.now != nil:
			r.fail("what has ended is alive: %v", r.now)
		case r.now == nil && !r.ok[end] && !made:
			r.fail("the session is gone, and nobody has ended it")
		case r.now != nil && r.ok[1-end] && r.now["b"] != "new":
			r.fail("what was answered is not stored: %v", r.now)
		}
	}
}

// pairCase is the test of a pair.
type pairCase struct {
	*faultyApp
	pairOfRequests
	*counts
	how string

	stranger bystander
}

// run lets each call of the first request fail: beside a request to the same instance, and beside one
// to another instance. Where calls hang it leaves out the second: it takes long.
func (p *pairCase) run() {
	p.t.Helper()
	p.stranger = p.bystander(fmt.Sprint("other", names.Add(1)))
	eachCall(p.t, func(n int) bool {
		hit := p.once(n, false)
		if p.how != hangs && p.how != hangsAfter && !p.t.Failed() {
			hit = p.once(n, true) || hit
		}
		return hit
	})
}

// once reports whether a call has failed. One instance serves both requests at the same time. Of two
// instances the second serves its request while the call fails: after the one, before the other
// knows.
func (p *pairCase) once(n int, two bool) bool {
	p.t.Helper()
	owner := fmt.Sprint("owner", names.Add(1))
	v := p.someone(owner)
	if p.firstPath != "" {
		v.ok(p.firstPath)
	}
	r := &pairResult{pairCase: p, two: two, oldID: v.id(), failAt: n}
	visitors := [2]*visitor{p.visitor(v.id()), v}
	if p.ofOwner {
		visitors[0] = p.someone(owner)
	}
	ender := visitors[0].id()
	tries := [2]*try{{how: p.how, at: n}, {second: two}}
	r.request(visitors, tries)

	r.hit, r.errs = tries[0].hit, p.takeErrors()
	p.counts.note(2, numberOf(!r.ok[0], !r.ok[1]), r.hit)
	r.checkAnswers(tries)
	secrets := slices.Concat(tries[0].ids, tries[1].ids, []string{owner, r.oldID, ender, visitors[0].id(), visitors[1].id()})
	noSecrets(r.fail, r.errs, secrets...)
	r.now = p.storedValues(r.oldID)
	for i, tr := range tries {
		if tr.sid != r.oldID && tr.sid != ender {
			r.new[i] = p.storedValues(tr.sid)
		}
	}
	r.checkWhole()
	p.check(r)
	if p.ofOwner && p.storedValues(ender)["kept"] == "" {
		r.fail("the session that ends the others has ended")
	}
	p.stranger.isUntouched(r.fail)
	p.forget(r.oldID, ender, tries[0].sid, tries[1].sid)
	return r.hit != ""
}

// request makes both requests.
func (r *pairResult) request(visitors [2]*visitor, tries [2]*try) {
	r.t.Helper()
	paths := [2]string{r.hitPath, r.otherPath}
	visit := func(i int) {
		w := visitors[i].Do(tries[i].with(httptest.NewRequest(http.MethodGet, paths[i], nil)))
		r.ok[i], r.shown[i] = w.Code == http.StatusOK, w.Body.String()
		if !r.ok[i] && w.Code != http.StatusInternalServerError {
			r.t.Errorf("%s: status %d", paths[i], w.Code)
		}
	}
	if r.two {
		var once sync.Once
		tries[0].during = func() { once.Do(func() { visit(1) }) }
		visit(0)
		tries[0].during()
		return
	}
	meet := newMeeting()
	var wg sync.WaitGroup
	for i, tr := range tries {
		tr.meet = meet
		wg.Go(func() {
			visit(i)
			if !tr.wasServed {
				meet.arrive()
			}
		})
	}
	wg.Wait()
}

// checkAnswers checks the responses. Both requests may share a write that fails, but no read.
func (r *pairResult) checkAnswers(tries [2]*try) {
	r.t.Helper()
	switch {
	case len(r.errs) != numberOf(!r.ok[0], !r.ok[1]):
		r.fail("%d errors", len(r.errs))
	case !r.ok[0] && r.hit == "":
		r.fail("a request without a fault fails")
	case !r.ok[1] && (r.hit == "Load" || r.hit == ""):
		r.fail("the other request fails")
	case tries[0].endless || tries[1].endless:
		r.fail("a call has no deadline")
	}
}

// checkWhole checks what each pair must keep to.
func (r *pairResult) checkWhole() {
	r.t.Helper()
	if r.now != nil && r.now["kept"] == "" {
		r.fail("a key is lost: %v", r.now)
	}
	alive := 0
	for _, v := range []values{r.now, r.new[0], r.new[1]} {
		alive += numberOf(v["kept"] != "")
	}
	if alive > 1 || alive == 0 && !r.ends {
		r.fail("%d IDs have the session: under the old one is %v, under the new ones %v", alive, r.now, r.new)
	}
}

func (r *pairResult) fail(format string, args ...any) {
	r.t.Helper()
	instances := 1 + numberOf(r.two)
	r.t.Errorf("call %d (%s) fails, %d instances, answered by 200: %v, %v: %s", r.failAt, r.hit, instances, r.ok, r.errs, fmt.Sprintf(format, args...))
}
