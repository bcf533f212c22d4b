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
}

// Rec is a record with the time at which it expires.
type Rec struct {
	Data   []byte
	Expiry time.Time
}

// New returns an empty backend.
func New() *Backend {
	return &Backend{Records: make(map[string]Rec)}
}

func (b *Backend) live(sid string) (Rec, bool) {
	r, ok := b.Records[sid]
	return r, ok && time.Now().Before(r.Expiry)
}

// Put writes a record; the caller holds Mu.
func (b *Backend) Put(sid string, rec session.Record) {
	b.Records[sid] = Rec{bytes.Clone(rec.Data), time.Now().Add(rec.TTL)}
}

// Load is that of session.Backend.
func (b *Backend) Load(_ context.Context, sid string) (session.Record, bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	r, ok := b.live(sid)
	return session.Record{Data: r.Data, TTL: time.Until(r.Expiry)}, ok, nil
}

// Insert is that of session.Backend.
func (b *Backend) Insert(_ context.Context, sid string, rec session.Record) (bool, error) {
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
	return b.Rename(ctx, sid, sid, old, rec)
}

// Rename is that of session.Backend.
func (b *Backend) Rename(_ context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if r, ok := b.live(sid); !ok || !bytes.Equal(r.Data, old) {
		return false, nil
	}
	delete(b.Records, sid)
	b.Put(newSID, rec)
	return true, nil
}

// Extend is that of session.Backend.
func (b *Backend) Extend(_ context.Context, sid string, ttl time.Duration) error {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if r, ok := b.live(sid); ok {
		r.Expiry = time.Now().Add(ttl)
		b.Records[sid] = r
	}
	return nil
}

// Delete is that of session.Backend.
func (b *Backend) Delete(_ context.Context, sid string) error {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	delete(b.Records, sid)
	return nil
}

// Sweep is that of session.Backend.
func (b *Backend) Sweep(context.Context) (bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	for sid, r := range b.Records {
		if !time.Now().Before(r.Expiry) {
			delete(b.Records, sid)
		}
	}
	return false, nil
}
