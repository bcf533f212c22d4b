package sqlstore

import (
	"context"
	"time"

	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/deadline"
)

// maxPause is the longest pause between two attempts.
const maxPause = 20 * time.Millisecond

// retry calls f, and again as long as that may help. Whatever f does is harmless to do
// twice: once it has succeeded, the state that it expects is gone. If a second attempt
// is refused for that reason, the portable store finds out.
//
// A restart of the server leaves a pool full of broken connections, of which each
// attempt removes one. So there are as many attempts as connections, and a few more.
func (b *backend) retry(ctx context.Context, p *pool, f func(context.Context) error) error {
	limit, locked := 0, false
	for n := 0; ; n++ {
		err := p.use(ctx, f)
		if err == nil {
			return nil
		}
		if done := deadline.Err(ctx); done != nil {
			return b.contextErr(done, err, locked)
		}
		locked = b.dialect.waitedForLock(err)
		if n == 0 {
			limit = p.Stats().OpenConnections + 8
		}
		switch class := b.dialect.class(err); {
		case class == Broken && n < limit:
		case class == Again && n < limit, class == Locked:
			_ = backoff.Pause(ctx, n, maxPause) // if ctx is done, f says so too
		default:
			return b.redacted(err)
		}
	}
}
