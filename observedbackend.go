package session

import (
	"context"
	"errors"
	"time"

	"github.com/flamego/session/internal/attempts"
)

// observedBackend tells the observer of each operation. It is there only if there is an observer. It stands
// beneath hashedBackend, so that what it counts is what the database is asked.
type observedBackend struct {
	wrappedBackend
	rules func() *rules // of the store
}

// operation is one call of a backend.
type operation struct {
	observer *observer
	event    Event
	ctx      context.Context // for the backend
	outer    context.Context // of the caller
	begun    time.Time
	tries    *attempts.Counter
	end      func(error)
	returned bool // the backend has not panicked
}

func (b observedBackend) begin(ctx context.Context, op Op, key string) (o operation) {
	r := b.rules()
	o.observer, o.outer = r.observer, ctx
	o.event.Op = op
	if key != "" {
		o.event.Session = handleOf(keyDigest(key, r.hashIDs != HashNone))
	}
	o.ctx, o.end = o.observer.start(ctx, op)
	o.ctx, o.tries = attempts.Count(o.ctx)
	o.begun = time.Now()
	return o
}

var errBackendPanicked = errors.New("the backend panicked")

// done tells what came out: how many bytes were read or written, and whether the database was as it had to be.
func (o *operation) done(bytes int, ok bool, err error) {
	if !o.returned {
		err = errBackendPanicked
	}
	e := &o.event
	e.Duration, e.Tries = time.Since(o.begun), o.tries.N()
	e.Bytes, e.Refused, e.Err = bytes, !ok && err == nil, err
	o.end(e.Err)
	o.observer.tell(o.outer, *e)
}

func (b observedBackend) Load(ctx context.Context, sid string) (rec Record, found bool, err error) {
	o := b.begin(ctx, OpLoad, sid)
	defer func() { o.done(len(rec.Data), found, err) }()
	rec, found, err = b.Backend.Load(o.ctx, sid)
	o.returned = true
	return rec, found, err
}

func (b observedBackend) Insert(ctx context.Context, sid string, rec Record) (bool, error) {
	return b.write(ctx, OpInsert, sid, rec, func(ctx context.Context) (bool, error) {
		return b.Backend.Insert(ctx, sid, rec)
	})
}

func (b observedBackend) Swap(ctx context.Context, sid string, old []byte, rec Record) (bool, error) {
	return b.write(ctx, OpSwap, sid, rec, func(ctx context.Context) (bool, error) {
		return b.Backend.Swap(ctx, sid, old, rec)
	})
}

func (b observedBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec Record) (bool, error) {
	return b.write(ctx, OpRename, newSID, rec, func(ctx context.Context) (bool, error) {
		return b.Backend.Rename(ctx, sid, newSID, old, rec)
	})
}

func (b observedBackend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	_, err := b.write(ctx, OpExtend, sid, Record{}, func(ctx context.Context) (bool, error) {
		return true, b.Backend.Extend(ctx, sid, ttl)
	})
	return err
}

func (b observedBackend) Delete(ctx context.Context, sid string) error {
	_, err := b.write(ctx, OpDelete, sid, Record{}, func(ctx context.Context) (bool, error) {
		return true, b.Backend.Delete(ctx, sid)
	})
	return err
}

// write observes an operation that reads no data. What it writes is rec.
func (b observedBackend) write(ctx context.Context, op Op, key string, rec Record, f func(context.Context) (bool, error)) (ok bool, err error) {
	o := b.begin(ctx, op, key)
	defer func() { o.done(len(rec.Data), ok, err) }()
	ok, err = f(o.ctx)
	o.returned = true
	return ok, err
}

func (b observedBackend) Sweep(ctx context.Context) (more bool, err error) {
	_, err = b.write(ctx, OpSweep, "", Record{}, func(ctx context.Context) (bool, error) {
		more, err = b.Backend.Sweep(ctx)
		return true, err
	})
	return more, err
}

// Owned is for a backend that is an OwnerIndex.
func (b observedBackend) Owned(ctx context.Context, owner string) (owned []OwnedRecord, err error) {
	o := b.begin(ctx, OpOwned, "")
	defer func() {
		size := 0
		for _, rec := range owned {
			size += len(rec.Data)
		}
		o.done(size, true, err)
	}()
	owned, err = b.wrappedBackend.Owned(o.ctx, owner)
	o.returned = true
	return owned, err
}
