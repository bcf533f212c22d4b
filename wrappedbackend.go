package session

import (
	"context"
	"errors"
	"io"
	"time"
)

// wrappedBackend passes everything on to the backend in it, also what not every backend has: an index of
// owners, a clock, Close. Whoever embeds it writes only the methods that do more.
type wrappedBackend struct{ Backend }

func (b wrappedBackend) inner() Backend { return b.Backend }

// given returns the backend that NewStore was given.
func given(b Backend) Backend {
	for {
		w, ok := b.(interface{ inner() Backend })
		if !ok {
			return b
		}
		b = w.inner()
	}
}

// Owned is for a backend that is an OwnerIndex.
func (b wrappedBackend) Owned(ctx context.Context, owner string) ([]OwnedRecord, error) {
	return b.Backend.(OwnerIndex).Owned(ctx, owner)
}

// InitOwners prepares the index of a backend that has something to prepare.
func (b wrappedBackend) InitOwners(ctx context.Context) error {
	if i, ok := b.Backend.(OwnerIniter); ok {
		return i.InitOwners(ctx)
	}
	return nil
}

// ServerTime is for a backend that is a ServerClock.
func (b wrappedBackend) ServerTime(ctx context.Context) (time.Time, error) {
	c, ok := b.Backend.(ServerClock)
	if !ok {
		return time.Time{}, errors.ErrUnsupported
	}
	return c.ServerTime(ctx)
}

// Close closes a backend that can be closed.
func (b wrappedBackend) Close() error {
	if c, ok := b.Backend.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
