package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/state"
)

// lost is a write whose answer was lost: nobody knows whether the store has made it. So the
// engine looks. If the store holds the new bytes, the write was made. If it holds the old
// record, the write is tried again, with the same bytes: if the first try arrives late, it
// does no harm. In any other case another request may have changed the session since, perhaps
// on top of this change. To apply the log once more could undo what that request was told is
// saved. So the commit fails.
type lost struct {
	attempt
	log   state.Log // of the change: what of it was computed is not to be computed again
	asked Moment    // when the store was first asked to make the write
	err   error     // of the write
}

// unmoved is by how much an expiry may seem to move only because of the time that it takes to
// read a record.
const unmoved = 100 * time.Millisecond

// unknownError is the error of a commit of which nobody knows whether it was made.
type unknownError struct{ error }

func (e unknownError) Unwrap() error { return e.error }

// errOverwritten says why nobody knows.
var errOverwritten = errors.New("the answer to a write was lost, and the session may have been changed since: whether this change was saved is not known")

// failed is err, marked if the change may be in the store all the same.
func (c *Change) failed(err error) error {
	if c.Origin.lost == nil {
		return err
	}
	return unknownError{err}
}

// IsDoubtful reports whether the commit has failed and the change may be in the store all
// the same. The origin then knows more of that: whoever tries again must start from it.
func (c *Change) IsDoubtful() bool { return c.Origin.lost != nil }

// unseen is the error if nobody can look what became of the write. It says so if the time is
// over: a driver that has waited for an answer in vain may only say that the connection broke.
func (l *lost) unseen(ctx context.Context) error {
	done := deadline.Err(ctx)
	if done == nil || errors.Is(l.err, done) {
		return l.err
	}
	return fmt.Errorf("%w (%w)", done, l.err)
}

// look finds out what became of the lost write. Two requests that take the same flash write
// the same bytes, so then equal bytes prove nothing: a flash is rather lost than shown twice.
func (e *Engine) look(ctx context.Context, c *Change) (written, again bool, err error) {
	lost := c.Origin.lost
	if deadline.Err(ctx) != nil {
		return false, false, c.failed(lost.unseen(ctx))
	}
	// The old ID of a renewal has no record any more once the renewal was made, so nobody can
	// have made it so again.
	renews := c.Origin.Status == Live && lost.next.ID != c.Origin.ID
	now, err := e.store.Load(ctx, lost.next.ID)
	switch {
	case err != nil:
		return false, false, c.failed(lost.unseen(ctx))
	case !renews && c.Origin.isStill(now) && c.isUntouched(now):
		return false, true, nil
	case now.Status == Live && c.When != IfFlash && bytes.Equal(now.Data, lost.next.Data):
		return true, false, nil
	case renews:
		if now, err = e.store.Load(ctx, c.Origin.ID); err == nil && c.Origin.isStill(now) {
			return false, true, nil
		}
	}
	return false, false, c.failed(fmt.Errorf("%w (%w)", errOverwritten, lost.err))
}

// isUntouched reports whether a record that is as it was has been so all the time. Others
// may have made it so again: who takes a flash that was just set leaves the bytes from before.
// But each write makes the record live for its whole time to live from then on. So if the
// record expires when it did before, nobody has written it. That proves something only if the
// record was last written well before the lost write. (A record of ten minutes that was written at
// 12:00 expires at 12:10. A write at 12:05 would have moved that to 12:15, but one in the same second
// by less than can be told.)
func (c *Change) isUntouched(now Found) bool {
	lost := c.Origin.lost
	switch {
	case c.Origin.Status != Live:
		return c.Fresh || c.ID != c.Origin.ID // nobody can have ended what they do not know of
	case bytes.Equal(lost.next.Data, c.Origin.Data):
		return true // there is nothing to be undone
	default:
		moved := time.Duration(now.Expires - c.Origin.Expires)
		mine := time.Duration(lost.asked-c.Origin.Expires) + lost.ttl
		return moved.Abs() < unmoved && mine > unmoved
	}
}

// isStill reports whether the store has the record as it was. A record may be a mark that
// counts no more, which is replaced like a session.
func (o Origin) isStill(now Found) bool {
	if o.Status == Live {
		return (now.Status == Live || now.Data != nil) && bytes.Equal(now.Data, o.Data)
	}
	return now.Status == Gone && now.Data == nil
}

// clearUp finds out what became of a write that was lost in an earlier commit of the same
// session. If the write was made, the values that it has set, which are still in the log, are
// set again, which does no harm. What it has computed is not computed again: it would count
// twice. If the write arrives only after that look, which would be after the end of its commit,
// what it has computed counts twice.
func (e *Engine) clearUp(ctx context.Context, c *Change) error {
	if c.Origin.lost == nil {
		return nil
	}
	written, _, err := e.look(ctx, c)
	switch {
	case err != nil:
		return err
	case written:
		e.noteWrite(ctx, c.Origin, c.Origin.lost.next.ID)
		e.markOld(ctx, c, c.Origin.lost.next.ID)
		c.Gains = c.Origin.lost.gains()
		c.Log, c.Origin = c.Log.Without(c.Origin.lost.log), c.Origin.lost.next
	}
	c.Origin.lost = nil
	return nil
}
