// Package mongo keeps sessions in MongoDB.
//
//	f.Use(session.Sessioner(session.Options{
//		Initer: mongo.Initer(),
//		Config: mongo.Config{
//			Options:  options.Client().ApplyURI(os.Getenv("MONGODB_URI")),
//			Database: "app",
//		},
//	}))
//
// # Model
//
// A session is one document {key, data, expired_at} of a collection: the ID, the
// encoded data as BSON binary, and the time when it expires as a BSON date, by the clock
// of the server: see Clock. From then on the record is dead, whether it has been deleted or not.
//
// To load a session or to change it takes one command on one document. A change has a filter
// that names the state it expects: if two changes expect the same state, only one of them finds
// it. A new session takes a second command if there is a document with its ID already. To
// delete a session is one command for all documents with its ID. GC takes two commands for each
// 500 documents.
//
// At start the store makes a unique index on key and an index on expired_at, if the
// server lets it. There is no TTL index, because the documents may belong to an app that
// deletes them in its own way. The store's GC deletes what has expired, 500 documents at
// a time. Reads go to the primary, whatever the client prefers.
//
// # Owners
//
// With Options.OwnerKey the document of a session with an owner has one more field, owner,
// a string. It is written in the same command as the data, so an owner costs no round trip.
// The sessions of an owner are found by one command, and one more for each 1,000. A
// document of nobody has no such field. At start the store makes a sparse index on owner.
// Without it each list reads all documents that are live. A process without
// OwnerKey, or with the older library, leaves the field as it is.
//
// The field is the store's. If an app keeps a field of that name in these documents, the next
// write of a session replaces or removes it. Until then the store finds no owner in it. Without
// OwnerKey the store leaves the field alone.
//
// # Errors
//
// The Initer returns an error when there is neither Client nor Options, when
// there is no Database or its name is not valid, and when no primary answers within 5
// seconds. It waits so long for a server that is starting. If an index
// cannot be made, the store starts without it. The first GC then returns the error,
// which the middleware hands to Options.ErrorFunc. A write concern that the server does not
// know, or that it can never meet, is an error at once.
//
// Errors say what is wrong, and name the parameter where one is known to be wrong. They hold
// the code of the server, but no part of the URI, no command and no other text of the server or
// the driver. errors.As finds the error of the driver, which holds all that.
//
// Every operation ends with its context. With the default of Options.Timeout that is earlier
// than the driver's own ServerSelectionTimeout of 30 seconds. A command is sent again if it got
// no connection, or if the server has refused it because it is not the primary any more. A
// load, an extend and a delete are also sent again after the connection broke. A write whose
// answer was lost is not sent again by the store. (The driver may do so by retryWrites: then
// the server knows the write again, and runs it once.) The store looks what has become of it:
// see session.Backend. So the first request after a restart or a failover succeeds. A write
// that the primary has made, and whose write concern was not met in time, counts as made if the
// record is there.
//
// # Connections
//
// A client made from Options keeps an idle connection for 2 minutes, unless MaxConnIdleTime is
// set, as balancers drop connections after 4 minutes, often without a word. A server has 5 seconds,
// unless ConnectTimeout is set, to accept a connection, and for each answer of the handshake: for
// as long, two connections that hang are in the way of all others, even if an outage is over.
//
// The first attempt of an operation has a quarter of the time, and at least 2 seconds. If it gets
// no answer by then, the store asks the server something else on the connections there are. If
// there is no answer to that either, all idle connections are closed: one visit waits for 2
// seconds, and the others do not wait. If there is an answer, the connections are fine, and only
// this command takes long: for example because a transaction of the app has locked the document.
//
// All of that needs the dialer of the client. For a Client that is shared, set MaxConnIdleTime to
// 2 minutes. Without it each connection that has died costs an attempt, and a visit that meets
// two of them fails. And set SocketTimeout, as the driver has no other limit for a handshake:
// without it two that hang keep the client from making connections until it is restarted.
//
// The pool is the driver's: up to 100 connections for each server, or MaxPoolSize.
//
// # Clock
//
// Commands name times, so a process has to know the clock of the server. It asks for it at start
// and before each GC, by the field localTime of the command hello. If the two agree to a second, it
// goes by its own clock, and otherwise by that of the server. If they differ by more than a
// minute, Options.ErrorFunc is told. A clock that is set while the process runs counts until the
// next GC.
//
// # Limits
//
// Without the unique index, two requests that begin the same session at the same time
// may make two documents of it. Writes must be acknowledged. With a write concern of less than a
// majority, a failover may undo the last commits. In FerretDB 1 an update with a filter
// is not atomic: if two processes change one session at the same time, a change may get
// lost.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readpref"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/clock"
)

// Options are the settings of a client: those of the package
// go.mongodb.org/mongo-driver/mongo/options.
type Options = options.ClientOptions

// Config says where the sessions are. Client or Options must be given, and
// Database.
type Config struct {
	// Client is a client to share, which the store never disconnects. Default is
	// a new client made from Options.
	Client *mongo.Client
	// Options are the settings for a new client. Default is none, which is an
	// error if there is no Client either.
	Options *Options
	// Database is the name of the database. Default is none, which is an error.
	Database string
	// Collection is the name of the collection, made at start if it does not
	// exist. Default is "sessions".
	Collection string
	// MaxDataSize is the greatest number of bytes of encoded data of one session. To
	// save more is an error, and a larger record is not decoded. A document holds up to
	// 16 MiB. Default is 1 MiB.
	MaxDataSize int
	// Lifetime is the duration without access after which a session ends.
	// MongoDB counts in milliseconds. Default is 3600 seconds, also for values
	// below one second.
	Lifetime time.Duration
	// Encoder makes the field data of a document. Default is session.GobEncoder.
	Encoder session.Encoder
	// Decoder reads the field data of a document. Default is session.GobDecoder.
	Decoder session.Decoder
}

// Initer returns the session.Initer of MongoDB, which wants a Config.
func Initer() session.Initer {
	return session.NewIniter(open)
}

func open(ctx context.Context, config Config) (session.Backend, session.StoreConfig, error) {
	sc := session.StoreConfig{
		Name:        "mongo",
		Encoder:     config.Encoder,
		Decoder:     config.Decoder,
		Lifetime:    config.Lifetime,
		MaxDataSize: config.MaxDataSize,
	}
	if config.Client == nil && config.Options == nil {
		return nil, sc, errors.New("empty Options")
	}
	if err := checkNames(config); err != nil {
		return nil, sc, err
	}
	if config.Collection == "" {
		config.Collection = "sessions"
	}

	b := &backend{indexErr: make(chan error, 1), clock: clock.New()}
	client := config.Client
	if client == nil {
		var err error
		if b.own, err = connect(ctx, config.Options); err != nil {
			return nil, sc, fmt.Errorf("mongo: connect: %w", err)
		}
		client = b.own.client.Load()
	}
	// The settings of the client do not fit: a secondary may not have the last commit
	// yet, and a registry made for the app's types may write our documents differently.
	b.coll = client.Database(config.Database).Collection(config.Collection,
		options.Collection().SetReadPreference(readpref.Primary()).SetRegistry(bson.NewRegistry()))

	if err := reach(ctx, client); err != nil {
		_ = b.Close()
		return nil, sc, fmt.Errorf("mongo: connect: %w", redacted(err))
	}
	if err := b.makeIndexes(ctx); isSetting(err) {
		_ = b.Close()
		return nil, sc, fmt.Errorf("mongo: %w", err)
	} else if err != nil {
		b.indexErr <- err
	}
	return b, sc, nil
}
