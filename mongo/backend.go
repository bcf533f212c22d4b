package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/clock"
)

var (
	_ session.Backend     = (*backend)(nil)
	_ session.OwnerIndex  = (*backend)(nil)
	_ session.OwnerIniter = (*backend)(nil)
	_ session.ServerClock = (*backend)(nil)
	_ io.Closer           = (*backend)(nil)
)

type backend struct {
	coll     *mongo.Collection
	own      *ownClient // nil for a client of the Config
	clock    *clock.Clock
	indexErr chan error // the error of indexes that were not made, which the first Sweep returns
	owners   bool       // set by InitOwners: documents have the field owner
}

// makeIndexes makes the two indexes. If one of them fails, the other is still made.
func (b *backend) makeIndexes(ctx context.Context) error {
	unique := options.Index().SetUnique(true)
	return errors.Join(b.makeIndex(ctx, "key", unique), b.makeIndex(ctx, "expired_at", nil))
}

func (b *backend) makeIndex(ctx context.Context, field string, opts *options.IndexOptions) error {
	_, err := b.coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: opts})
	if mongo.IsDuplicateKeyError(err) {
		err = errors.New("the collection has documents with the same key")
	} else {
		err = redacted(err)
	}
	if err != nil {
		return fmt.Errorf("create index on %s: %w", field, err)
	}
	return nil
}

// isSetting reports whether an index cannot be made because of a setting with which no
// session can be saved either.
func isSetting(err error) bool {
	var server mongo.ServerError
	return errors.As(err, &server) && (server.HasErrorCode(codeInvalidNamespace) ||
		server.HasErrorCode(codeUnknownWriteConcern) || server.HasErrorCode(codeUnsatisfiableWriteConcern))
}

// ServerTime asks for the time of the server. Commands name times, so the backend goes by that
// clock itself.
func (b *backend) ServerTime(ctx context.Context) (time.Time, error) {
	_, err := b.clock.Learn(func() (time.Time, error) {
		hello, err := read(ctx, b, func(ctx context.Context) (hello struct {
			LocalTime time.Time `bson:"localTime"`
		}, err error) {
			db := b.coll.Database().Client().Database("admin")
			return hello, db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello)
		})
		if err == nil && hello.LocalTime.IsZero() {
			err = errors.ErrUnsupported
		}
		return hello.LocalTime, err
	})
	return b.clock.Now(), err
}

// Load filters by the clock of the server, which also counts the time that is left.
func (b *backend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	now := b.clock.Now()
	filter := bson.D{{Key: "key", Value: sid}, live(now)}
	rec, err := read(ctx, b, func(ctx context.Context) (session.Record, error) {
		var doc struct {
			Data      []byte    `bson:"data"`
			ExpiredAt time.Time `bson:"expired_at"`
		}
		err := b.coll.FindOne(ctx, filter).Decode(&doc)
		return session.Record{Data: doc.Data, TTL: doc.ExpiredAt.Sub(now)}, err
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return session.Record{}, false, nil
	}
	return rec, err == nil, err
}

// Insert takes a second step in the rare case that there is a document. With the unique
// index one step would be enough, an upsert of {key, expired_at <= now}. Without the
// index that upsert would add a second document beside a live document.
func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	key := bson.E{Key: "key", Value: sid}
	res, err := b.update(ctx, bson.D{key}, bson.D{{Key: "$setOnInsert", Value: b.fields(rec)}}, options.Update().SetUpsert(true))
	if err != nil || res.UpsertedCount > 0 {
		return err == nil, err
	}
	return b.updateOne(ctx, bson.D{key, dead(b.clock.Now())}, rec)
}

func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.updateOne(ctx, b.holds(sid, old), rec)
}

func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return b.updateOne(ctx, b.holds(sid, old), rec, bson.E{Key: "key", Value: newSID})
}

func (b *backend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	now := b.clock.Now()
	until := after(now, ttl)
	filter := bson.D{
		{Key: "key", Value: sid},
		{Key: "expired_at", Value: bson.D{{Key: "$gt", Value: date(now)}, {Key: "$lt", Value: until}}},
	}
	change := bson.D{{Key: "$set", Value: bson.D{{Key: "expired_at", Value: until}}}}
	_, err := read(ctx, b, func(ctx context.Context) (*mongo.UpdateResult, error) {
		return b.coll.UpdateOne(ctx, filter, change)
	})
	return err
}

// Delete deletes all documents of the session. There may be several in a collection that
// never had a unique index.
func (b *backend) Delete(ctx context.Context, sid string) error {
	return b.delete(ctx, bson.D{{Key: "key", Value: sid}})
}

// Sweep finds up to 500 dead documents and deletes them by their _id, so that no command
// runs for long. It deletes a document only if it is still dead, since an insert may have
// replaced it meanwhile.
func (b *backend) Sweep(ctx context.Context) (bool, error) {
	select {
	case err := <-b.indexErr:
		return false, err
	default:
	}

	const batch = 500
	filter := bson.D{dead(b.clock.Now())}
	opts := options.Find().SetLimit(batch).SetProjection(bson.D{{Key: "_id", Value: 1}})
	found, err := read(ctx, b, func(ctx context.Context) (docs []struct {
		ID interface{} `bson:"_id"`
	}, err error) {
		cur, err := b.coll.Find(ctx, filter, opts)
		if err == nil {
			err = cur.All(ctx, &docs)
		}
		return docs, err
	})
	if err != nil || len(found) == 0 {
		return false, err
	}
	ids := make(bson.A, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	err = b.delete(ctx, append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}))
	return len(found) == batch && err == nil, err
}

// closeTimeout is how long Close waits for operations that are still running.
const closeTimeout = 2 * time.Second

// Close disconnects the client if the store has made it. A second call does nothing.
func (b *backend) Close() error {
	if b.own == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := b.own.client.Load().Disconnect(ctx); !errors.Is(err, mongo.ErrClientDisconnected) {
		return redacted(err)
	}
	return nil
}

// updateOne sets the fields of a record, and more fields, in the document that the filter
// finds. It reports whether the filter has found a document.
func (b *backend) updateOne(ctx context.Context, filter bson.D, rec session.Record, more ...bson.E) (bool, error) {
	change := bson.D{{Key: "$set", Value: append(b.fields(rec), more...)}}
	if b.owners && rec.Owner == "" {
		change = append(change, bson.E{Key: "$unset", Value: bson.D{{Key: "owner", Value: ""}}})
	}
	res, err := b.update(ctx, filter, change, options.Update())
	return err == nil && res.MatchedCount > 0, err
}

// update reports no match if the key is a duplicate: another document has the ID.
func (b *backend) update(ctx context.Context, filter, change bson.D, opts *options.UpdateOptions) (*mongo.UpdateResult, error) {
	return write(ctx, b, func(ctx context.Context) (*mongo.UpdateResult, error) {
		res, err := b.coll.UpdateOne(ctx, filter, change, opts)
		if mongo.IsDuplicateKeyError(err) {
			return &mongo.UpdateResult{}, nil
		}
		return res, err
	})
}

func (b *backend) delete(ctx context.Context, filter bson.D) error {
	_, err := read(ctx, b, func(ctx context.Context) (*mongo.DeleteResult, error) { return b.coll.DeleteMany(ctx, filter) })
	return err
}

// holds is the filter for a live document with exactly these bytes.
func (b *backend) holds(sid string, data []byte) bson.D {
	return bson.D{{Key: "key", Value: sid}, {Key: "data", Value: primitive.Binary{Data: data}}, live(b.clock.Now())}
}

// fields are the fields of a document but for its key. A document of nobody has no field
// owner, so that it is not in the index on it.
func (b *backend) fields(rec session.Record) bson.D {
	values := bson.D{
		{Key: "data", Value: primitive.Binary{Data: rec.Data}},
		{Key: "expired_at", Value: after(b.clock.Now(), rec.TTL)},
	}
	if b.owners && rec.Owner != "" {
		values = append(values, bson.E{Key: "owner", Value: rec.Owner})
	}
	return values
}

func live(now time.Time) bson.E {
	return bson.E{Key: "expired_at", Value: bson.D{{Key: "$gt", Value: date(now)}}}
}

func dead(now time.Time) bson.E {
	return bson.E{Key: "expired_at", Value: bson.D{{Key: "$lte", Value: date(now)}}}
}

// date is t in the whole milliseconds of BSON, rounded down. An expiry is in whole
// milliseconds too, so it is after date(t) exactly if it is after t.
func date(t time.Time) primitive.DateTime {
	return primitive.DateTime(t.UnixMilli())
}

// after is the date at which ttl has passed since now, rounded up.
func after(now time.Time, ttl time.Duration) primitive.DateTime {
	return date(now.Add(ttl + time.Millisecond - 1))
}
