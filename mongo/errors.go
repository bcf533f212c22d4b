package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/x/mongo/driver"
	"go.mongodb.org/mongo-driver/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/attempts"
	"github.com/flamego/session/internal/backoff"
	"github.com/flamego/session/internal/liveness"
	"github.com/flamego/session/internal/redact"
)

// read runs a command that may be repeated whatever has become of it: one that changes
// nothing, or that changes nothing more the second time.
func read[T any](ctx context.Context, b *backend, command func(context.Context) (T, error)) (T, error) {
	val, err := repeat(ctx, b, func(err error) bool { return unsent(err) || broken(err) || mongo.IsTimeout(err) }, command)
	return val, redacted(err)
}

// write runs a command that is repeated only if it surely has done nothing. If its answer
// is lost, it must not be: another request may have been told that the record is as it
// wants it, and would lose that. On a replica set the driver repeats the command once. The
// server knows a repeated command by its number, and does not run it twice.
func write[T any](ctx context.Context, b *backend, command func(context.Context) (T, error)) (T, error) {
	val, err := repeat(ctx, b, unsent, command)
	if err != nil && (unsent(err) || declined(err)) {
		return val, redact.New(explain(err), errors.Join(session.ErrNotApplied, err))
	}
	return val, redacted(err)
}

const maxRepeats = 3

// repeat runs a command, and repeats it if it may be repeated. The first attempt has
// only a part of the time, because its connection may be dead.
//
// There is no pause before the first repeat. A failure empties the pool, and the next
// attempt waits until the driver has found a server again. A server that is not the primary
// any more is asked until there is one.
func repeat[T any](
	ctx context.Context, b *backend, mayRepeat func(error) bool, command func(context.Context) (T, error),
) (T, error) {
	val, err := firstAttempt(ctx, command)
	for n := 0; err != nil && ctx.Err() == nil; n++ {
		steppedDown := notPrimary(err)
		if !steppedDown && (n == maxRepeats || !mayRepeat(err)) {
			break
		}
		if n > 0 && backoff.Pause(ctx, n, 200*time.Millisecond) != nil {
			break
		}
		if steppedDown && n > 0 { // the driver has not found the primary by itself
			b.leave(ctx)
		}
		attempts.Again(ctx)
		val, err = command(ctx)
	}
	return val, err
}

func firstAttempt[T any](ctx context.Context, command func(context.Context) (T, error)) (T, error) {
	if end, ok := liveness.Attempt(ctx); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	return command(ctx)
}

// broken reports whether err is that of a connection that had worked before.
func broken(err error) bool { return mongo.IsNetworkError(err) }

// unsent reports whether a command got no connection, so that it was never sent. If the
// driver has sent it before, it returns the error of that attempt instead.
func unsent(err error) bool {
	var (
		cleared   driver.RetryablePoolError
		selection topology.ServerSelectionError
		full      topology.WaitQueueTimeoutError
		dial      topology.ConnectionError
	)
	if errors.As(err, &cleared) || errors.As(err, &selection) || errors.As(err, &full) {
		return true
	}
	// With the error of a command, the connection had been there.
	return errors.As(err, &dial) && !errors.As(err, new(mongo.CommandError)) && !refusesUser(err)
}

// refusesUser reports whether the server refuses the user or the password. To try again
// makes no difference, and may lock the user.
func refusesUser(err error) bool { return errors.As(err, new(*auth.Error)) && !broken(err) }

// notPrimary reports whether a server has refused a command because it is not the primary,
// or not any more. The server has done nothing. With the label, the driver has repeated the
// command, and it is not known what became of it the first time.
func notPrimary(err error) bool {
	code, ok := codeOf(err)
	return ok && codes[code].notPrimary && !repeatedByDriver(err)
}

// declined reports whether the server has answered that it has not run a command. A write
// concern that was not met is no such answer: the record is written.
func declined(err error) bool {
	code, ok := codeOf(err)
	return ok && codes[code].nothingDone && !repeatedByDriver(err)
}

func repeatedByDriver(err error) bool {
	var labeled mongo.LabeledError
	return errors.As(err, &labeled) && labeled.HasErrorLabel(driver.RetryableWriteError)
}

// codeOf returns the code with which the server has refused a command.
func codeOf(err error) (code int, ok bool) {
	var (
		command   mongo.CommandError
		exception mongo.WriteException
		inner     driver.Error // of a handshake
	)
	switch {
	case errors.As(err, &exception):
		if len(exception.WriteErrors) > 0 {
			return exception.WriteErrors[0].Code, true
		}
		return 0, false
	case errors.As(err, &command):
		return int(command.Code), command.Code != 0
	case errors.As(err, &inner):
		return int(inner.Code), inner.Code != 0
	}
	return 0, false
}
