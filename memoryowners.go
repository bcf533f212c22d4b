package session

import (
	"context"
	"sync"
	"time"

	"github.com/flamego/session/internal/commit"
	"github.com/flamego/session/internal/deadline"
	"github.com/flamego/session/internal/state"
)

// memoryOwners is the index of the memory store: the IDs of the sessions of each owner. It
// is kept by the table of the sessions, which tells it of each value that comes and goes. One
// that replaces another comes before the other goes.
type memoryOwners struct {
	mu    sync.Mutex
	ids   map[string]*memoryOwned
	added int // how many values have come
}

// memoryOwned is the sessions of one owner.
type memoryOwned struct {
	values map[string]int // how many values there are under each ID
	added  int            // what was added last
}

func (m *memoryStore) initOwners() {
	m.owners.mu.Lock()
	defer m.owners.mu.Unlock()
	if m.owners.ids == nil {
		m.owners.ids = make(map[string]*memoryOwned)
	}
	m.sessions.Watch(func(sid string, values *state.List, there bool) {
		if owner := m.rules().owner(values); owner != "" {
			m.owners.note(owner, sid, there)
		}
	})
}

func (o *memoryOwners) note(owner, sid string, there bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	owned := o.ids[owner]
	switch {
	case there:
		if owned == nil {
			owned = &memoryOwned{values: make(map[string]int)}
			o.ids[owner] = owned
		}
		o.added++
		owned.values[sid]++
		owned.added = o.added
	case owned == nil:
	case owned.values[sid] > 1:
		owned.values[sid]--
	default:
		if delete(owned.values, sid); len(owned.values) == 0 {
			delete(o.ids, owner)
		}
	}
}

// list returns the IDs of an owner, and what was added last.
func (o *memoryOwners) list(owner string) (ids []string, added int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	owned := o.ids[owner]
	if owned == nil {
		return nil, 0
	}
	for sid := range owned.values {
		ids = append(ids, sid)
	}
	return ids, owned.added
}

// owned starts over if a session was added meanwhile: it may be one of the list under a new
// ID. A session of the list may have another owner by now.
func (m *memoryStore) owned(ctx context.Context, owner string) ([]ownedSession, error) {
	ctx, cancel := deadline.Within(ctx, time.Duration(m.timeout.Load()))
	defer cancel()
	for {
		ids, added := m.owners.list(owner)
		sessions := make([]ownedSession, 0, len(ids))
		for _, sid := range ids {
			values, left := m.sessions.Get(sid)
			if m.status(values, left) == commit.Live && m.rules().owner(values) == owner {
				sessions = append(sessions, ownedSession{sid, values, left})
			}
		}
		if _, now := m.owners.list(owner); now == added {
			return sessions, nil
		}
		if err := deadline.Err(ctx); err != nil {
			return nil, memoryError("owned", err)
		}
	}
}
