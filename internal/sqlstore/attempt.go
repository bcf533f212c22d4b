package sqlstore

import (
	"context"
	"time"

	"github.com/flamego/session/internal/liveness"
)

// reserve is how long an operation may wait for the answer after OnSilence at its end.
const reserve = time.Second

// SetAttempt gives a connection the deadline of the operation, for its ResetSession. On a
// connection from the pool the operation has only a part of its time: the connection may be
// dead. Where the server can be told to end what it does, there is time for that at the
// end, so that a lock that is not given is no silence.
//
// A context that can be done is left to the driver, which watches it: see Dialect.Timed.
func SetAttempt(ctx context.Context, c *liveness.Conn, pooled bool) error {
	end, ok := ctx.Deadline()
	if !ok || ctx.Done() != nil {
		return c.SetDeadline(time.Time{})
	}
	attempt := end
	if pooled {
		attempt, _ = liveness.Attempt(ctx)
	}
	if c.OnSilence != nil {
		if latest := end.Add(-min(time.Until(end)/4, reserve)); latest.Before(attempt) {
			attempt = latest
		}
	}
	return c.SetAttempt(attempt, end)
}
