package mongo

import (
	"context"
	"errors"
	"net/url"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/x/mongo/driver"
	"go.mongodb.org/mongo-driver/x/mongo/driver/topology"

	"github.com/flamego/session/internal/redact"
)

// try runs a command, and a few times more while its connection breaks: all of
// ours may be repeated, as a filter that has matched does not match again, and
// the portable store looks into a refusal. The driver would repeat fewer, on a
// single server none. It needs no pause, as a failure empties the pool and the
// next attempt waits until the driver has found a server again.
func try[T any](ctx context.Context, command func() (T, error)) (T, error) {
	val, err := command()
	for n := 0; n < 3 && broken(err) && ctx.Err() == nil; n++ {
		val, err = command()
	}
	return val, clean(err)
}

// broken tells whether err is that of a connection that once worked, or of a
// pool that was emptied since a neighbour's broke.
func broken(err error) bool {
	var cleared driver.RetryablePoolError
	return mongo.IsNetworkError(err) || errors.As(err, &cleared)
}

// clean keeps the useful part of the text of a driver's error.
func clean(err error) error {
	var selection topology.ServerSelectionError
	if errors.As(err, &selection) {
		// Its text describes all servers, the reason somewhere in the middle.
		for _, server := range selection.Desc.Servers {
			if server.LastError != nil {
				return &redact.Error{Text: reason(server.LastError), Err: err}
			}
		}
		return &redact.Error{Text: "no primary found: " + reason(selection.Wrapped), Err: err}
	}
	var write mongo.WriteException
	if errors.As(err, &write) && len(write.WriteErrors) > 0 {
		// Its text may end with the document, session ID and data included.
		return &redact.Error{Text: write.WriteErrors[0].Message, Err: err}
	}
	var escape url.EscapeError
	if errors.As(err, &escape) {
		// Its text quotes from the user name or password.
		return &redact.Error{Text: "error parsing uri: invalid URL escape", Err: err}
	}
	return err
}

// reason is the text of the error below those of the driver's connections.
func reason(err error) string {
	if err == nil {
		return "no reason given"
	}
	var conn topology.ConnectionError
	for errors.As(err, &conn) && conn.Wrapped != nil {
		err = conn.Wrapped
	}
	return err.Error()
}
