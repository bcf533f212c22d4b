package mongo

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/readpref"

	"github.com/flamego/session/internal/liveness"
	"github.com/flamego/session/internal/redact"
	"github.com/flamego/session/internal/starting"
)

// ownClient is a client that the store has made. Its connections are watched, so that one
// that has died without a word costs one visit a few seconds, and the others nothing.
type ownClient struct {
	client atomic.Pointer[mongo.Client] // also for connections made before there is one
	conns  liveness.Conns
}

// connectTimeout is how long a server may take to accept a connection, and for each answer of
// the handshake. The driver makes two connections at a time. So two that hang are in the way of
// all others, though the server may be back.
const connectTimeout = 5 * time.Second

// connect makes a client with the settings, which belong to the app and stay as they are.
func connect(ctx context.Context, settings *Options) (*ownClient, error) {
	own := new(ownClient)
	own.conns.Alive = own.answers
	dial := new(net.Dialer).DialContext
	if settings.Dialer != nil {
		dial = settings.Dialer.DialContext
	}
	mine := *settings
	if mine.ConnectTimeout == nil {
		mine.SetConnectTimeout(connectTimeout)
	}
	mine.SetDialer(dialer{own.conns.Dialer(dial), *mine.ConnectTimeout})
	if mine.MaxConnIdleTime == nil {
		mine.SetMaxConnIdleTime(liveness.IdleTime)
	}
	client, err := mongo.Connect(ctx, &mine)
	if err != nil {
		return nil, redact.New(explainOptions(err), err)
	}
	own.client.Store(client)
	return own, nil
}

type dialer struct {
	dial  liveness.DialFunc
	limit time.Duration // see limited; 0 for none
}

func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.dial(ctx, network, addr)
	if err != nil || d.limit == 0 {
		return c, err
	}
	return limited{c, d.limit}, nil
}

// limited is a connection on which nobody waits for good. The driver gives the handshake no
// deadline, and an operation that of its context.
type limited struct {
	net.Conn
	limit time.Duration
}

func (c limited) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(c.within(t)) }

func (c limited) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.within(t)) }

func (c limited) within(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now().Add(c.limit)
	}
	return t
}

// answers reports whether the server answers a ping while a command waits for its answer. If
// so, the connections are alive and the command takes long, for example because somebody has
// locked the document. The timeout is short, so that the package liveness does not ask again
// for the same command.
func (c *ownClient) answers() bool {
	client := c.client.Load()
	if client == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
	defer cancel()
	return client.Ping(ctx, readpref.Primary()) == nil
}

// reach waits until the server answers, or until ctx is done. A server may be starting, or
// the primary of a replica set may not be elected yet.
func reach(ctx context.Context, client *mongo.Client) error {
	ping := func(ctx context.Context) error { return client.Ping(ctx, readpref.Primary()) }
	return starting.Wait(ctx, ping, func(err error) bool { return unsent(err) || broken(err) || notPrimary(err) })
}

// leave leaves a server that is not the primary any more. The driver closes no connection
// for that, as it goes to the server that is. But there may be a name or an address that
// leads to another server from now on, and the driver knows only one.
func (b *backend) leave(ctx context.Context) {
	if b.own != nil {
		b.own.conns.DropIdle()
		_ = reach(ctx, b.own.client.Load()) // or else the next command finds it out
	}
}

// checkNames finds names that every server refuses, or takes for something else.
func checkNames(config Config) error {
	switch {
	case config.Database == "":
		return errors.New("empty Database")
	case strings.ContainsAny(config.Database, "/\\. \"$\x00") || len(config.Database) > 63:
		return errors.New("bad Database: a name has up to 63 bytes, without / \\ . $ \" and spaces")
	case strings.ContainsAny(config.Collection, "$\x00"):
		return errors.New("bad Collection: a name has no $")
	}
	return nil
}
