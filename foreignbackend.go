package session

import (
	"context"
	"time"

	"github.com/flamego/session/internal/redact"
)

// foreignBackend makes the errors of a backend safe to show. What an app's backend returns may
// be the error of a driver, with what a server has quoted. The errors of our own backends are
// safe already, and stay as they are.
type foreignBackend struct{ wrappedBackend }

func (b foreignBackend) Load(ctx context.Context, sid string) (Record, bool, error) {
	rec, found, err := b.Backend.Load(ctx, sid)
	return rec, found, redact.Foreign(err, sid)
}

func (b foreignBackend) Insert(ctx context.Context, sid string, rec Record) (bool, error) {
	ok, err := b.Backend.Insert(ctx, sid, rec)
	return ok, redact.Foreign(err, sid)
}

func (b foreignBackend) Swap(ctx context.Context, sid string, old []byte, rec Record) (bool, error) {
	ok, err := b.Backend.Swap(ctx, sid, old, rec)
	return ok, redact.Foreign(err, sid)
}

func (b foreignBackend) Rename(ctx context.Context, sid, newSID string, old []byte, rec Record) (bool, error) {
	ok, err := b.Backend.Rename(ctx, sid, newSID, old, rec)
	return ok, redact.Foreign(err, sid, newSID)
}

func (b foreignBackend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	return redact.Foreign(b.Backend.Extend(ctx, sid, ttl), sid)
}

func (b foreignBackend) Delete(ctx context.Context, sid string) error {
	return redact.Foreign(b.Backend.Delete(ctx, sid), sid)
}

func (b foreignBackend) Sweep(ctx context.Context) (more bool, err error) {
	more, err = b.Backend.Sweep(ctx)
	return more, redact.Foreign(err)
}

// Owned is for a backend that is an OwnerIndex.
func (b foreignBackend) Owned(ctx context.Context, owner string) ([]OwnedRecord, error) {
	owned, err := b.wrappedBackend.Owned(ctx, owner)
	return owned, redact.Foreign(err, owner)
}

// InitOwners prepares the index of a backend that has something to prepare.
func (b foreignBackend) InitOwners(ctx context.Context) error {
	return redact.Foreign(b.wrappedBackend.InitOwners(ctx))
}

// Close closes a backend that can be closed.
func (b foreignBackend) Close() error { return redact.Foreign(b.wrappedBackend.Close()) }
