package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/state"
)

// Engine commits changes to one store. Its methods may be called in parallel.
type Engine struct {
	store Store

	commits atomic.Uint64 // how many there have been
	seed    maphash.Seed  // of the hash that assigns sessions to shards
	shards  [256]shard
}

// New returns an engine for the store.
func New(store Store) *Engine { return &Engine{store: store, seed: maphash.MakeSeed()} }

// Seq returns the number of the last commit. A record that is read after that is
// at least as new as that commit, so whoever reads one asks first.
func (e *Engine) Seq() uint64 { return e.commits.Load() }

// Commit brings a change into the store. After an error whoever tries again makes a new Change.
// Only after one that is doubtful (see IsDoubtful) the new one begins with the Log and the Origin
// of this one.
func (e *Engine) Commit(ctx context.Context, c *Change) error {
	id := c.Origin.ID
	err := e.inLane(ctx, c)
	switch {
	case err != nil || !c.Vanished:
	case c.Log.Destroyed:
		e.store.Note(ctx, Ended, id)
	case !c.Log.IsEmpty(): // else it was only to be extended
		e.store.Note(ctx, Lost, id)
	}
	return err
}

// write brings a change into the store, starting over on the record that is there
// by then for as long as other writers are faster.
func (e *Engine) write(ctx context.Context, c *Change) error {
	switch {
	case c.Log.Destroyed:
		return e.destroy(ctx, c)
	case c.IsVoid():
		return nil
	}
	if err := e.clearUp(ctx, c); err != nil {
		return err
	}
	// Writers that are faster 200 times in a row, or five answers in a row that are lost, are an outage
	// that somebody has to hear of.
	const maxTries, maxLost = 200, 5
	lost := 0
	for try := range maxTries {
		again, err := e.attempt(ctx, c, try)
		if err != nil || !again {
			return err
		}
		if c.Origin.lost != nil {
			// What is written again does not change, so the pause comes before that.
			if lost++; lost == maxLost || pause(ctx, try) != nil {
				return c.failed(c.Origin.lost.err)
			}
		}
	}
	return c.failed(ErrContended)
}

// destroy deletes the record, also under a new ID that it may have. A mark stays: it belongs
// to no session.
func (e *Engine) destroy(ctx context.Context, c *Change) error {
	if lost := c.Origin.lost; lost != nil && lost.next.ID != c.Origin.ID {
		if err := e.store.Delete(ctx, lost.next.ID); err != nil {
			return err
		}
	}
	if c.Origin.Status != Renewed {
		if err := e.store.Delete(ctx, c.Origin.ID); err != nil {
			return err
		}
	}
	c.Vanish()
	return nil
}

// attempt is one write of a change.
type attempt struct {
	next Origin       // what the store holds if the write was made
	view state.Values // what the session shows then, beneath its log
	ttl  time.Duration

	owner, former string // of the record, and of the one that it replaces
}

// gains reports whether the record has an owner whom the one before did not have.
func (a *attempt) gains() bool { return a.owner != "" && a.owner != a.former }

// attempt writes a change on top of its origin. If another writer was faster, the
// origin is now what that one has written, and attempt reports that the change is to be
// written again.
func (e *Engine) attempt(ctx context.Context, c *Change, try int) (again bool, err error) {
	var a attempt
	if c.Origin.lost != nil {
		a = c.Origin.lost.attempt
	} else if void, err := e.prepare(c, &a); void || err != nil {
		c.unsent = err != nil
		return false, err
	}
	if err := deadline.Err(ctx); err != nil { // before the store can leave us in doubt
		if c.Log.Computes() {
			err = fmt.Errorf("the time was over when the functions of Update had been run: %w", err)
		}
		return false, c.failed(err)
	}
	asked := In(0)
	c.writing = true // and stays so if the store panics
	written, err := e.put(ctx, c, Record{Data: a.next.Data, TTL: a.ttl, Owner: a.owner, Former: a.former})
	c.writing = false
	switch {
	case errors.Is(err, ErrNotApplied):
		c.unsent = c.Origin.lost == nil
		return false, c.failed(err)
	case err != nil:
		if c.Origin.lost != nil {
			asked = c.Origin.lost.asked
		}
		c.Origin.lost = &lost{a, c.Log.Clone(), asked, err}
		written, again, err = e.look(ctx, c)
	case !written && c.Origin.lost != nil:
		written, again, err = e.look(ctx, c)
	case !written:
		if err = pause(ctx, try); err == nil {
			written, again, err = e.resolve(ctx, c, a.next.Data)
		}
	}
	if err == nil && written {
		e.noteWrite(ctx, c.Origin, c.ID)
		e.markOld(ctx, c, c.ID)
		a.next.Expires = asked + Moment(a.ttl)
		c.Written(a.next, a.view)
		c.Gains = c.Gains || a.gains()
	}
	return again, err
}

// pause waits after a try that was refused, and before the record is read anew: what is read
// must be as new as possible when it is written. The second try follows at once, as the first
// one may have failed only because the record was read long before.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	if err := backoff.Pause(ctx, try, 50*time.Millisecond); err != nil {
		return fmt.Errorf("%w: %w", ErrContended, err)
	}
	return nil
}

// noteWrite notes what a write on top of a record was to its session.
func (e *Engine) noteWrite(ctx context.Context, before Origin, id string) {
	switch {
	case !before.isSession():
		e.store.Note(ctx, Created, id)
	case id != before.ID:
		e.store.Note(ctx, GotNewID, id)
	}
}

// markOld leaves a mark under the ID that was given up for a new one, if one was.
func (e *Engine) markOld(ctx context.Context, c *Change, newID string) {
	if newID != c.Origin.ID && c.Origin.Status != Renewed {
		e.store.Mark(ctx, c.Origin.ID)
	}
}

// prepare fills in the write that a change calls for. It reports true if there is nothing
// to write, because the condition of the change does not hold.
func (e *Engine) prepare(c *Change, a *attempt) (void bool, err error) {
	values, rest, unreadable := e.values(c.Origin)
	if !c.CheckCondition(state.Map(values)) || c.When == IfNoFlash && rest.Has(state.FlashKey) {
		c.Values = state.Map(values)
		return true, nil
	}
	a.former = e.store.Owner(values) // before they are changed
	a.view = state.Map(values)       // this map is what is changed below
	begins := c.ID != c.Origin.ID || !c.Origin.isSession()
	if !c.Origin.isSession() || c.Log.ChangesValues() {
		a.next, err = e.change(c, values, rest, unreadable, begins)
	} else if unreadable != nil || !e.stamped(c, values, rest, begins, &a.next) {
		// There is nothing to note in the record either, or no way to: a new ID, or only more
		// time. The values stay as they are.
		a.next = c.Origin
		a.next.ID, a.next.Data = c.ID, e.store.Rebind(c.Origin.Data, c.Origin.ID, c.ID)
		if c.Origin.Values != nil {
			a.view = c.Values
		}
	}
	a.ttl, a.owner = e.store.TTL(values, c.First), e.store.Owner(values)
	return false, err
}

// stamped fills in the record for a change of no values, if the store has to note something
// in it. If the values cannot be encoded, that waits for a change of values.
func (e *Engine) stamped(c *Change, values map[any]any, rest *state.Rest, begins bool, next *Origin) bool {
	if !e.store.Stamp(values, begins) {
		return false
	}
	data, err := e.store.Encode(c.ID, values, rest)
	if err != nil {
		return false
	}
	*next = Origin{ID: c.ID, Status: Live, Data: data, Values: values, Rest: rest}
	return true
}

// change returns the record that holds the changes. The values, which it changes, the rest
// and the error are those of e.values.
func (e *Engine) change(c *Change, values map[any]any, rest *state.Rest, unreadable error, begins bool) (next Origin, err error) {
	if unreadable != nil && !c.Origin.Unreadable && !c.Log.Flushes() {
		return next, fmt.Errorf("the record cannot be decoded any more, and stays as it is: %w", unreadable)
	}
	if c.Origin.Unreadable && rest.IsAll() {
		rest = nil // what was found so when the session was read is replaced
	}
	if err := c.Log.Replay(values); err != nil {
		return next, err
	}
	if c.Log.Computes() {
		state.NameCommit(values)
	}
	e.store.Stamp(values, begins)
	next = Origin{ID: c.ID, Status: Live, Values: values, Rest: rest.After(&c.Log)}
	next.Data, err = e.store.Encode(c.ID, values, next.Rest)
	return next, err
}

// values returns the values of a record in a map that is the caller's, and what could not
// be decoded. A record is decoded anew for that: what a handler did to values that it got
// from the session (an element of a slice, say) is no change of the session, and must not
// be written along with one. Only where nothing can be changed in place are the known
// values copied: that takes a quarter of the time of decoding. With an error there are no
// values.
func (e *Engine) values(o Origin) (values map[any]any, rest *state.Rest, err error) {
	if !o.isSession() {
		return make(map[any]any), nil, nil
	}
	if o.Values == nil || !o.Values.Fixed() {
		values, rest, err = e.store.Decode(o.ID, o.Data)
		if values != nil {
			return values, rest, nil
		}
		// A decoder that could decode this before will do so again: it may have to ask
		// somebody for a key. What is known must not be lost for that.
		if o.Values == nil {
			return make(map[any]any), nil, err
		}
	}
	return o.Values.Copy(), o.Rest, nil
}

// put makes the one write that a change calls for.
func (e *Engine) put(ctx context.Context, c *Change, rec Record) (bool, error) {
	switch {
	case c.ID != c.Origin.ID && c.Origin.Status != Renewed:
		return e.store.Rename(ctx, c.Origin, c.ID, rec)
	case c.Origin.Status != Live:
		return e.store.Insert(ctx, c.ID, rec)
	default:
		return e.store.Swap(ctx, c.ID, c.Origin.Data, rec)
	}
}

// errTaken says that nobody else has changed the session. IDs are random, so this takes an app
// that saves another session under an ID that it has just given to this one.
var errTaken = errors.New("another session is stored under the new ID")

// resolve looks at what the store holds after it has refused a write. If another
// writer was faster, the change is now one of the record that is there, and is to
// be written again. If no record is there any more, Change.LoseRecord decides. If
// the record holds what we were about to write, the write was made: a client of the app that
// repeats writes has sent ours twice, and the second one was refused.
func (e *Engine) resolve(ctx context.Context, c *Change, data []byte) (written, again bool, err error) {
	id := c.ID
	now, err := e.store.Load(ctx, id)
	// Two requests that take the same flash write the same bytes, so here equal
	// bytes prove nothing. A flash is rather lost than shown twice.
	if err == nil && now.Status == Live && c.When != IfFlash && bytes.Equal(now.Data, data) {
		return true, false, nil
	}
	if err == nil && c.Origin.Status == Live && id != c.Origin.ID {
		taken := now.Status == Live
		id = c.Origin.ID
		if now, err = e.store.Load(ctx, id); err == nil && taken && c.Origin.isStill(now) {
			return false, false, errTaken
		}
	}
	switch {
	case err != nil:
		return false, false, err
	case now.Status == Live:
		c.Origin = Origin{ID: id, Status: Live, Data: now.Data, Expires: now.Expires, Values: now.Values, Rest: now.Rest, Seq: c.Origin.Seq}
		c.Values = now.Values
		return false, true, nil
	case c.Origin.isSession() || now.Status == Renewed:
		return false, c.LoseRecord(now.Status), nil
	case now.Data != nil:
		c.Origin = Origin{ID: id, Status: Live, Dead: true, Data: now.Data, Expires: now.Expires, Seq: c.Origin.Seq}
		return false, true, nil
	default: // what was in the way is gone
		if c.Origin.Dead {
			c.Origin = Origin{ID: id, Seq: c.Origin.Seq}
		}
		return false, true, nil
	}
}
