package sqlstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/redact"
)

var (
	_ session.OwnerIndex  = (*backend)(nil)
	_ session.OwnerIniter = (*backend)(nil)
)

// addOwner adds the column to a table of any age. No row is written: its owner is NULL.
const addOwner = "ALTER TABLE {table} ADD COLUMN {owner} {owner type}"

// InitOwners finds the column owner, or adds it if InitTable says so. Then each Insert,
// Swap and Rename sets the owner.
func (b *backend) InitOwners(ctx context.Context) error {
	if b.owners {
		return nil
	}
	if err := b.initOwners(ctx); err != nil {
		return err
	}
	b.owners = true
	b.compileWrites()
	b.owned.pool = b.load.pool
	return nil
}

// initOwners looks for the column first, because a user who may not change the table may
// still use a column that is there. If it cannot be added, initOwners looks once more:
// another process may have added it meanwhile.
func (b *backend) initOwners(ctx context.Context) error {
	find := func() error { return b.run(ctx, "SELECT {owner} FROM {table} WHERE 1 = 0") }
	err := find()
	if err != nil && b.dialect.class(err) == NoColumn {
		if !b.mayInit {
			return b.noOwner(fmt.Sprintf("the table %q has no column owner; InitTable adds it, or these statements:", b.name.table), err)
		}
		added := b.alter(ctx, addOwner)
		if err = find(); err != nil && added != nil {
			return b.noOwner(fmt.Sprintf("add the column owner to the table %q: %v; another user may run these statements:", b.name.table, b.dialect.blamed(added)), added)
		}
	}
	if err != nil {
		err = b.dialect.blamedTable(err)
		return redact.New("find the column owner: "+err.Error(), err)
	}
	if n, err := b.ask(ctx, b.dialect.OwnerFits, b.name.schema, b.name.table); err == nil && n.Valid && n.Int64 == 0 {
		return redact.New(fmt.Sprintf("the table %q has a column owner that is not for the owners of sessions: theirs is %s",
			b.name.table, b.dialect.OwnerType), nil)
	}

	// Without the index only lists are slower, as with the index on expired_at.
	if b.mayInit && !b.hasIndex(ctx, "owner") {
		_ = b.alter(ctx, b.dialect.CreateOwnerIndex)
	}
	return nil
}

// noOwner is the error of a table without the column. It has the statements that make the
// column and the index, each on a line of its own, and ends with them.
func (b *backend) noOwner(text string, err error) error {
	for _, template := range []string{addOwner, b.dialect.CreateOwnerIndex} {
		text += "\n" + strings.Join(b.dialect.compile(template, b.name), "?") + ";"
	}
	return redact.New(text, err)
}

// alter runs a statement that changes the table, once others let it. The driver watches the
// context, even where a connection could have the deadline: such a connection would be given
// up when it says nothing for a part of the time, and an index takes its time.
func (b *backend) alter(ctx context.Context, template string) error {
	text := b.dialect.LockLimit + b.dialect.join(b.dialect.compile(template, b.name))
	return b.retry(ctx, b.pool, freely, func(context.Context) error {
		_, err := b.pool.ExecContext(ctx, text)
		return err
	})
}

// ownerOf is the owner of a record as a parameter.
func (b *backend) ownerOf(rec session.Record) interface{} {
	if rec.Owner == "" {
		return nil
	}
	return b.ownerArg(rec.Owner)
}

func (b *backend) ownerArg(owner string) string {
	if b.dialect.HexOwner {
		return hex.EncodeToString([]byte(owner))
	}
	return owner
}

// Owned reads all rows of an owner by one statement, which sees the table as it is at one
// time. So a row that gets another key meanwhile is among them, once.
func (b *backend) Owned(ctx context.Context, owner string) (owned []session.OwnedRecord, err error) {
	err = b.retryStatement(ctx, freely, &b.owned, func(ctx context.Context, stmt statement) error {
		owned = nil // an attempt before this may have failed halfway
		rows, err := stmt.QueryContext(ctx, b.ownerArg(owner))
		if err != nil {
			return err
		}
		return scan(rows, func() error {
			var key string
			var a answer
			if err := rows.Scan(&key, &a.data, &a.left); err != nil {
				return err
			}
			// A column of type CHAR pads a key, and no session ID ends with a space.
			key = strings.TrimRight(key, " ")
			owned = append(owned, session.OwnedRecord{ID: key, Record: a.record()})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return owned, nil
}
