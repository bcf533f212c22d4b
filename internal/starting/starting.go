// Package starting waits for a server that is still starting: apps and their databases
// are often started together.
package starting

import (
	"context"
	"time"

	"github.com/flamego/session/internal/deadline"
)

const (
	pause = 100 * time.Millisecond
	limit = 5 * time.Second // if the context has no deadline
)

// Wait calls try until it succeeds, until it fails for good, or until ctx is done. The
// reason that it returns is that of the last attempt that had the time to fail.
func Wait(ctx context.Context, try func(context.Context) error, mayStart func(error) bool) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	var reason error
	for {
		err := try(ctx)
		switch {
		case err == nil:
			return nil
		case reason == nil || deadline.Err(ctx) == nil:
			reason = err
		}
		if !mayStart(err) {
			return reason
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return reason
		}
	}
}
