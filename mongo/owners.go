package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
)

// InitOwners makes the index on owner. As with the other indexes, the first Sweep returns
// the error if the index cannot be made.
func (b *backend) InitOwners(ctx context.Context) error {
	b.owners = true
	err := b.makeIndex(ctx, "owner", options.Index().SetSparse(true))
	if err == nil || isSetting(err) {
		return err
	}
	select { // there is room for one error
	case first := <-b.indexErr:
		err = errors.Join(first, err)
	default:
	}
	b.indexErr <- err
	return nil
}

// ownedAtOnce is how many documents come in one answer, if they have room in it. The
// server's default of 101 is for those who may not want all of them.
const ownedAtOnce = 1000

// Owned finds documents by one field that a renewal leaves as it is, so none is missed
// meanwhile. A document whose fields are not of the kinds that the store writes is one of
// an app, and no record.
func (b *backend) Owned(ctx context.Context, owner string) ([]session.OwnedRecord, error) {
	now := b.clock.Now()
	filter := bson.D{{Key: "owner", Value: owner}, live(now)}
	opts := options.Find().SetBatchSize(ownedAtOnce)
	docs, err := read(ctx, b, func(ctx context.Context) (docs []bson.Raw, err error) {
		cur, err := b.coll.Find(ctx, filter, opts)
		if err == nil {
			err = cur.All(ctx, &docs)
		}
		return docs, err
	})
	var owned []session.OwnedRecord
	for _, raw := range docs {
		var doc struct {
			Key       string    `bson:"key"`
			Data      []byte    `bson:"data"`
			ExpiredAt time.Time `bson:"expired_at"`
		}
		if bson.Unmarshal(raw, &doc) == nil {
			owned = append(owned, session.OwnedRecord{
				ID:     doc.Key,
				Record: session.Record{Data: doc.Data, TTL: doc.ExpiredAt.Sub(now)},
			})
		}
	}
	return owned, err
}
