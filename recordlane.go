package session

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flamego/session/internal/deadline"
)

// lane is where commits of one session take turns inside of this process, so that
// neighbours do not make each other start over: each goes on where the one before it
// ended, which saves finding out, and takes along those that wait, which saves their
// writes. Sessions that share a lane only wait for each other's commits, never for a
// handler. All of this saves round trips, and nothing rests on it: what the store has
// is what the backend compares with.
type lane struct {
	turn chan lastCommit // holds one unless it is somebody's turn

	mu      sync.Mutex
	waiting []*pending
}

// lastCommit is what the last commit in a lane has left behind.
type lastCommit struct {
	sid string
	raw []byte
	n   uint64 // its number among all commits of this store
}

// maxKept is how many bytes a lane keeps: 4 MiB in all lanes together.
const maxKept = 16 << 10

// joint is the changes of several pending in one.
type joint struct {
	pending
	done chan struct{} // closed when it is known what became of them
	err  error
}

func (s *recordStore) lane(sid string) *lane {
	return &s.lanes[maphash.String(s.seed, sid)%uint64(len(s.lanes))]
}

// inLane writes p when its turn has come, with those that wait; if another has not
// taken it along by then.
func (s *recordStore) inLane(ctx context.Context, p *pending) error {
	ln := s.lane(p.origin.sid)
	ln.enter(ctx, p)
	var last lastCommit
	select {
	case last = <-ln.turn:
	default:
		select {
		case last = <-ln.turn:
		case <-ctx.Done():
			j := ln.leave(p)
			if j == nil {
				return ctx.Err()
			}
			<-j.done // it has no more time than p had
			return s.adopt(p, j)
		}
	}
	defer func() { ln.turn <- last }()

	j, first := ln.take(p)
	if j != nil && first {
		s.writeJoint(ctx, j, &last)
	}
	if j != nil && s.adopt(p, j) == nil {
		return nil
	}
	// What fails for several may be the fault of one.
	return s.writeNext(ctx, p, &last)
}

// writeJoint writes j within the time of whoever has the least.
func (s *recordStore) writeJoint(ctx context.Context, j *joint, last *lastCommit) {
	defer close(j.done)
	j.err = errPanicked
	ctx, cancel := deadline.Within(ctx, time.Until(j.deadline))
	defer cancel()
	j.err = s.writeNext(ctx, &j.pending, last)
}

// writeNext writes p, on top of the last commit if that was of the same session and
// is newer than what p was read as.
func (s *recordStore) writeNext(ctx context.Context, p *pending, last *lastCommit) error {
	sid := p.origin.sid
	if p.replays() && last.sid == sid && last.n > p.origin.seen {
		p.origin.raw = last.raw
		p.rebase(s.openOrEmpty(last.raw))
	}
	*last = lastCommit{}
	err := s.write(ctx, p)
	if err == nil && p.origin.stored && !p.gone {
		p.origin.seen = s.commits.Add(1)
		if p.origin.sid == sid && len(p.origin.raw) <= maxKept {
			*last = lastCommit{strings.Clone(sid), p.origin.raw, p.origin.seen}
		}
	}
	return err
}

// enter makes p wait.
func (ln *lane) enter(ctx context.Context, p *pending) {
	p.deadline, _ = ctx.Deadline()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.waiting = append(ln.waiting, p)
}

// leave ends the wait of p, and returns what it has become part of, if it has.
func (ln *lane) leave(p *pending) *joint {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.waiting = slices.DeleteFunc(ln.waiting, func(other *pending) bool { return other == p })
	return p.joint
}

// take ends the wait of p, whose turn it is, and of those that can be written with
// it. If there are any, it returns all of them in one. If p has been written with
// others, it returns that, and that p is not the first of them.
func (ln *lane) take(p *pending) (j *joint, first bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if p.joint != nil {
		return p.joint, false
	}
	rest := ln.waiting[:0]
	for _, other := range ln.waiting {
		switch {
		case other == p:
		case p.joins() && other.joins() && other.sid == p.sid:
			if j == nil {
				j = &joint{pending: *p, done: make(chan struct{})}
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

// replays reports whether the changes are good for any data of the session.
func (p *pending) replays() bool {
	return p.origin.stored && p.when == always && !p.log.ended
}

// joins reports whether the changes are of values only.
func (p *pending) joins() bool { return p.replays() && p.sid == p.origin.sid }

func (j *joint) add(p *pending) {
	j.log = j.log.then(p.log)
	if p.deadline.Before(j.deadline) {
		j.deadline = p.deadline
	}
}

// adopt notes what became of p as a part of j, unless that failed. The session goes
// on showing what it set itself, also where another part has changed the same key. It
// has its own view of what the others set, as they may go on changing that in place.
func (s *recordStore) adopt(p *pending, j *joint) error {
	if j.err != nil {
		return j.err
	}
	p.base, p.origin, p.gone = nil, j.origin, j.gone
	if !p.gone {
		p.base = &overlay{s.openOrEmpty(j.origin.raw), p.log}
	}
	return nil
}
