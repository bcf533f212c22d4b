package history

import (
	"cmp"
	"slices"
)

// The checker knows for each step in which span of time it read and in which it
// committed. One step was certainly before another if its span ended before that
// of the other began; everything else is given the benefit of the doubt. So
// what it finds is wrong in every order that the steps can have had.
//
// IDs form chains: a session that was renewed is the heir of the one whose ID the
// request came with. What is read under an ID was written under it or under one
// before it in its chain.

// Check returns what is wrong with the history, with the steps that show it, or nothing. It sorts
// the steps, and narrows down when they had their effects.
func Check(steps []*Step) string {
	slices.SortFunc(steps, func(a, b *Step) int { return cmp.Compare(a.Begin, b.Begin) })
	c := &checker{steps: steps, writers: make(map[string]*Step), links: make(map[string]*Step), readers: make(map[string][]*Step)}
	c.prepare()
	for _, r := range c.steps {
		if !r.reads() {
			continue
		}
		if p := c.checkRenewal(r); p != "" {
			return p
		}
		for _, key := range allKeys {
			if key == FlashKey && !r.receives() {
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

// ends reports whether there is nothing under the ID when the step is over.
func (s *Step) ends(sid string) bool { return s.Sent == sid && sid != "" && (s.Ended || s.ID != sid) }

// committedBefore reports whether what a committed is certainly older than what b did. (Whether b has
// read it is another matter: a read begins with b.Begin.)
func committedBefore(a, b *Step) bool { return a.End < b.Commit }

type checker struct {
	steps   []*Step
	writers map[string]*Step   // by value
	readers map[string][]*Step // by value
	links   map[string]*Step   // the step that an ID is from
}

// prepare draws conclusions: what was read had been committed by then.
func (c *checker) prepare() {
	for _, s := range c.steps {
		for _, val := range s.written {
			c.writers[val] = s
		}
		if s.ID != s.Sent && s.Sent != "" {
			c.links[s.ID] = s
		}
	}
	for _, r := range c.steps {
		for _, val := range r.read {
			c.readers[val] = append(c.readers[val], r)
			if w := c.writers[val]; w != nil {
				w.Saved, w.End = true, min(w.End, r.Read)
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
		sid = link.Sent
	}
	return ids
}

// endings returns the steps that ended an ID or may have done so, without the one that handed its
// data on to the next in the chain.
func (c *checker) endings(chain []string, i int) (ends []*Step) {
	for _, s := range c.steps {
		if (s.ends(chain[i]) || c.endsOwned(s, chain[i])) && (i == 0 || s != c.links[chain[i-1]]) {
			ends = append(ends, s)
		}
	}
	return ends
}

// endsOwned reports whether the step may have ended an ID as one of those of the owner. The one
// that it came with it has kept, and an ID that is certainly newer it has not found.
func (c *checker) endsOwned(s *Step, sid string) bool {
	if !s.EndsOwned || s.Sent == sid {
		return false
	}
	link := c.links[sid]
	return link == nil || s.End >= link.Commit
}

// again reports whether w may have written under an ID after its end: it had seen
// nothing there and so began anew, or its changes were put on what another, who
// had seen nothing, had begun anew. What was there before the end stays dead.
func (c *checker) again(w, end *Step) bool {
	return mayOutlive(w, end) && (w.empty() && !c.isVoid(w) || slices.ContainsFunc(c.steps, func(s *Step) bool {
		return s != w && s.empty() && s.ID == w.ID && s.changes() && mayOutlive(s, end) && !c.isVoid(s)
	}))
}

// mayOutlive reports whether w may have committed after the end. A renewal that has found nothing under
// its ID leaves alone what is stored there after it has looked: see "First requests in parallel" in
// docs/design.md.
func mayOutlive(w, end *Step) bool {
	foundNothing := end.Renewed && !end.Ended && end.empty()
	return !committedBefore(w, end) || foundNothing && w.End >= end.Begin
}

// checkSeen checks that the values that were read were there to be read.
func (c *checker) checkSeen(r *Step, key string) string {
	vals := values(key, r.Seen[key])
	for i, val := range vals {
		if slices.Contains(vals[:i], val) {
			return c.broken(untouched, r, key, "an addition counts twice", c.writers[val])
		}
		if p := c.checkValue(r, key, val); p != "" {
			return p
		}
	}
	return ""
}

func (c *checker) checkValue(r *Step, key, val string) string {
	w := c.writers[val]
	if w == nil || !w.wrote(key, val) {
		return c.broken(apart, r, key, "a value is read that no request has left there", w)
	}
	chain := c.chain(r.Sent)
	at := slices.Index(chain, w.ID)
	switch {
	case at < 0:
		return c.broken(apart, r, key, "a value of another session is read", w)
	case w.Ended || w.Dropped:
		return c.broken(dead, r, key, "a value is read that came after the end of the session, as its writer was told", w)
	case w.Commit > r.Read:
		return c.broken(committed, r, key, "a value is read before it was committed", w)
	}
	for i := range at + 1 {
		until := r.Begin // when the data had to be there
		if i > 0 {
			until = c.links[chain[i-1]].Commit
		}
		for _, end := range c.endings(chain, i) {
			if end.Failed || end.EndsOwned {
				continue
			}
			if end.End < until && (i < at || !c.again(w, end)) {
				return c.broken(dead, r, key, "a value is read after the end of its session", w, end)
			}
		}
	}
	if at > 0 && committedBefore(c.links[chain[at-1]], w) {
		return c.broken(dead, r, key, "a value is read that was written under an ID that had been given up", w, c.links[chain[at-1]])
	}
	for _, end := range c.steps {
		// A session that gets a new ID meanwhile ends as well, so its chain makes no difference.
		if end.EndsOwned && !end.Failed && committedBefore(w, end) && end.End < r.Begin && !slices.Contains(chain, end.Sent) {
			return c.broken(dead, r, key, "a value is read after all sessions of its owner had been ended", w, end)
		}
	}
	return ""
}

// checkMissed checks that everything that was committed before a read was read,
// unless something later explains why it is not there.
func (c *checker) checkMissed(r *Step, key string) string {
	chain := c.chain(r.Sent)
	for _, w := range c.steps {
		at := slices.Index(chain, w.ID)
		if at < 0 || !w.Saved || w == r || !c.certain(w, r, chain, at) {
			continue
		}
		p := ""
		if key == SumKey {
			p = c.checkSum(r, w, chain[:at+1])
		} else if want, ok := w.effect(key); ok && want != r.Seen[key] {
			p = c.checkReplaced(r, key, w, chain[:at+1])
		}
		if p != "" {
			return p
		}
	}
	return ""
}

// checkReplaced checks a value that differs from the one that w has left.
func (c *checker) checkReplaced(r *Step, key string, w *Step, chain []string) string {
	val := r.Seen[key]
	if val == "" {
		if !c.explained(r, key, w, chain) {
			return c.broken(lost, r, key, "a committed value is lost", w)
		}
		return ""
	}
	later := c.writers[val]
	if committedBefore(later, w) && (key != FlashKey || !c.givenBack(r)) {
		return c.broken(committed, r, key, "a value is read that had been replaced or deleted", later, w)
	}
	return ""
}

// givenBack reports whether the flash that r has received may be an older one that was given back.
func (c *checker) givenBack(r *Step) bool {
	chain := c.chain(r.Sent)
	return slices.ContainsFunc(c.steps, func(s *Step) bool { return s.GaveBack && slices.Contains(chain, s.Sent) })
}

// checkSum checks that all is in a sum that w has added, and nothing that it has removed.
func (c *checker) checkSum(r, w *Step, chain []string) string {
	seen := values(SumKey, r.Seen[SumKey])
	if w.Flushed {
		for _, val := range seen {
			if added := c.writers[val]; added != w && committedBefore(added, w) {
				return c.broken(committed, r, SumKey, "an addition is read that had been flushed", added, w)
			}
		}
	}
	for _, val := range w.Added {
		if !slices.Contains(seen, val) && !c.explained(r, SumKey, w, chain) {
			return c.broken(lost, r, SumKey, "an addition is lost", w)
		}
	}
	return ""
}

// certain reports whether what w did was in the session when r read it, or would
// have been but for something later.
func (c *checker) certain(w, r *Step, chain []string, at int) bool {
	if w.End > r.Begin && !c.sawAny(r, w) {
		return false
	}
	for i := at; i > 0; i-- {
		// A session of which the request saw nothing may have begun after its data
		// was handed on.
		link := c.links[chain[i-1]]
		if committedBefore(w, link) {
			continue
		}
		if w.empty() || link.empty() || len(c.endings(chain, i)) > 0 || c.again(w, link) {
			return false
		}
	}
	return true
}

// mayHaveTaken reports whether a step may have taken away what was under the ID that it came
// with, though nobody saw it: the flash, or all of it, to a new ID that nobody was told.
func (s *Step) mayHaveTaken(key string) bool {
	return s.Failed && (s.Renewed || key == FlashKey && s.takes())
}

// sawAny reports whether r saw some of what w did: then it saw all of it.
func (c *checker) sawAny(r, w *Step) bool {
	for _, val := range w.written {
		if slices.Contains(c.readers[val], r) {
			return true
		}
	}
	return false
}

// explained reports whether something accounts for a key that is not there
// although w set it: a deletion, the end of the session, or, for a flash, a
// request that received it.
func (c *checker) explained(r *Step, key string, w *Step, chain []string) bool {
	for _, s := range c.steps {
		if s == r {
			continue
		}
		if key == FlashKey && s.takes() {
			if taken := c.writers[s.Seen[key]]; taken != nil && (taken == w || !committedBefore(taken, w)) {
				return true
			}
		}
		if key == FlashKey && s.GaveBack && s.Begin <= r.Read && slices.Contains(chain, s.Sent) {
			return true // nobody was shown it
		}
		if committedBefore(s, w) || s.Commit > r.Read || s == w {
			continue
		}
		if s.mayHaveTaken(key) && slices.Contains(chain, s.Sent) {
			return true
		}
		if val, ok := s.effect(key); ok && val == "" && slices.Contains(chain, s.ID) {
			return true
		}
	}
	for i := range chain {
		for _, s := range c.endings(chain, i) {
			if !committedBefore(s, w) && s.Commit < r.Read {
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
		for key, val := range w.written {
			readers := c.readers[val]
			if key == FlashKey && len(readers) > 1 {
				return c.broken(flash, readers[0], key, "a flash is received twice", append(readers[1:], w)...)
			}
			for i, r := range readers {
				for _, other := range readers[:i] {
					if !slices.Contains(c.chain(r.Sent), other.Sent) && !slices.Contains(c.chain(other.Sent), r.Sent) {
						return c.broken(dead, r, key, "one value is read under two IDs, of which only one can be the heir", w, other)
					}
				}
			}
		}
	}
	return ""
}
