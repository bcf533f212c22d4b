package commit

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flamego/session/internal/state"
)

// lane is where changes of one session take turns inside of this process. A change
// whose turn it is starts from the record that the one before it has written, which
// saves the round trips of finding out that its own record is old. And it takes
// along the changes that wait for the same session, which saves their writes. So 64
// requests that overlap make 64 loads and 3 swaps; without lanes it was 1,708 round
// trips, with turns alone 129.
//
// There is a lane only while there are changes in it. No session waits for another one.
type lane struct {
	turn    chan struct{} // holds one element unless it is somebody's turn
	users   int           // how many changes are in the lane
	waiting []*Change
}

// shard is some of the lanes.
type shard struct {
	mu    sync.Mutex // guards everything but the turns
	lanes map[string]*lane
	spare *lane      // nobody uses it
	last  lastCommit // of any of its sessions
}

// lastCommit is the record that the last commit of a session has left behind; zero if
// that is not known.
type lastCommit struct {
	id      string
	data    []byte
	expires Moment
	seq     uint64
}

// maxKept is how many bytes a shard keeps: 4 MiB in all shards together.
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

// inLane writes a change when its turn has come, together with the changes that
// wait then, unless another one has taken it along by that time.
func (e *Engine) inLane(ctx context.Context, c *Change) error {
	id := c.Origin.ID
	sh := &e.shards[maphash.String(e.seed, id)%uint64(len(e.shards))]
	ln := sh.enter(ctx, c)
	defer sh.leave(ln, id)
	select {
	case <-ln.turn:
	default: // asking a context for its channel may start a timer
		select {
		case <-ln.turn:
		case <-ctx.Done():
			b := sh.giveUp(ln, c)
			if b == nil {
				return ctx.Err()
			}
			<-b.done // at the deadline of c at the latest, but for a function of Update that takes longer
			return e.adopt(c, b)
		}
	}
	defer func() { ln.turn <- struct{}{} }()

	b, writes := sh.take(ln, c)
	if b == nil {
		return e.writeNext(ctx, c, sh)
	}
	if writes {
		e.writeBatch(ctx, b, sh)
	}
	err := e.adopt(c, b)
	if err == nil || errors.As(err, new(unknownError)) {
		return err
	}
	return e.writeNext(ctx, c, sh) // it may be the fault of another part
}

func (e *Engine) writeBatch(ctx context.Context, b *batch, sh *shard) {
	b.err = errPanicked
	defer func() {
		if b.writing || b.Origin.lost != nil {
			b.err = unknownError{b.err}
		}
		close(b.done)
	}()
	b.err = e.writeNext(ctx, &b.Change, sh)
}

// writeNext writes a change: on top of the last commit, if that was one of the same
// session and is newer than the origin of the change.
func (e *Engine) writeNext(ctx context.Context, c *Change, sh *shard) error {
	id := c.Origin.ID
	last := sh.takeLast(id)
	if c.isRebasable() && last.seq > c.Origin.Seq {
		c.Origin.Data, c.Origin.Expires = last.data, last.expires
		c.Origin.Values, c.Origin.Rest, c.Origin.Unreadable = nil, nil, false
	}
	err := e.write(ctx, c)
	if c.unsent && last.id == id { // the record is as it was, unless others have changed it
		sh.keepLast(last)
	}
	if err == nil && c.Origin.Status == Live && !c.Vanished {
		c.Origin.Seq = e.commits.Add(1)
		if c.Origin.ID == id && len(c.Origin.Data) <= maxKept {
			sh.keepLast(lastCommit{strings.Clone(id), c.Origin.Data, c.Origin.Expires, c.Origin.Seq})
		}
	}
	return err
}

// takeLast returns what the last commit of a session has left behind, zero if that is not
// known. It is not kept, as nobody knows what the next commit leaves behind.
func (sh *shard) takeLast(id string) (last lastCommit) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.last.id == id {
		last, sh.last = sh.last, last
	}
	return last
}

func (sh *shard) keepLast(last lastCommit) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.last = last
}

// enter makes a change wait in the lane of its session.
func (sh *shard) enter(ctx context.Context, c *Change) *lane {
	c.deadline, _ = ctx.Deadline()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ln := sh.lanes[c.Origin.ID]
	if ln == nil {
		ln = sh.open(c.Origin.ID)
	}
	ln.users++
	ln.waiting = append(ln.waiting, c)
	return ln
}

func (sh *shard) open(id string) *lane {
	ln := sh.spare
	if sh.spare = nil; ln == nil {
		ln = &lane{turn: make(chan struct{}, 1)}
		ln.turn <- struct{}{}
	}
	if sh.lanes == nil {
		sh.lanes = make(map[string]*lane)
	}
	sh.lanes[id] = ln
	return ln
}

// leave is called by each change in the end. The last one closes the lane.
func (sh *shard) leave(ln *lane, id string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if ln.users--; ln.users == 0 {
		delete(sh.lanes, id)
		sh.spare = ln
	}
}

// giveUp ends the wait of a change. If the change was made a part of a batch, giveUp
// returns the batch.
func (sh *shard) giveUp(ln *lane, c *Change) *batch {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	ln.waiting = slices.DeleteFunc(ln.waiting, func(other *Change) bool { return other == c })
	return c.batch
}

// take ends the wait of a change whose turn it is. If other changes wait that can
// be written along with it, take returns all of them as a batch, which the caller then
// writes; otherwise the batch is nil. If the change is part of a batch that somebody
// else has written, take returns that batch, and false.
func (sh *shard) take(ln *lane, c *Change) (b *batch, writes bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c.batch != nil {
		return c.batch, false
	}
	rest := ln.waiting[:0]
	for _, other := range ln.waiting {
		switch {
		case other == c:
		case c.takesAlong(other):
			if b == nil {
				b = &batch{Change: *c, done: make(chan struct{})}
			}
			b.Log = b.Log.Then(other.Log)
			b.First = b.First && other.First
			other.batch = b
		default:
			rest = append(rest, other)
		}
	}
	clear(ln.waiting[len(rest):])
	ln.waiting = rest
	return b, true
}

// takesAlong reports whether another change of the session can be written along: if both
// are of values only, and if c has at least half of the time that the other one has: the other
// one waits for c, and if c fails, it has to try alone in what is left.
func (c *Change) takesAlong(other *Change) bool {
	if !c.isBatchable() || !other.isBatchable() || other.ID != c.ID || other.deadline.Before(c.deadline) {
		return false
	}
	return time.Until(c.deadline) >= time.Until(other.deadline)/2
}

// isRebasable reports whether the changes can be applied to any values of the session.
func (c *Change) isRebasable() bool {
	return c.Origin.Status == Live && c.Origin.lost == nil && c.When == Always && !c.Log.Destroyed
}

// isBatchable reports whether the changes are of values only.
func (c *Change) isBatchable() bool { return c.isRebasable() && c.ID == c.Origin.ID }

// adopt notes what became of a change as a part of a batch, unless the batch has
// failed. The session sees what the others set, in values of its own, since the
// others may go on changing theirs in place. For the keys that the session itself
// set it goes on seeing what it set, also where another part has changed the same
// key, but for what it has computed: there it sees what came out in the end.
func (e *Engine) adopt(c *Change, b *batch) error {
	if b.err != nil {
		if b.Origin.lost != nil {
			own := *b.Origin.lost
			own.log = c.Log.Clone()
			c.Origin = b.Origin
			c.Origin.lost = &own
		}
		return b.err
	}
	c.Values, c.Origin, c.Vanished = nil, b.Origin, b.Vanished
	c.Gains = b.Gains
	if c.Origin.Status == Live && !c.Vanished {
		values, _, _ := e.values(b.Origin)
		c.Log.ApplySet(values)
		c.Values = state.Map(values)
	}
	return nil
}
