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
)

var (
	_ session.Backend = (*backend)(nil)
	_ io.Closer       = (*backend)(nil)
)

type backend struct {
	coll    *mongo.Collection
	own     *mongo.Client // nil if the client is not ours
	atStart chan error    // at most one error, for the first Sweep to return
}

// makeIndexes makes the two indexes, independently of each other.
func (b *backend) makeIndexes(ctx context.Context) error {
	create := func(field string, opts *options.IndexOptions) error {
		_, err := b.coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: opts})
		if mongo.IsDuplicateKeyError(err) {
			err = errors.New("the collection has documents with the same key") // the driver's text has the key
		}
		if err != nil {
			return fmt.Errorf("create index on %s: %w", field, clean(err))
		}
		return nil
	}
	unique := options.Index().SetUnique(true)
	return errors.Join(create("key", unique), create("expired_at", nil))
}

// Load finds no dead document, so there is one clock that decides: ours.
func (b *backend) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	now := time.Now()
	filter := bson.D{{Key: "key", Value: sid}, live(now)}
	rec, err := try(ctx, func() (session.Record, error) {
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

// Insert goes in two steps, of which the second is for the rare case of a
// document that is there. One step would do with the unique index, an upsert of
// {key, expired_at <= now}; but without it that adds a second document to a live
// one.
func (b *backend) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	key := bson.E{Key: "key", Value: sid}
	set := fields(rec)
	res, err := b.update(ctx, bson.D{key}, bson.D{{Key: "$setOnInsert", Value: set}}, options.Update().SetUpsert(true))
	if err != nil || res.UpsertedCount > 0 {
		return err == nil, err
	}
	return b.set(ctx, bson.D{key, dead(time.Now())}, set)
}

func (b *backend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.set(ctx, holds(sid, old), fields(rec))
}

func (b *backend) Rename(ctx context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	return b.set(ctx, holds(sid, old), append(fields(rec), bson.E{Key: "key", Value: newSID}))
}

func (b *backend) Extend(ctx context.Context, sid string, ttl time.Duration) error {
	now := time.Now()
	until := after(now, ttl)
	_, err := b.set(ctx, bson.D{
		{Key: "key", Value: sid},
		{Key: "expired_at", Value: bson.D{{Key: "$gt", Value: date(now)}, {Key: "$lt", Value: until}}},
	}, bson.D{{Key: "expired_at", Value: until}})
	return err
}

// Delete deletes all there are: a collection that never had a unique index may
// hold several documents of one session.
func (b *backend) Delete(ctx context.Context, sid string) error {
	return b.delete(ctx, bson.D{{Key: "key", Value: sid}})
}

// Sweep deletes by _id, of which there are few, so that no command runs for long;
// and only what is still dead by then, as an insert may have taken the place.
func (b *backend) Sweep(ctx context.Context) (bool, error) {
	select {
	case err := <-b.atStart:
		return false, err
	default:
	}

	const batch = 500
	filter := bson.D{dead(time.Now())}
	opts := options.Find().SetLimit(batch).SetProjection(bson.D{{Key: "_id", Value: 1}})
	found, err := try(ctx, func() (docs []struct {
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

// closeTimeout is how long to wait for operations that are still running.
const closeTimeout = 2 * time.Second

// Close disconnects the client if it is ours; a second time it does nothing.
func (b *backend) Close() error {
	if b.own == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := b.own.Disconnect(ctx); !errors.Is(err, mongo.ErrClientDisconnected) {
		return clean(err)
	}
	return nil
}

// set sets fields of the one document that the filter finds, and reports whether
// there was one.
func (b *backend) set(ctx context.Context, filter, set bson.D) (bool, error) {
	res, err := b.update(ctx, filter, bson.D{{Key: "$set", Value: set}}, options.Update())
	return err == nil && res.MatchedCount > 0, err
}

// update takes a duplicate key for no match: somebody else has the ID. It never
// passes on the text of that error, which holds the ID.
func (b *backend) update(ctx context.Context, filter, change bson.D, opts *options.UpdateOptions) (*mongo.UpdateResult, error) {
	return try(ctx, func() (*mongo.UpdateResult, error) {
		res, err := b.coll.UpdateOne(ctx, filter, change, opts)
		if mongo.IsDuplicateKeyError(err) {
			return &mongo.UpdateResult{}, nil
		}
		return res, err
	})
}

func (b *backend) delete(ctx context.Context, filter bson.D) error {
	_, err := try(ctx, func() (*mongo.DeleteResult, error) { return b.coll.DeleteMany(ctx, filter) })
	return err
}

// holds is the filter for a live document with exactly these bytes.
func holds(sid string, data []byte) bson.D {
	return bson.D{{Key: "key", Value: sid}, {Key: "data", Value: primitive.Binary{Data: data}}, live(time.Now())}
}

func fields(rec session.Record) bson.D {
	return bson.D{
		{Key: "data", Value: primitive.Binary{Data: rec.Data}},
		{Key: "expired_at", Value: after(time.Now(), rec.TTL)},
	}
}

func live(now time.Time) bson.E {
	return bson.E{Key: "expired_at", Value: bson.D{{Key: "$gt", Value: date(now)}}}
}

func dead(now time.Time) bson.E {
	return bson.E{Key: "expired_at", Value: bson.D{{Key: "$lte", Value: date(now)}}}
}

// date is t in the whole milliseconds of BSON, rounded down: an expiry in whole
// milliseconds is after t exactly if it is after that.
func date(t time.Time) primitive.DateTime {
	return primitive.DateTime(t.UnixMilli())
}

// after is the date when a time to live has passed, rounded up.
func after(now time.Time, ttl time.Duration) primitive.DateTime {
	return date(now.Add(ttl + time.Millisecond - 1))
}
