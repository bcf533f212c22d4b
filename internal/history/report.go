package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Never is the end of a step that has failed, if what it did may still be done: by a server
// that receives it late.
const Never = math.MaxInt64

// What a report begins with: the number of an invariant in docs/design.md, or one of two rules that
// follow from them.
const (
	committed = "I1"       // what is committed is read
	dead      = "I2"       // what has ended stays dead
	apart     = "I3"       // only what was written under a session is read under it
	untouched = "I7"       // nobody changes what is not theirs
	lost      = "I1 or I7" // a value is lost; nobody can tell whether it was not kept or undone
	flash     = "flash"    // a flash is seen at most once
	renewal   = "renewal"  // who comes late with the ID from before a renewal has no new session
)

// broken says which invariant a read breaks, and shows the steps that matter:
// the given ones, and whatever else changed the key or ended the session between
// them.
func (c *checker) broken(invariant string, r *Step, key, what string, involved ...*Step) string {
	chain := c.chain(cmp.Or(r.Sent, r.Unknown))
	from := r.Begin
	for _, s := range involved {
		if s != nil {
			from = min(from, s.Begin)
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
	fmt.Fprintf(&b, "%s is broken: %s (key %s, client %d, step %d)\n", invariant, what, key, r.Client, r.N)
	for _, s := range c.steps {
		_, changes := s.effect(key)
		changes = changes || key == SumKey && len(s.Added) > 0
		matters := slices.Contains(chain, s.Sent) && (changes || s.Ended || s.ID != s.Sent) || s.EndsOwned
		meanwhile := s.End >= from && s.Begin <= r.Read
		if s != r && !slices.Contains(involved, s) && (!matters || !meanwhile) {
			continue
		}
		end := fmt.Sprint(s.End)
		if s.End == Never {
			end = "?"
		}
		fmt.Fprintf(&b, "  %4d-%-4d reads, %4d-%-4s commits: client %d, step %d: %s %s", s.Begin, s.Read, s.Commit, end, s.Client, s.N, s.Kind, name(s.Sent))
		if s.reads() {
			fmt.Fprintf(&b, ", sees %q, then: %s", s.Seen, strings.Join(s.Did, ", "))
		}
		if s.Unknown != "" {
			fmt.Fprintf(&b, ", in a new session instead of %s", name(s.Unknown))
		}
		if s.ID != s.Sent {
			fmt.Fprintf(&b, " -> %s", name(s.ID))
		}
		if s.Dropped {
			b.WriteString(" (told that the session is gone)")
		}
		if s.Failed {
			b.WriteString(" (failed)")
		}
		b.WriteString("\n")
	}
	return b.String()
}
