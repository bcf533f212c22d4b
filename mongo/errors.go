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

// retry runs a command, and up to three times more while its connection breaks.
//
// All commands may be repeated: once a command has succeeded, its filter does not match
// again. If a second attempt is refused for that reason, the portable store finds out.
// The driver itself would repeat fewer commands, and none on a single server.
//
// There is no pause between attempts. A failure empties the pool, and the next attempt
// waits until the driver has found a server again.
func retry[T any](ctx context.Context, command func() (T, error)) (T, error) {
	val, err := command()
	for n := 0; n < 3 && broken(err) && ctx.Err() == nil; n++ {
		val, err = command()
	}
	return val, redacted(err)
}

// broken reports whether err is that of a connection that had worked before, or of a pool
// that was emptied because another connection broke.
func broken(err error) bool {
	var cleared driver.RetryablePoolError
	return mongo.IsNetworkError(err) || errors.As(err, &cleared)
}

// redacted returns err with a text that is safe to show. Of the text of the driver it keeps
// what is useful.
func redacted(err error) error {
	var selection topology.ServerSelectionError
	if errors.As(err, &selection) {
		// Its text describes all servers, with the reason somewhere in the middle.
		for _, server := range selection.Desc.Servers {
			if server.LastError != nil {
				return redact.New(reason(server.LastError), err)
			}
		}
		return redact.New("no primary found: "+reason(selection.Wrapped), err)
	}
	var write mongo.WriteException
	if errors.As(err, &write) && len(write.WriteErrors) > 0 {
		// Its text may end with the document, session ID and data included.
		return redact.New(write.WriteErrors[0].Message, err)
	}
	var escape url.EscapeError
	if errors.As(err, &escape) {
		// Its text quotes from the user name or password.
		return redact.New("error parsing uri: invalid URL escape", err)
	}
	return err
}

// reason is the text of an error without what the driver says about its connection.
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
