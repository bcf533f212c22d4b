package history

import (
	"cmp"
	"time"

	"github.com/flamego/session/internal/state"
)

// A renewal leaves a mark under the ID that it gives up. What comes with that ID a moment later
// has no session, changes nothing and is sent no cookie. Without the mark such a request would
// begin a session of its own, whose cookie takes the place of the one with the new ID: the visitor
// is logged out. There is one exception, for a login that is sent twice: what a late request has
// set that renews as well is stored under a new ID of its own.
//
// A mark may be missing all the same, and nobody is told: where a fault has hit its insert, where the
// ID was ended once more, which takes the mark away, too, or where a request that had found nothing
// has begun a session there just before the mark: see "First requests in parallel" in
// docs/design.md. Then nothing is checked.

const (
	// quick is how long a renewal takes at most that has left its mark for sure: no operation of it
	// has run into its timeout.
	quick = time.Second
	// markedFor is how long there is a mark for sure. Clocks may differ a little.
	markedFor = state.MarkFor - time.Second
)

// checkRenewal checks a request that came with an ID that was given up: there is a mark.
func (c *checker) checkRenewal(s *Step) string {
	switch {
	case s.Unknown != "":
		if r := c.markedBy(s, s.Unknown, s.Begin, s.Read); r != nil {
			return c.broken(renewal, s, Root, "a request is in a new session, though its ID was given up only a moment ago", r)
		}
	case s.Renewed && s.Dropped && s.changes() && !s.GaveBack:
		if r := c.markedBy(s, s.Sent, s.Commit, s.End); r != nil {
			return c.broken(renewal, s, Root, "what a request has set that renews its session is lost, only because another one was faster to renew it", r)
		}
	}
	return ""
}

// isVoid reports whether a step that kept its ID found a mark there: then it has changed nothing.
func (c *checker) isVoid(s *Step) bool {
	return s.ID == s.Sent && c.markedBy(s, s.Sent, s.Begin, s.Read) != nil
}

// markedBy returns the renewal of an ID that began first by the clock on the wall, if the mark of one is
// there for sure when the step looks, between two ticks.
func (c *checker) markedBy(s *Step, sid string, from, to int64) (first *Step) {
	if sid == "" {
		return nil
	}
	begun, over := to, int64(0) // from when to when the renewals were
	moved := false              // one of them has found the session
	for _, r := range c.steps {
		known := !r.Failed && !r.GaveBack
		if r == s || r.Sent != sid || !r.Renewed || r.Ended || r.Begin > to || r.ID == sid && known {
			continue // it has given up nothing, or not yet
		}
		// One that was second may be over before the first one has left its mark.
		if !r.Calm || r.Until.Sub(r.Since) > quick || r.End >= from {
			return nil
		}
		if first == nil || r.Since.Before(first.Since) {
			first = r
		}
		// One that has found nothing may have come while another one tried in vain to renew a session
		// that had ended: its process takes it for renewed meanwhile.
		begun, over, moved = min(begun, r.Begin), max(over, r.End), moved || !r.empty()
	}
	if !moved || s.Until.IsZero() || s.Until.Sub(first.Since) > markedFor {
		return nil
	}
	for _, e := range c.steps {
		ended := e.Ended && e.Sent == sid && e.Begin <= to
		listed := e.EndsOwned && e.Begin <= over // it may have found the ID before it was given up
		// It may have stored a session where the mark was to go.
		began := e.ID == sid && e.empty() && e.changes() && e.Commit <= over
		if (ended || listed || began) && e.End >= begun {
			return nil
		}
	}
	return first
}

// Late returns how many requests came with an ID that was given up a moment ago, so that a store
// without marks is noticed.
func Late(steps []*Step) (n int) {
	c := &checker{steps: steps}
	for _, s := range steps {
		if s.Kind == Request && c.markedBy(s, cmp.Or(s.Sent, s.Unknown), s.Begin, s.Read) != nil {
			n++
		}
	}
	return n
}
