package session

import (
	"context"
	"hash/maphash"
	"sync/atomic"
)

// issuedIDs remembers, for a while, which IDs this process has given out and not
// yet stored anything under, so that an ID which a client makes up can be told
// from one that it was given. It is a table of fixed size (512 KiB) with one
// place for each ID; a later ID may take it. Forgetting does no harm: the
// session gets another ID at its first commit. A sibling in the same table remembers
// the IDs that were given up lately.
type issuedIDs struct {
	seed  maphash.Seed
	table *[1 << 16]atomic.Uint64
}

func newIssuedIDs() *issuedIDs {
	return &issuedIDs{seed: maphash.MakeSeed(), table: new([1 << 16]atomic.Uint64)}
}

// sibling returns another set of IDs in the same table.
func (t *issuedIDs) sibling() *issuedIDs {
	return &issuedIDs{seed: maphash.MakeSeed(), table: t.table}
}

func (t *issuedIDs) place(sid string) (hash uint64, slot *atomic.Uint64) {
	hash = maphash.String(t.seed, sid) | 1 // never the zero of an empty place
	return hash, &t.table[hash>>48]
}

func (t *issuedIDs) add(sid string) {
	hash, slot := t.place(sid)
	slot.Store(hash)
}

func (t *issuedIDs) has(sid string) bool {
	hash, slot := t.place(sid)
	return slot.Load() == hash
}

func (t *issuedIDs) remove(sid string) {
	hash, slot := t.place(sid)
	slot.CompareAndSwap(hash, 0)
}

// knowsID reports whether the session may be stored under its ID even if the store
// does not know it. The answer may change while a request is saved.
func (rq *request) knowsID() bool {
	return rq.fresh || rq.m.opts.AdoptUnknownIDs || rq.m.issued.has(rq.readAs)
}

// catchUp looks for the session once more if it was not there before and is about
// to get another ID. Of several first requests of a visitor one stores it first;
// the others must join it, not leave it behind.
func (rq *request) catchUp(ctx context.Context, known bool) error {
	renewed := rq.sess.ID() != rq.readAs
	if rq.stored || rq.fresh && !rq.begun() || rq.ended() || !renewed && known {
		return nil
	}
	sess, found, err := rq.m.read(ctx, rq.readAs)
	if err != nil || !found {
		return err
	}
	rq.stored = true
	if now, ok := sess.(*BaseSession); ok && rq.m.native != nil {
		rq.base.follow(now)
	}
	return nil
}

// leaveUnknownID gives the session a new ID if nobody knows the one that the
// client sent: it may have been planted by somebody who waits for it to become
// worth something (session fixation).
func (rq *request) leaveUnknownID(known bool) error {
	if rq.stored || rq.ended() || known || rq.sess.ID() != rq.readAs {
		return nil
	}
	rq.renewing.Store(true)
	defer rq.renewing.Store(false)
	return rq.sess.RegenerateID(rq.Context.ResponseWriter(), rq.Request().Request)
}
