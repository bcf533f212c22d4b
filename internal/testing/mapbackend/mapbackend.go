// Package mapbackend is a session.Backend in a map, for tests: the smallest one
// that keeps all rules. What is exported lets tests break them.
package mapbackend

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/flamego/session"
)

// Backend keeps its records in a map.
type Backend struct {
	Mu      sync.Mutex
	Records map[string]Rec
	// Before, if there is one, is called before each operation with the name of its
	// method. An error is that of the operation, which then does nothing.
	Before func(ctx context.Context, method, sid string) error
}

// Rec is a record with the time at which it expires.
type Rec struct {
	Data   []byte
	Expiry time.Time
	Owner  string
}

// New returns an empty backend.
func New() *Backend {
	return &Backend{Records: make(map[string]Rec)}
}

func (b *Backend) before(ctx context.Context, method, sid string) error {
	if b.Before == nil {
		return nil
	}
	return b.Before(ctx, method, sid)
}

func (b *Backend) live(sid string) (Rec, bool) {
	r, ok := b.Records[sid]
	return r, ok && time.Now().Before(r.Expiry)
}

// Put writes a record; the caller holds Mu.
func (b *Backend) Put(sid string, rec session.Record) {
	b.Records[sid] = Rec{bytes.Clone(rec.Data), time.Now().Add(rec.TTL), rec.Owner}
}

// Load is that of session.Backend.
func (b *Backend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	if err := b.before(ctx, "Load", sid); err != nil {
		return session.Record{}, false, err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	r, ok := b.live(sid)
	return session.Record{Data: r.Data, TTL: time.Until(r.Expiry)}, ok, nil
}

// Insert is that of session.Backend.
func (b *Backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	if err := b.before(ctx, "Insert", sid); err != nil {
		return false, err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if _, ok := b.live(sid); ok {
		return false, nil
	}
	b.Put(sid, rec)
	return true, nil
}

// Swap is that of session.Backend.
func (b *Backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	if err := b.before(ctx, "Swap", sid); err != nil {
		return false, err
	}
	return b.rename(sid, sid, old, rec)
}

// Rename is that of session.Backend.
func (b *Backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	if err := b.before(ctx, "Rename", sid); err != nil {
		return false, err
	}
	return b.rename(sid, newSID, old, rec)
}

func (b *Backend) rename(sid, newSID string, old []byte, rec session.Record) (bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if r, ok := b.live(sid); !ok || !bytes.Equal(r.Data, old) {
		return false, nil
	}
	if _, taken := b.live(newSID); taken && newSID != sid {
		return false, nil
	}
	delete(b.Records, sid)
	b.Put(newSID, rec)
	return true, nil
}

// Extend is that of session.Backend.
func (b *Backend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	if err := b.before(ctx, "Extend", sid); err != nil {
		return err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if r, ok := b.live(sid); ok && time.Until(r.Expiry) < ttl {
		r.Expiry = time.Now().Add(ttl)
		b.Records[sid] = r
	}
	return nil
}

// Delete is that of session.Backend.
func (b *Backend) Delete(ctx context.Context, sid string) error {
	if err := b.before(ctx, "Delete", sid); err != nil {
		return err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	delete(b.Records, sid)
	return nil
}

// Sweep is that of session.Backend.
func (b *Backend) Sweep(ctx context.Context) (bool, error) {
	if err := b.before(ctx, "Sweep", ""); err != nil {
		return false, err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for sid, r := range b.Records {
		if !time.Now().Before(r.Expiry) {
			delete(b.Records, sid)
		}
	}
	return false, nil
}

// Owned is that of session.OwnerIndex.
func (b *Backend) Owned(ctx context.Context, owner string) (owned []session.OwnedRecord, err error) {
	if err := b.before(ctx, "Owned", ""); err != nil {
		return nil, err
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for sid := range b.Records {
		if r, ok := b.live(sid); ok && r.Owner == owner {
			owned = append(owned, session.OwnedRecord{ID: sid, Record: session.Record{Data: r.Data, TTL: time.Until(r.Expiry)}})
		}
	}
	return owned, nil
}
