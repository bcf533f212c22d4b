package session

import (
	"context"
	"fmt"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/expiring"
	"github.com/flamego/session/internal/state"
)

// MemoryConfig configures the memory store.
type MemoryConfig struct {
	// Lifetime is the duration without access after which a session ends.
	// Default is 3600 seconds, also for values below one second.
	Lifetime time.Duration
}

// MemoryIniter returns the Initer of the memory store, the default one. It
// takes a MemoryConfig, or none.
//
// Values are kept as they are, of whatever type, and never encoded. A value that is
// changed in place changes for every request that has it: the app must lock such a
// value. Sessions end with the process and are not shared with other processes. There is
// no limit on their size or number other than memory; visitors for whom nothing is stored
// take none.
func MemoryIniter() Initer {
	return func(_ context.Context, args ...interface{}) (Store, error) {
		config, _, writer, err := initArgs[MemoryConfig](args)
		if err != nil {
			return nil, err
		}
		return &memoryStore{
			lifetime: lifetimeOf(config.Lifetime),
			writeID:  writer,
			sessions: expiring.New[state.List](),
		}, nil
	}
}

var _ ownStore = (*memoryStore)(nil)

// memoryStore keeps live values. A session that is read has the very list that the
// table has, which nobody writes to.
type memoryStore struct {
	lifetime lifetime
	writeID  IDWriter
	sessions *expiring.Table[state.List]
}

// setTimeout does nothing: no operation waits for anything.
func (m *memoryStore) setTimeout(time.Duration) {}

func (m *memoryStore) sessionLifetime() lifetime { return m.lifetime }

func (m *memoryStore) newSession(sid string) *BaseSession {
	b := &BaseSession{sid: sid, encode: GobEncoder, writeID: m.writeID}
	b.origin = origin{store: m, Origin: commit.Origin{ID: sid}}
	return b
}

func (m *memoryStore) load(_ context.Context, sid string) (*BaseSession, error) {
	if err := checkSID(sid); err != nil {
		return nil, memoryError("read", err)
	}
	b := m.newSession(sid)
	switch values, left := m.sessions.Get(sid); memoryStatus(values, left) {
	case commit.Live:
		b.base, b.origin.Status, b.origin.idle = values, commit.Live, m.lifetime.idle(left)
	case commit.Renewed:
		b.origin.Status = commit.Renewed
	}
	return b, nil
}

// memoryStatus says what an entry with so much time left means for its ID.
func memoryStatus(values *state.List, left time.Duration) commit.Status {
	switch {
	case values == nil:
		return commit.Gone
	case !values.IsMark():
		return commit.Live
	case state.MarkCounts(values, left, time.Now()):
		return commit.Renewed
	default:
		return commit.Gone
	}
}

func (m *memoryStore) Exist(_ context.Context, sid string) bool {
	return memoryStatus(m.sessions.Get(sid)) == commit.Live
}

func (m *memoryStore) Read(ctx context.Context, sid string) (Session, error) {
	return orNone(m.load(ctx, sid))
}

func (m *memoryStore) Destroy(_ context.Context, sid string) error {
	m.sessions.Delete(sid)
	return memoryError("destroy", checkSID(sid))
}

func (m *memoryStore) Touch(_ context.Context, sid string) error {
	m.sessions.Extend(sid, m.lifetime.ttl())
	return memoryError("touch", checkSID(sid))
}

// GC removes a bounded number of sessions at a time, so that no request waits
// long for a lock.
func (m *memoryStore) GC(ctx context.Context) error {
	return memoryError("gc", m.sessions.Sweep(ctx))
}

func (m *memoryStore) Save(ctx context.Context, sess Session) error {
	b, err := toSave(sess, func(raw []byte) (map[interface{}]interface{}, error) { return GobDecoder(raw) })
	if err != nil {
		return memoryError("save", err)
	}
	_, err = m.commit(ctx, b, commit.Always)
	return err
}

func (m *memoryStore) commit(_ context.Context, b *BaseSession, when commit.Condition) (*commit.Change, error) {
	c := b.checkOut(m, when)
	err := checkSID(c.ID)
	if err == nil && c.MayWrite() && !c.IsVoid() {
		m.write(c)
	}
	b.checkIn(m, c, err == nil)
	return c, memoryError("save", err)
}

// write applies a change to what the session holds at this moment. Nobody else can
// write meanwhile, so there are no conflicts.
func (m *memoryStore) write(c *commit.Change) {
	from := c.Origin.ID
	if c.Origin.Status == commit.Renewed {
		from = c.ID // the mark stays
	}
	written := m.sessions.Update(from, c.ID, func(now *state.List, left time.Duration) (d expiring.Decision[state.List]) {
		if c.Log.Destroyed {
			c.Vanish()
			d.Remove = c.Origin.Status != commit.Renewed
			return d
		}
		switch status := memoryStatus(now, left); {
		case status == commit.Live:
			c.Values = now
		case c.Origin.Status != commit.Live && status == commit.Gone:
			c.Values = nil
		default:
			if insert := c.LoseRecord(status); !insert {
				return d
			}
		}
		if !c.CheckCondition(c.Values) {
			return d
		}
		next := state.Copy(c.Values)
		c.Log.Apply(next)
		d.Put, d.Value, d.TTL = true, state.ListOf(next), m.lifetime.ttl()
		if c.ID != from {
			d.Left, d.LeftTTL = state.ListOf(state.Mark(time.Now())), state.MarkFor
		}
		return d
	})
	if written != nil {
		c.Written(commit.Origin{ID: c.ID, Status: commit.Live}, written)
	}
}

func memoryError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: memory: %s: %w", op, err)
}
