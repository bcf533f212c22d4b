package commit

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/state"
)

// lane is where changes of one session take turns inside of this process. A change
// whose turn it is starts from the record that the one before it has written, which
// saves the round trips of finding out that its own record is old. And it takes
// along the changes that wait for the same session, which saves their writes. So 64
// requests that overlap make 64 loads and 3 swaps; without lanes it was 1,708 round
// trips, with turns alone 129.
//
// Sessions that share a lane wait for each other's commits, never for a handler.
type lane struct {
	turn chan lastCommit // holds one element unless it is somebody's turn

	mu      sync.Mutex
	waiting []*Change
}

// lastCommit is the record that the last commit in a lane has written.
type lastCommit struct {
	id   string
	data []byte
	seq  uint64
}

// maxKept is how many bytes a lane keeps: 4 MiB in all lanes together.
const maxKept = 16 << 10

// joint is several changes of one session in one write.
type joint struct {
	Change
	done chan struct{} // closed when it is known what became of the write
	err  error
}

// errPanicked is what the parts of a joint are told when the store has panicked
// under the one that wrote it.
var errPanicked = errors.New("the backend panicked")

func (ln *lane) init() {
	ln.turn = make(chan lastCommit, 1)
	ln.turn <- lastCommit{}
}

// inLane writes a change when its turn has come, together with the changes that
// wait then, unless another one has taken it along by that time.
func (e *Engine) inLane(ctx context.Context, c *Change) error {
	ln := &e.lanes[maphash.String(e.seed, c.Origin.ID)%uint64(len(e.lanes))]
	ln.enter(ctx, c)
	var last lastCommit
	select {
	case last = <-ln.turn:
	default: // asking a context for its channel may start a timer
		select {
		case last = <-ln.turn:
		case <-ctx.Done():
			j := ln.leave(c)
			if j == nil {
				return ctx.Err()
			}
			<-j.done // the write ends by the deadline of c at the latest
			return e.adopt(c, j)
		}
	}
	defer func() { ln.turn <- last }()

	j, writes := ln.take(c)
	if j != nil && writes {
		e.writeJoint(ctx, j, &last)
	}
	if j != nil && e.adopt(c, j) == nil {
		return nil
	}
	// What fails for several changes may be the fault of one of them.
	return e.writeNext(ctx, c, &last)
}

// writeJoint writes a joint within the time of the part that has the least.
func (e *Engine) writeJoint(ctx context.Context, j *joint, last *lastCommit) {
	defer close(j.done)
	j.err = errPanicked
	ctx, cancel := deadline.Within(ctx, time.Until(j.deadline))
	defer cancel()
	j.err = e.writeNext(ctx, &j.Change, last)
}

// writeNext writes a change: on top of the last commit in its lane, if that was one
// of the same session and is newer than the origin of the change.
func (e *Engine) writeNext(ctx context.Context, c *Change, last *lastCommit) error {
	id := c.Origin.ID
	if c.replays() && last.id == id && last.seq > c.Origin.Seq {
		c.Origin.Data, c.Origin.Values = last.data, nil
	}
	*last = lastCommit{}
	err := e.write(ctx, c)
	if err == nil && c.Origin.Stored && !c.Vanished {
		c.Origin.Seq = e.commits.Add(1)
		if c.Origin.ID == id && len(c.Origin.Data) <= maxKept {
			*last = lastCommit{strings.Clone(id), c.Origin.Data, c.Origin.Seq}
		}
	}
	return err
}

// enter makes a change wait.
func (ln *lane) enter(ctx context.Context, c *Change) {
	c.deadline, _ = ctx.Deadline()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.waiting = append(ln.waiting, c)
}

// leave ends the wait of a change. If the change was made a part of a joint, leave
// returns the joint.
func (ln *lane) leave(c *Change) *joint {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.waiting = slices.DeleteFunc(ln.waiting, func(other *Change) bool { return other == c })
	return c.joint
}

// take ends the wait of a change whose turn it is. If other changes wait that can
// be written along with it, take returns all of them as a joint, which the caller
// then writes. If the change is part of a joint that somebody else has written,
// take returns that joint.
func (ln *lane) take(c *Change) (j *joint, writes bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if c.joint != nil {
		return c.joint, false
	}
	rest := ln.waiting[:0]
	for _, other := range ln.waiting {
		switch {
		case other == c:
		case c.joins() && other.joins() && other.ID == c.ID:
			if j == nil {
				j = &joint{Change: *c, done: make(chan struct{})}
			}
			j.add(other)
			other.joint = j
		default:
			rest = append(rest, other)
		}
	}
	clear(ln.waiting[len(rest):])
	ln.waiting = rest
	return j, true
}

// replays reports whether the changes are good for any values of the session.
func (c *Change) replays() bool {
	return c.Origin.Stored && c.When == Always && !c.Log.Destroyed
}

// joins reports whether the changes can be written along with those of others: they
// are of values only.
func (c *Change) joins() bool { return c.replays() && c.ID == c.Origin.ID }

func (j *joint) add(c *Change) {
	j.Log = j.Log.Then(c.Log)
	if c.deadline.Before(j.deadline) {
		j.deadline = c.deadline
	}
}

// adopt notes what became of a change as a part of a joint, unless the joint has
// failed. The session sees what the others set, in values of its own, since the
// others may go on changing theirs in place. For the keys that the session itself
// set it goes on seeing what it set, also where another part has changed the same
// key.
func (e *Engine) adopt(c *Change, j *joint) error {
	if j.err != nil {
		return j.err
	}
	c.Values, c.Origin, c.Vanished = nil, j.Origin, j.Vanished
	if !c.Vanished {
		values := e.values(j.Origin)
		c.Log.Apply(values)
		c.Values = state.Map(values)
	}
	return nil
}
