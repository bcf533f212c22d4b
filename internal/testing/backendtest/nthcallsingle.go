package backendtest

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
)

// values are those of a session.
type values = map[string]string

// kindOfRequest is a request, and what is stored after it.
type kindOfRequest struct {
	name, path string
	firstPath  string             // a page that is requested before, empty for none
	after      func(was values)   // changes what was stored to what is stored after the request
	check      func(r *nthResult) // what is stored
	noSession  bool               // the visitor has none before
	takesFlash bool               // a flash waits, and is shown
	touches    bool               // each request extends the session
	ofOwner    bool               // the request needs an owner, and ends the owner's other sessions
}

func unchanged(values)   {}
func setsNew(v values)   { v["a"] = "new" }
func losesAll(v values)  { clear(v) }
func addsOne(v values)   { v["n"] = "1" }
func setsFlash(v values) { v["flash"] = "hello" }
func takeFlash(v values) { delete(v, "flash") }
func livesLong(v values) { v["long"] = "yes" }

var kindsOfRequest = []kindOfRequest{
	{name: "first visit", path: "/set?a=new", noSession: true, after: setsNew, check: begins},
	{name: "read", path: "/get", after: unchanged, check: stays},
	{name: "touch", path: "/get", touches: true, after: unchanged, check: stays},
	{name: "set", path: "/set?a=new", after: setsNew, check: stays},
	{name: "add", path: "/add", after: addsOne, check: stays},
	{name: "renew", path: "/renew", after: unchanged, check: moves},
	{name: "login", path: "/login?a=new", after: setsNew, check: moves},
	{name: "flash set", path: "/flash", after: setsFlash, check: stays},
	{name: "flash taken", path: "/get", firstPath: "/flash", takesFlash: true, after: takeFlash, check: stays},
	{name: "flush", path: "/flush", after: losesAll, check: stays},
	{name: "logout", path: "/logout", after: unchanged, check: ends},
	{name: "lifetime", path: "/remember", after: livesLong, check: stays},
	{name: "end owned", path: "/end", ofOwner: true, after: unchanged, check: stays},
}

// begins checks a session that the request begins.
func begins(r *nthResult) {
	if !r.ok {
		r.either(r.new, "", r.will)
		return
	}
	r.either(r.new, r.will)
	r.either(r.v.id(), r.sid)
}

// stays checks a session that the request changes, or not, under its ID.
func stays(r *nthResult) {
	r.either(r.new, "")
	if r.ok {
		r.either(r.now, r.will)
	} else {
		r.either(r.now, r.was, r.will)
	}
}

// moves checks a session that the request gives a new ID.
func moves(r *nthResult) {
	switch {
	case r.ok:
		r.either(r.new, r.will)
		r.either(r.v.id(), r.sid)
		r.either(r.now, "")
	case r.now == "":
		r.either(r.new, r.will)
	default:
		r.either(r.now, r.was)
		r.either(r.new, "")
	}
}

// ends checks a session that the request ends.
func ends(r *nthResult) {
	r.either(r.new, "")
	if r.ok {
		r.either(r.now, "")
		r.either(r.v.id(), "")
	} else {
		r.either(r.now, r.was, "")
	}
}

// hiddenFaults are the faults that a visitor must not see, and why.
var hiddenFaults = []struct{ how, method, why string }{
	{failsBefore, "Insert", "nothing is under the ID, which nobody else knows, so it is inserted again"},
	{failsAfter, "Insert", "what is under the ID, which nobody else knows, is what was inserted"},
	{failsBefore, "Rename", "the old ID still has its record, so it is renamed again"},
	{failsAfter, "Rename", "what is under the new ID, which nobody else knows, is what was written"},
	{failsAfter, "Swap", "the bytes under the ID are those that were written"},
	// Not so a Swap that was not made: the record was written a moment ago, so it may have been
	// changed and made the same again since. Nor a write that was surely not applied: the
	// backend has tried again itself, as often as it helps. Nor a call that hangs, as it uses up
	// the time of the request.
}

// mustBeHidden reports whether this fault must not be seen by the visitor. Of a flash that is being
// taken each may be seen: it is rather lost than shown twice.
func (r *nthResult) mustBeHidden() bool {
	for _, f := range hiddenFaults {
		if f.how == r.try.how && f.method == r.hit {
			return !r.takesFlash
		}
	}
	return false
}

// nthCase is the test of one kind of request.
type nthCase struct {
	*faultyApp
	kindOfRequest
	*counts
	how string

	owner    string
	stranger bystander
	siblings []bystander // other sessions of the owner
}

// nthResult is what became of a request one of whose calls has failed.
type nthResult struct {
	*nthCase
	*try
	v     *visitor
	oldID string
	was   string // stored before
	will  string // stored after it, if nothing fails
	shown string // to the handler

	status int
	ok     bool // the status is 200
	errs   []error
	body   string
	now    string // stored under the old ID
	new    string // stored under the new ID
}

// run has each call of the request fail.
func (c *nthCase) run() {
	c.t.Helper()
	eachCall(c.t, func(n int) bool {
		r := c.prepare(n)
		r.request()
		r.checkAnswer()
		r.checkStored()
		r.goOn()
		r.checkOthers()
		c.forget(r.oldID, r.sid, r.v.id())
		return r.hit != ""
	})
}

// prepare returns a visitor, and what is expected of the request.
func (c *nthCase) prepare(n int) *nthResult {
	c.t.Helper()
	if c.stranger.visitor == nil || c.ofOwner {
		c.owner = fmt.Sprint("owner", names.Add(1))
		c.stranger = c.bystander("other" + c.owner)
		c.siblings = []bystander{c.bystander(c.owner), c.bystander(c.owner)}
	}
	r := &nthResult{nthCase: c, try: &try{how: c.how, at: n}, v: c.visitor("")}
	if !c.noSession {
		r.v = c.someone(c.owner)
	}
	if c.firstPath != "" {
		r.v.ok(c.firstPath)
	}
	r.oldID = r.v.id()
	r.was = c.stored(r.oldID)
	will := c.storedValues(r.oldID)
	if will == nil {
		will = make(values)
	}
	shown := maps.Clone(will)
	delete(shown, "long")
	c.after(will)
	r.will, r.shown = textOf(will), textOf(shown)
	return r
}

// request makes the request, and looks what is stored.
func (r *nthResult) request() {
	r.t.Helper()
	w := r.v.Do(r.with(httptest.NewRequest(http.MethodGet, r.path, nil)))
	r.status, r.ok, r.body = w.Code, w.Code == http.StatusOK, w.Body.String()
	r.errs = r.takeErrors()
	r.counts.note(1, numberOf(!r.ok), r.hit)
	r.now = r.stored(r.oldID)
	if r.sid != r.oldID {
		r.new = r.stored(r.sid)
	}
}

// checkAnswer checks the response and the errors. An unchanged session is extended by an Extend or,
// if it has an owner, by a Swap with the same bytes. If that call fails the response is no 500, and
// the fault is reported, unless the store could hide it.
func (r *nthResult) checkAnswer() {
	r.t.Helper()
	extends := r.hit == "Extend" || r.touches && r.hit == "Swap"
	least, most := numberOf(!r.ok || r.hit == "Extend"), numberOf(!r.ok || extends)
	switch {
	case !r.ok && r.status != http.StatusInternalServerError:
		r.fail("another status")
	case len(r.errs) < least || len(r.errs) > most:
		r.fail("%d errors", len(r.errs))
	case extends && !r.ok:
		r.fail("nothing that the visitor needs has failed")
	case !r.ok && r.v.id() != r.oldID:
		r.fail("a response with an error has sent a cookie")
	case !r.ok && r.hit == "":
		r.fail("a request without a fault")
	case !r.ok && r.mustBeHidden():
		r.fail("the visitor sees a fault that can be hidden")
	case r.ok && r.body != r.shown:
		r.fail("the handler has seen %s, want %s", r.body, r.shown)
	case r.endless:
		r.fail("a call has no deadline")
	}
	noSecrets(r.fail, r.errs, append(r.ids, r.sid, r.v.id(), r.owner)...)
}

func (r *nthResult) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("call %d (%s) fails, status %d, %v: %s", r.at, r.hit, r.status, r.errs, fmt.Sprintf(format, args...))
}

// checkStored checks what is stored.
func (r *nthResult) checkStored() {
	r.t.Helper()
	if r.now != "" && r.new != "" {
		r.fail("both IDs are alive")
	}
	r.check(r)
}

// either fails if something is none of what it may be.
func (r *nthResult) either(got string, wants ...string) {
	r.t.Helper()
	if !slices.Contains(wants, got) {
		r.fail("%q is stored or sent, want one of %q", got, wants)
	}
}

// goOn has the visitor go on without a fault: with the session as it is stored, or without one,
// and an ID that is dead stays so.
func (r *nthResult) goOn() {
	r.t.Helper()
	id := r.v.id()
	want := r.storedValues(id)
	alive := want != nil
	delete(want, "long")
	if got := r.v.ok("/get"); got != textOf(want) {
		r.fail("the next request shows %s, want %s", got, textOf(want))
	}
	r.v.ok("/set?z=1")
	if got := r.storedValues(r.v.id()); alive && (r.v.id() != id || got["z"] != "1") {
		r.fail("the session goes on as %v", got)
	}
	if dead := !alive || id != r.oldID; dead && r.stored(r.oldID) != "" {
		r.fail("the old ID is alive: %s", r.stored(r.oldID))
	}
}

// checkOthers checks the sessions of others.
func (r *nthResult) checkOthers() {
	r.t.Helper()
	r.stranger.isUntouched(r.fail)
	for _, s := range r.siblings {
		switch {
		case !r.ofOwner:
			s.isUntouched(r.fail)
		case r.ok:
			r.either(r.stored(s.id()), "")
		default:
			r.either(r.stored(s.id()), s.was, "")
		}
	}
}
