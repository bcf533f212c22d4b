package session

import (
	"hash/maphash"
	"sync/atomic"
)

// issuedIDs remembers, for a while, which IDs this process has given out and not
// yet stored anything under, so that an ID which a client makes up can be told
// from one that it was given. It is a table of fixed size (512 KiB) with one
// place for each ID; a later ID may take it. Forgetting does no harm: the
// session gets another ID at its first commit.
type issuedIDs struct {
	seed  maphash.Seed
	table [1 << 16]atomic.Uint64
}

func newIssuedIDs() *issuedIDs {
	return &issuedIDs{seed: maphash.MakeSeed()}
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
