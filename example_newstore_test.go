package session_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// mapBackend is a complete backend. It keeps records in a map, so each of its
// atomic steps is a few lines under a lock.
type mapBackend struct {
	mu      sync.Mutex
	records map[string]mapRecord
}

type mapRecord struct {
	data   []byte
	expiry time.Time
	owner  string
}

func (b *mapBackend) live(sid string) (mapRecord, bool) {
	r, ok := b.records[sid]
	return r, ok && time.Now().Before(r.expiry)
}

func (b *mapBackend) put(sid string, rec session.Record) {
	b.records[sid] = mapRecord{bytes.Clone(rec.Data), time.Now().Add(rec.TTL), rec.Owner}
}

func (b *mapBackend) Load(_ context.Context, sid string) (session.Record, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, found := b.live(sid)
	return session.Record{Data: r.data, TTL: time.Until(r.expiry)}, found, nil
}

func (b *mapBackend) Insert(_ context.Context, sid string, rec session.Record) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, found := b.live(sid); found {
		return false, nil
	}
	b.put(sid, rec)
	return true, nil
}

func (b *mapBackend) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.Rename(ctx, sid, sid, old, rec)
}

func (b *mapBackend) Rename(_ context.Context, sid, newSID string, old []byte, rec session.Record) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r, found := b.live(sid); !found || !bytes.Equal(r.data, old) {
		return false, nil
	}
	delete(b.records, sid)
	b.put(newSID, rec)
	return true, nil
}

func (b *mapBackend) Extend(_ context.Context, sid string, ttl time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, found := b.live(sid)
	if expiry := time.Now().Add(ttl); found && expiry.After(r.expiry) {
		b.records[sid] = mapRecord{r.data, expiry, r.owner}
	}
	return nil
}

func (b *mapBackend) Delete(_ context.Context, sid string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.records, sid)
	return nil
}

func (b *mapBackend) Sweep(context.Context) (more bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for sid := range b.records {
		if _, found := b.live(sid); !found {
			delete(b.records, sid)
		}
	}
	return false, nil
}

// Owned makes the backend a session.OwnerIndex. With a database it is one query.
func (b *mapBackend) Owned(_ context.Context, owner string) ([]session.OwnedRecord, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var owned []session.OwnedRecord
	for sid := range b.records {
		if r, found := b.live(sid); found && r.owner == owner {
			owned = append(owned, session.OwnedRecord{
				ID: sid, Record: session.Record{Data: r.data, TTL: time.Until(r.expiry), Owner: owner},
			})
		}
	}
	return owned, nil
}

// mapConfig and mapIniter are what users of this backend put into the Config and
// Initer of session.Options.
type mapConfig struct{ Lifetime time.Duration }

func mapIniter() session.Initer {
	return session.NewIniter(func(_ context.Context, config mapConfig) (session.Backend, session.StoreConfig, error) {
		return newMapBackend(), session.StoreConfig{Name: "map", Lifetime: config.Lifetime}, nil
	})
}

func newMapBackend() *mapBackend { return &mapBackend{records: make(map[string]mapRecord)} }

// A write compares with what was read: if somebody was faster, it does nothing.
func ExampleBackend() {
	ctx, sid := context.Background(), "0123456789abcdef"
	var backend session.Backend = newMapBackend()
	fmt.Println(backend.Insert(ctx, sid, session.Record{Data: []byte("one"), TTL: time.Hour}))
	fmt.Println(backend.Insert(ctx, sid, session.Record{Data: []byte("another"), TTL: time.Hour}))

	next := session.Record{Data: []byte("two"), TTL: time.Hour}
	fmt.Println(backend.Swap(ctx, sid, []byte("one"), next))
	fmt.Println(backend.Swap(ctx, sid, []byte("one"), next))
	rec, found, err := backend.Load(ctx, sid)
	fmt.Println(string(rec.Data), found, err)
	// Output:
	// true <nil>
	// false <nil>
	// true <nil>
	// false <nil>
	// two true <nil>
}

// A backend becomes a store. The example file shows the backend, whole: the seven operations.
func ExampleNewStore() {
	store := session.NewStore(newMapBackend(), session.StoreConfig{Name: "map"})

	// What the middleware does for a request, in short.
	ctx, sid := context.Background(), "0123456789abcdef"
	s, err := store.Read(ctx, sid)
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Set("user_id", 123)
	fmt.Println("saved:", store.Save(ctx, s))

	s, err = store.Read(ctx, sid)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Get("user_id"))
	// Output:
	// saved: <nil>
	// 123
}

// What users of a backend put into their Options: an Initer and its Config.
func ExampleNewIniter() {
	type Config struct{ Lifetime time.Duration }
	initer := session.NewIniter(func(_ context.Context, config Config) (session.Backend, session.StoreConfig, error) {
		return newMapBackend(), session.StoreConfig{Name: "map", Lifetime: config.Lifetime}, nil
	})

	f := flamego.New()
	f.Use(session.Sessioner(session.Options{Initer: initer, Config: Config{Lifetime: 24 * time.Hour}}))
	f.Get("/", func(s session.Session) string {
		session.Update(s, "visits", func(n int) int { return n + 1 })
		return fmt.Sprint("visit number ", s.Get("visits"))
	})
	b := newBrowser(f)
	fmt.Println(b.get("/").Body)
	fmt.Println(b.get("/").Body)
	// Output:
	// visit number 1
	// visit number 2
}

// A backend that finds the records of an owner: then its users may set OwnerKey.
func ExampleOwnerIndex() {
	sessions, err := session.New(session.Options{Initer: mapIniter(), Config: mapConfig{}, OwnerKey: "user_id"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()

	ctx, store := context.Background(), sessions.Store()
	for sid, user := range map[string]int{"phone0000": 123, "laptop000": 123, "another00": 7} {
		s, err := store.Read(ctx, sid)
		if err != nil {
			fmt.Println(err)
			return
		}
		s.Set("user_id", user)
		if err := store.Save(ctx, s); err != nil {
			fmt.Println(err)
			return
		}
	}
	infos, err := session.Owned(ctx, store, 123)
	fmt.Println(len(infos), err)
	// Output:
	// 2 <nil>
}
