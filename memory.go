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
// value. Sessions end with the process and are not shared with other processes. There is no limit on their size or number other than
// memory; visitors for whom nothing is stored take none.
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
	b := NewBaseSession(sid, GobEncoder, m.writeID)
	b.origin = origin{store: m, Origin: commit.Origin{ID: sid}}
	return b
}

func (m *memoryStore) load(_ context.Context, sid string) (*BaseSession, error) {
	if err := checkSID(sid); err != nil {
		return nil, memoryError("read", err)
	}
	b := m.newSession(sid)
	if values, left := m.sessions.Get(sid); values != nil {
		b.base, b.origin.Stored, b.origin.idle = values, true, m.lifetime.idle(left)
	}
	return b, nil
}

func (m *memoryStore) Exist(_ context.Context, sid string) bool {
	values, _ := m.sessions.Get(sid)
	return values != nil
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
	if err == nil && !c.Vanished {
		m.write(c)
	}
	b.checkIn(m, c, err == nil)
	return c, memoryError("save", err)
}

// write applies a change to what the session holds at this moment. Nobody else can
// write meanwhile, so there are no conflicts.
func (m *memoryStore) write(c *commit.Change) {
	written := m.sessions.Update(c.Origin.ID, c.ID, func(now *state.List) (state.List, time.Duration, expiring.Verdict) {
		if c.Log.Destroyed {
			c.Vanish()
			return nil, 0, expiring.Remove
		}
		switch {
		case now != nil:
			c.Values = now
		case !c.Origin.Stored:
			c.Values = nil
		default:
			if insert := c.LoseRecord(); !insert {
				return nil, 0, expiring.Keep
			}
		}
		if !c.CheckCondition(c.Values) {
			return nil, 0, expiring.Keep
		}
		next := state.Copy(c.Values)
		c.Log.Apply(next)
		return state.ListOf(next), m.lifetime.ttl(), expiring.Put
	})
	if written != nil {
		c.Written(commit.Origin{ID: c.ID, Stored: true}, written)
	}
}

func memoryError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: memory: %s: %w", op, err)
}
