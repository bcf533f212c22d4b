package session

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/deadline"
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
		m := &memoryStore{funcs: sessionFuncs{GobEncoder, writer}, sessions: expiring.New[state.List]()}
		m.current.Store(newRules(config.Lifetime))
		m.timeout.Store(int64(defaultTimeout))
		return m, nil
	}
}

var _ ownStore = (*memoryStore)(nil)

// memoryStore keeps live values. A session that is read shares its list of values with the
// table. Nobody writes to such a list.
type memoryStore struct {
	current  atomic.Pointer[rules]
	funcs    sessionFuncs
	timeout  atomic.Int64 // a time.Duration; only functions of the app can take so long
	sessions *expiring.Table[state.List]
	owners   memoryOwners // empty without Options.OwnerKey
}

func (m *memoryStore) configure(o *Options) error {
	r, err := m.rules().with(o)
	if err != nil {
		return err
	}
	m.current.Store(r)
	m.timeout.Store(int64(o.Timeout))
	if o.OwnerKey != nil {
		m.initOwners()
	}
	return nil
}

func (m *memoryStore) rules() *rules { return m.current.Load() }

func (m *memoryStore) begin(b *BaseSession, sid string) {
	*b = BaseSession{sid: sid, funcs: &m.funcs}
	b.origin = origin{store: m, Origin: commit.Origin{ID: sid}}
}

func (m *memoryStore) load(_ context.Context, sid string, b *BaseSession) error {
	if err := checkSID(sid); err != nil {
		return memoryError("read", err)
	}
	m.begin(b, sid)
	switch values, left := m.sessions.Get(sid); m.status(values, left) {
	case commit.Live:
		b.base, b.origin.Status = values, commit.Live
		b.origin.idle, b.origin.custom = m.rules().idle(values, left)
	case commit.Renewed:
		b.origin.Status = commit.Renewed
	}
	return nil
}

// status says what an entry with so much time left means for its ID.
func (m *memoryStore) status(values *state.List, left time.Duration) commit.Status {
	if values == nil {
		return commit.Gone
	}
	return m.rules().status(values, values.IsMark(), left)
}

func (m *memoryStore) Exist(_ context.Context, sid string) bool {
	return m.status(m.sessions.Get(sid)) == commit.Live
}

func (m *memoryStore) Read(ctx context.Context, sid string) (Session, error) {
	return readSession(ctx, m, sid)
}

func (m *memoryStore) Destroy(ctx context.Context, sid string) error {
	if err := checkSID(sid); err != nil {
		return memoryError("destroy", err)
	}
	return m.end(ctx, sid, OpEnded)
}

func (m *memoryStore) end(ctx context.Context, sid string, why Op) error {
	m.sessions.Delete(sid)
	m.rules().observer.became(ctx, why, sid, nil)
	return nil
}

func (m *memoryStore) Touch(ctx context.Context, sid string) error {
	if r := m.rules(); !r.needsValues() {
		m.sessions.Extend(sid, r.ttl(nil, false))
		return memoryError("touch", checkSID(sid))
	}
	var b BaseSession
	if err := m.load(ctx, sid, &b); b.origin.Status != commit.Live {
		return err
	}
	return m.extend(ctx, &b)
}

func (m *memoryStore) extend(ctx context.Context, b *BaseSession) error {
	sid, values, _ := b.stored()
	if m.rules().extendsBySaving(values) {
		_, err := m.commit(ctx, b.likeness(), commit.Always)
		return err
	}
	m.sessions.Extend(sid, m.rules().ttl(values, false))
	return nil
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

func (m *memoryStore) commit(ctx context.Context, b *BaseSession, when commit.Condition) (Flash, error) {
	var c commit.Change
	b.checkOut(m, when, &c)
	committed := false // and stays so if the app's values panic
	defer func() { b.checkIn(m, &c, committed) }()
	err := checkSID(c.ID)
	if err == nil {
		err = m.rules().checkOwner(&c.Log)
	}
	if err == nil && c.MayWrite() && !c.IsVoid() {
		err = m.write(ctx, &c)
	}
	if committed = err == nil; committed {
		endOldest(ctx, m, &c)
	}
	return c.Flash, memoryError("save", err)
}

// write applies a change to what the session holds at this moment. Nobody else can
// write meanwhile, so there are no conflicts. Only a function of Update has to run before,
// since the app might take long over it: if another request is faster, it runs again.
func (m *memoryStore) write(ctx context.Context, c *commit.Change) error {
	if !c.Log.Computes() {
		m.put(ctx, c, nil, nil)
		return nil
	}
	ctx, cancel := deadline.Within(ctx, time.Duration(m.timeout.Load()))
	defer cancel()
	for {
		base, left := m.sessions.Get(writtenTo(c))
		if m.status(base, left) != commit.Live {
			base = nil
		}
		var room state.Room
		next, err := base.Draft(&room).Replay(&c.Log)
		if err != nil {
			return err
		}
		if err := deadline.Err(ctx); err != nil {
			return fmt.Errorf("the time was over when the functions of Update had been run: %w", err)
		}
		if m.put(ctx, c, base, next) {
			return nil
		}
	}
}

// writtenTo returns the ID whose entry a change is written over. A mark stays.
func writtenTo(c *commit.Change) string {
	if c.Origin.Status == commit.Renewed {
		return c.ID
	}
	return c.Origin.ID
}

// put puts the changed session into the table. If the next values were computed before, it
// reports false and does nothing unless the session still is what they were computed from.
func (m *memoryStore) put(ctx context.Context, c *commit.Change, base *state.List, computed state.List) (done bool) {
	r := m.rules()
	var became Op // 0 if there is nothing to tell
	from := writtenTo(c)
	about := c.Origin.ID // a session that ends has this ID, and one that goes on the new one
	done = true
	written := m.sessions.Update(from, c.ID, func(now *state.List, left time.Duration) (d expiring.Decision[state.List]) {
		if c.Log.Destroyed {
			became = OpEnded
			c.Vanish()
			d.Remove = c.Origin.Status != commit.Renewed
			return d
		}
		var old *state.List
		switch status := m.status(now, left); {
		case status == commit.Live:
			old = now
		case c.Origin.Status != commit.Live && status == commit.Gone:
		default:
			if insert := c.LoseRecord(status); !insert {
				if c.Vanished && !c.Log.IsEmpty() {
					became = OpVanished
				}
				return d
			}
		}
		if computed != nil && old != base {
			done = false
			return d
		}
		c.Values = valuesOf(old)
		if !c.CheckCondition(c.Values) {
			return d
		}
		var room state.Room
		next := computed
		if next == nil {
			next = old.Draft(&room).Apply(&c.Log)
		}
		next, _ = r.stamp(next, c.ID != from || old == nil)
		d = expiring.Put(next.Stored())
		d.TTL = r.ttl(d.Value(), c.First)
		switch {
		case old == nil:
			became, about = OpCreated, c.ID
		case c.ID != from:
			became, about = OpRenewed, c.ID
		}
		c.Gains = r.gains(valuesOf(old), d.Value())
		switch {
		case c.ID == from:
		case c.Origin.Status == commit.Renewed: // the mark of the renewal that was first stays as it is
			d.Left, d.LeftTTL = *now, left
		default:
			d.Left, d.LeftTTL = state.ListOf(state.Mark(r.now())).Stored(), state.MarkFor
		}
		return d
	})
	if became != 0 {
		r.observer.became(ctx, became, about, nil)
	}
	if written != nil {
		c.Written(commit.Origin{ID: c.ID, Status: commit.Live}, written)
	}
	return done
}

// valuesOf returns the values in a list, of which there may be none.
func valuesOf(list *state.List) state.Values {
	if list == nil {
		return nil
	}
	return list
}

func memoryError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: memory: %s: %w", op, err)
}
