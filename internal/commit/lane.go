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

// lastCommit is the record that the last commit in a lane has left behind; zero if
// that is not known.
type lastCommit struct {
	id   string
	data []byte
	seq  uint64
}

// maxKept is how many bytes a lane keeps: 4 MiB in all lanes together.
const maxKept = 16 << 10

// batch is several changes of one session in one write.
type batch struct {
	Change
	done chan struct{} // closed when it is known what became of the write
	err  error
}

// errPanicked is what the parts of a batch are told when the store has panicked
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
			b := ln.leave(c)
			if b == nil {
				return ctx.Err()
			}
			<-b.done // the write ends by the deadline of c at the latest
			return e.adopt(c, b)
		}
	}
	defer func() { ln.turn <- last }()

	b, writes := ln.take(c)
	if b != nil && writes {
		e.writeBatch(ctx, b, &last)
	}
	if b != nil && e.adopt(c, b) == nil {
		return nil
	}
	// There is no batch, or it has failed, which may be the fault of one part.
	return e.writeNext(ctx, c, &last)
}

// writeBatch writes a batch within the time of the part that has the least.
func (e *Engine) writeBatch(ctx context.Context, b *batch, last *lastCommit) {
	defer close(b.done)
	b.err = errPanicked
	ctx, cancel := deadline.Within(ctx, time.Until(b.deadline))
	defer cancel()
	b.err = e.writeNext(ctx, &b.Change, last)
}

// writeNext writes a change: on top of the last commit in its lane, if that was one
// of the same session and is newer than the origin of the change.
func (e *Engine) writeNext(ctx context.Context, c *Change, last *lastCommit) error {
	id := c.Origin.ID
	if c.isRebasable() && last.id == id && last.seq > c.Origin.Seq {
		c.Origin.Data, c.Origin.Values, c.Origin.Rest, c.Origin.Unreadable = last.data, nil, nil, false
	}
	*last = lastCommit{}
	err := e.write(ctx, c)
	if err == nil && c.Origin.Status == Live && !c.Vanished {
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

// leave ends the wait of a change. If the change was made a part of a batch, leave
// returns the batch.
func (ln *lane) leave(c *Change) *batch {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.waiting = slices.DeleteFunc(ln.waiting, func(other *Change) bool { return other == c })
	return c.batch
}

// take ends the wait of a change whose turn it is. If other changes wait that can
// be written along with it, take returns all of them as a batch, which the caller then
// writes; otherwise the batch is nil. If the change is part of a batch that somebody
// else has written, take returns that batch, and false.
func (ln *lane) take(c *Change) (b *batch, writes bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if c.batch != nil {
		return c.batch, false
	}
	rest := ln.waiting[:0]
	for _, other := range ln.waiting {
		switch {
		case other == c:
		case c.isBatchable() && other.isBatchable() && other.ID == c.ID:
			if b == nil {
				b = &batch{Change: *c, done: make(chan struct{})}
			}
			b.add(other)
			other.batch = b
		default:
			rest = append(rest, other)
		}
	}
	clear(ln.waiting[len(rest):])
	ln.waiting = rest
	return b, true
}

// isRebasable reports whether the changes can be applied to any values of the session.
func (c *Change) isRebasable() bool {
	return c.Origin.Status == Live && c.When == Always && !c.Log.Destroyed
}

// isBatchable reports whether the changes can be written along with those of others:
// they are of values only.
func (c *Change) isBatchable() bool { return c.isRebasable() && c.ID == c.Origin.ID }

func (b *batch) add(c *Change) {
	b.Log = b.Log.Then(c.Log)
	if c.deadline.Before(b.deadline) {
		b.deadline = c.deadline
	}
}

// adopt notes what became of a change as a part of a batch, unless the batch has
// failed. The session sees what the others set, in values of its own, since the
// others may go on changing theirs in place. For the keys that the session itself
// set it goes on seeing what it set, also where another part has changed the same
// key.
func (e *Engine) adopt(c *Change, b *batch) error {
	if b.err != nil {
		return b.err
	}
	c.Values, c.Origin, c.Vanished = nil, b.Origin, b.Vanished
	if c.Origin.Status == Live && !c.Vanished {
		values, _, _ := e.values(b.Origin)
		c.Log.Apply(values)
		c.Values = state.Map(values)
	}
	return nil
}
