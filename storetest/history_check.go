package storetest

import (
	"fmt"
	"slices"
	"strings"
)

// The checker knows for each step in which span of time it read and in which it
// committed. One step was certainly before another if its span ended before that
// of the other began; everything else is given the benefit of the doubt. So
// what it finds is wrong in every order that the steps can have had.
//
// IDs form chains: a session that was renewed is the heir of the one whose ID the
// request came with. What is read under an ID was written under it or under one
// before it in its chain.

// problem checks the history and returns what is wrong with it, with the steps
// that show it, or nothing.
func (h *history) problem() string {
	slices.SortFunc(h.steps, func(a, b *step) int { return int(a.begin - b.begin) })
	if len(h.failures) > 0 {
		return h.failures[0]
	}
	c := &checker{steps: h.steps, writers: make(map[string]*step), links: make(map[string]*step), readers: make(map[string][]*step)}
	c.prepare()
	for _, r := range c.steps {
		if !r.reads() {
			continue
		}
		for _, key := range append(historyKeys, flashKey) {
			if key == flashKey && !r.takes() {
				continue
			}
			if p := c.checkSeen(r, key); p != "" {
				return p
			}
			if p := c.checkMissed(r, key); p != "" {
				return p
			}
		}
	}
	return c.checkOnce()
}

func (s *step) reads() bool { return s.kind == "request" || s.kind == "read and save" }

// takes reports whether a flash that there is would have been taken.
func (s *step) takes() bool { return s.kind == "request" || s.kind == turnedAway }

// turnedAway is the kind of a request that has failed before its handler ran.
const turnedAway = "request without a handler"

// ends reports whether there is nothing under the ID when the step is over.
func (s *step) ends(sid string) bool { return s.sent == sid && sid != "" && (s.ended || s.id != sid) }

// before reports whether what a committed is certainly older than what b did.
func before(a, b *step) bool { return a.end < b.commit }

type checker struct {
	steps   []*step
	writers map[string]*step   // by value
	readers map[string][]*step // by value
	links   map[string]*step   // the step that an ID is from
}

// prepare draws conclusions: what was read had been committed by then.
func (c *checker) prepare() {
	for _, s := range c.steps {
		for _, val := range s.keys {
			if val != "" {
				c.writers[val] = s
			}
		}
		if s.id != s.sent && s.sent != "" {
			c.links[s.id] = s
		}
	}
	for _, r := range c.steps {
		for _, val := range r.seen {
			c.readers[val] = append(c.readers[val], r)
			if w := c.writers[val]; w != nil {
				w.saved, w.end = true, min(w.end, r.read)
			}
		}
	}
}

// chain returns the IDs whose data may be under this one, latest first.
func (c *checker) chain(sid string) (ids []string) {
	for sid != "" && !slices.Contains(ids, sid) {
		ids = append(ids, sid)
		link := c.links[sid]
		if link == nil {
			break
		}
		sid = link.sent
	}
	return ids
}

// endings returns the steps that ended an ID, without the one that handed its
// data on to the next in the chain.
func (c *checker) endings(chain []string, i int) (ends []*step) {
	for _, s := range c.steps {
		if s.ends(chain[i]) && (i == 0 || s != c.links[chain[i-1]]) {
			ends = append(ends, s)
		}
	}
	return ends
}

// again reports whether w may have written under an ID after its end: it had seen
// nothing there and so began anew, or its changes were put on what another, who
// had seen nothing, had begun anew. What was there before the end stays dead.
func (c *checker) again(w, end *step) bool {
	return !before(w, end) && (w.empty() || slices.ContainsFunc(c.steps, func(s *step) bool {
		return s != w && s.empty() && s.id == w.id && len(s.keys) > 0 && !before(s, end)
	}))
}

// checkSeen checks that a value that was read was there to be read.
func (c *checker) checkSeen(r *step, key string) string {
	val := r.seen[key]
	if val == "" {
		return ""
	}
	w := c.writers[val]
	if w == nil || w.keys[key] != val {
		return c.broken("I3", r, key, "a value is read that no request has left there", w)
	}
	chain := c.chain(r.sent)
	at := slices.Index(chain, w.id)
	switch {
	case at < 0:
		return c.broken("I3", r, key, "a value of another session is read", w)
	case w.ended || w.dropped:
		return c.broken("I2", r, key, "a value is read that came after the end of the session, as its writer was told", w)
	case w.commit > r.read:
		return c.broken("I1", r, key, "a value is read before it was committed", w)
	}
	for i := range at + 1 {
		until := r.begin // when the data had to be there
		if i > 0 {
			until = c.links[chain[i-1]].commit
		}
		for _, end := range c.endings(chain, i) {
			if end.end < until && (i < at || !c.again(w, end)) {
				return c.broken("I2", r, key, "a value is read after the end of its session", w, end)
			}
		}
	}
	if at > 0 && before(c.links[chain[at-1]], w) {
		return c.broken("I2", r, key, "a value is read that was written under an ID that had been given up", w, c.links[chain[at-1]])
	}
	return ""
}

// checkMissed checks that everything that was committed before a read was read,
// unless something later explains why it is not there.
func (c *checker) checkMissed(r *step, key string) string {
	val := r.seen[key]
	chain := c.chain(r.sent)
	for _, w := range c.steps {
		want, ok := w.effect(key)
		at := slices.Index(chain, w.id)
		if !ok || at < 0 || !w.saved || w == r || !c.certain(w, r, chain, at) || val == want {
			continue
		}
		switch {
		case val != "":
			if later := c.writers[val]; before(later, w) {
				return c.broken("I1", r, key, "a value is read that had been replaced or deleted", later, w)
			}
		case !c.explained(r, key, w, chain[:at+1]):
			return c.broken("I1 or I7", r, key, "a committed value is lost", w)
		}
	}
	return ""
}

// certain reports whether what w did was in the session when r read it, or would
// have been but for something later.
func (c *checker) certain(w, r *step, chain []string, at int) bool {
	if w.end > r.begin && !c.sawAny(r, w) {
		return false
	}
	for i := at; i > 0; i-- {
		// A session of which the request saw nothing may have begun after its data
		// was handed on.
		link := c.links[chain[i-1]]
		unclear := w.empty() || link.empty() || len(c.endings(chain, i)) > 0 || c.again(w, link)
		if unclear && !before(w, link) {
			return false
		}
	}
	return true
}

// mayHaveTaken reports whether a step that has failed may have taken away what was under
// the ID that it came with: the flash, or all of it, to a new ID that nobody was told.
func (s *step) mayHaveTaken(key string) bool {
	return s.failed && (s.renewed || key == flashKey && s.takes())
}

// sawAny reports whether r saw some of what w did: then it saw all of it.
func (c *checker) sawAny(r, w *step) bool {
	for _, val := range w.keys {
		if val != "" && slices.Contains(c.readers[val], r) {
			return true
		}
	}
	return false
}

// explained reports whether something accounts for a key that is not there
// although w set it: a deletion, the end of the session, or, for a flash, a
// request that received it.
func (c *checker) explained(r *step, key string, w *step, chain []string) bool {
	for _, s := range c.steps {
		if s == r {
			continue
		}
		if key == flashKey && s.takes() {
			if taken := c.writers[s.seen[key]]; taken != nil && (taken == w || !before(taken, w)) {
				return true
			}
		}
		if before(s, w) || s.commit > r.read || s == w {
			continue
		}
		if s.mayHaveTaken(key) && slices.Contains(chain, s.sent) {
			return true
		}
		if val, ok := s.effect(key); ok && val == "" && slices.Contains(chain, s.id) {
			return true
		}
	}
	for i := range chain {
		for _, s := range c.endings(chain, i) {
			if !before(s, w) && s.commit < r.read {
				return true
			}
		}
	}
	return false
}

// checkOnce checks what must not be seen in two places: a flash by two requests,
// the data of one session under two IDs that are not heirs of each other.
func (c *checker) checkOnce() string {
	for _, w := range c.steps {
		for key, val := range w.keys {
			readers := c.readers[val]
			if key == flashKey && len(readers) > 1 {
				return c.broken("flash", readers[0], key, "a flash is received twice", append(readers[1:], w)...)
			}
			for i, r := range readers {
				for _, other := range readers[:i] {
					if !slices.Contains(c.chain(r.sent), other.sent) && !slices.Contains(c.chain(other.sent), r.sent) {
						return c.broken("I2", r, key, "one value is read under two IDs, of which only one can be the heir", w, other)
					}
				}
			}
		}
	}
	return ""
}

// broken says which invariant a read breaks, and shows the steps that matter:
// the given ones, and whatever else changed the key or ended the session between
// them.
func (c *checker) broken(invariant string, r *step, key, what string, involved ...*step) string {
	chain := c.chain(r.sent)
	from := r.begin
	for _, s := range involved {
		if s != nil {
			from = min(from, s.begin)
		}
	}
	names := make(map[string]string)
	name := func(sid string) string {
		if _, ok := names[sid]; !ok && sid != "" {
			names[sid] = fmt.Sprintf("ID%d", len(names)+1)
		}
		return names[sid]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is broken: %s (key %s, client %d, step %d)\n", invariant, what, key, r.client, r.n)
	for _, s := range c.steps {
		_, changes := s.effect(key)
		matters := slices.Contains(chain, s.sent) && s.end >= from && s.begin <= r.read && (changes || s.ended || s.id != s.sent)
		if s != r && !slices.Contains(involved, s) && !matters {
			continue
		}
		fmt.Fprintf(&b, "  %4d-%-4d reads, %4d-%-4d commits: client %d, step %d: %s %s", s.begin, s.read, s.commit, s.end, s.client, s.n, s.kind, name(s.sent))
		if s.reads() {
			fmt.Fprintf(&b, ", sees %s = %q, then: %s", key, s.seen[key], strings.Join(s.did, ", "))
		}
		if s.id != s.sent {
			fmt.Fprintf(&b, " -> %s", name(s.id))
		}
		if s.dropped {
			b.WriteString(" (told that the session is gone)")
		}
		if s.failed {
			b.WriteString(" (failed)")
		}
		b.WriteString("\n")
	}
	return b.String()
}
