package storetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// openBackend opens stores on the backend that wrap makes of a sound one.
func openBackend(wrap func(*mapbackend.Backend) session.Backend) Open {
	return func(_ testing.TB, lifetime time.Duration) session.Options {
		return openOn(wrap(mapbackend.New()), lifetime)
	}
}

// openOn opens stores on a backend.
func openOn(backend session.Backend, lifetime time.Duration) session.Options {
	return session.Options{
		Initer: session.NewIniter(func(_ context.Context, sc session.StoreConfig) (session.Backend, session.StoreConfig, error) {
			return backend, sc, nil
		}),
		Config: session.StoreConfig{Lifetime: lifetime},
	}
}

func TestSoundBackend(t *testing.T) {
	Run(t, openBackend(func(b *mapbackend.Backend) session.Backend { return b }))
}

// The defects: each is a sound backend but for one thing.
type (
	upserts        struct{ *mapbackend.Backend } // a swap writes whatever is there, or not there
	swapsBlindly   struct{ *mapbackend.Backend } // a swap does not look at the old bytes
	neverConflicts struct{ *mapbackend.Backend } // a swap that is refused says that it was made
	overwrites     struct{ *mapbackend.Backend } // an insert replaces a live record
	ignoresExpiry  struct{ *mapbackend.Backend } // a load returns the dead
	sharesIDs      struct{ *mapbackend.Backend } // IDs count up to their seventh character only
	forgetsDelete  struct{ *mapbackend.Backend } // a delete does nothing
	keepsOldID     struct{ *mapbackend.Backend } // a rename leaves the old record
	losesOnRename  struct{ *mapbackend.Backend } // a rename writes no new record
	neverExtends   struct{ *mapbackend.Backend } // an extend does nothing
	extendCreates  struct{ *mapbackend.Backend } // an extend makes what is not there
	sweepsAll      struct{ *mapbackend.Backend } // GC takes the living too
	truncates      struct{ *mapbackend.Backend } // data is cut like in a column that is too small
	neverKeeps     struct{ *mapbackend.Backend } // what is written is dead at once
	keepsInHours   struct{ *mapbackend.Backend } // times to live are cut to whole hours
)

func (b upserts) Swap(_ context.Context, sid string, _ []byte, rec session.Record) (bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	b.Put(sid, rec)
	return true, nil
}

func (b swapsBlindly) Swap(ctx context.Context, sid string, _ []byte, rec session.Record) (bool, error) {
	cur, _, _ := b.Load(ctx, sid)
	return b.Backend.Swap(ctx, sid, cur.Data, rec)
}

func (b neverConflicts) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	_, err := b.Backend.Swap(ctx, sid, old, rec)
	return true, err
}

func (b overwrites) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	return upserts(b).Swap(ctx, sid, nil, rec)
}

func (b ignoresExpiry) Load(_ context.Context, sid string) (session.Record, bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	r, ok := b.Records[sid]
	return session.Record{Data: r.Data}, ok, nil
}

func (b sharesIDs) Load(ctx context.Context, sid string) (session.Record, bool, error) {
	return b.Backend.Load(ctx, sid[:min(7, len(sid))])
}

func (b sharesIDs) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	return b.Backend.Insert(ctx, sid[:min(7, len(sid))], rec)
}

func (b sharesIDs) Swap(ctx context.Context, sid string, old []byte, rec session.Record) (bool, error) {
	return b.Backend.Swap(ctx, sid[:min(7, len(sid))], old, rec)
}

func (b forgetsDelete) Delete(context.Context, string) error { return nil }

func (b keepsOldID) Rename(ctx context.Context, _, newSID string, _ []byte, rec session.Record) (bool, error) {
	return b.Insert(ctx, newSID, rec)
}

func (b losesOnRename) Rename(ctx context.Context, sid, _ string, _ []byte, _ session.Record) (bool, error) {
	return true, b.Delete(ctx, sid)
}

func (b neverExtends) Extend(context.Context, string, time.Duration) error { return nil }

func (b extendCreates) Extend(_ context.Context, sid string, ttl time.Duration) error {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	b.Put(sid, session.Record{Data: b.Records[sid].Data, TTL: ttl})
	return nil
}

func (b sweepsAll) Sweep(context.Context) (bool, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	clear(b.Records)
	return false, nil
}

func (b truncates) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.Data = rec.Data[:min(len(rec.Data), 1000)]
	return b.Backend.Insert(ctx, sid, rec)
}

func (b neverKeeps) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.TTL = 0
	return b.Backend.Insert(ctx, sid, rec)
}

func (b keepsInHours) Insert(ctx context.Context, sid string, rec session.Record) (bool, error) {
	rec.TTL = rec.TTL.Truncate(time.Hour)
	return b.Backend.Insert(ctx, sid, rec)
}

// blindStore is a store of six methods as one would write it first: it saves
// what it is given, and lets everything through.
type blindStore struct {
	session.Store
	backend *mapbackend.Backend
	writer  session.IDWriter
}

func (s blindStore) Read(ctx context.Context, sid string) (session.Session, error) {
	rec, found, _ := s.backend.Load(ctx, sid)
	data := session.Data{}
	if found {
		data, _ = session.GobDecoder(rec.Data)
	}
	return session.NewBaseSessionWithData(sid, session.GobEncoder, s.writer, data), nil
}

func (s blindStore) Save(ctx context.Context, sess session.Session) error {
	raw, err := sess.Encode()
	if err != nil {
		return err
	}
	_, err = upserts{s.backend}.Swap(ctx, sess.ID(), nil, session.Record{Data: raw, TTL: time.Hour})
	return err
}

func openBlind(testing.TB, time.Duration) session.Options {
	backend := mapbackend.New()
	return session.Options{Initer: func(_ context.Context, args ...interface{}) (session.Store, error) {
		var writer session.IDWriter
		for _, arg := range args {
			if w, ok := arg.(session.IDWriter); ok {
				writer = w
			}
		}
		return blindStore{session.NewStore(backend, session.StoreConfig{}), backend, writer}, nil
	}}
}

// TestDefectsAreCaught runs the suite on stores with a defect and checks that
// rules which the defect breaks say so.
func TestDefectsAreCaught(t *testing.T) {
	for name, defect := range map[string]struct {
		open   Open
		broken []string
	}{
		"revives the dead":      {openBackend(func(b *mapbackend.Backend) session.Backend { return upserts{b} }), []string{"dead/destroyed stays so", "dead/expired stays so", "dead/renewed", "request/destroyed under way", "merge/different keys, two stores"}},
		"loses an update":       {openBackend(func(b *mapbackend.Backend) session.Backend { return swapsBlindly{b} }), []string{"merge/different keys, two stores", "merge/set beside delete, two stores", "merge/set beside flush, two stores", "merge/in parallel, two stores"}},
		"inserts over":          {openBackend(func(b *mapbackend.Backend) session.Backend { return overwrites{b} }), []string{"merge/first save"}},
		"ignores expiry":        {openBackend(func(b *mapbackend.Backend) session.Backend { return ignoresExpiry{b} }), []string{"dead/expired"}},
		"shares data":           {openBackend(func(b *mapbackend.Backend) session.Backend { return sharesIDs{b} }), []string{"basic/sessions are apart"}},
		"forgets to delete":     {openBackend(func(b *mapbackend.Backend) session.Backend { return forgetsDelete{b} }), []string{"dead/destroyed", "dead/destroyed stays so", "dead/destroyed in parallel", "request/destroyed under way"}},
		"keeps the old ID":      {openBackend(func(b *mapbackend.Backend) session.Backend { return keepsOldID{b} }), []string{"dead/renewed", "request/renewed"}},
		"loses data on renewal": {openBackend(func(b *mapbackend.Backend) session.Backend { return losesOnRename{b} }), []string{"dead/renewed", "request/renewed"}},
		"never extends":         {openBackend(func(b *mapbackend.Backend) session.Backend { return neverExtends{b} }), []string{"dead/access keeps alive"}},
		"extend creates":        {openBackend(func(b *mapbackend.Backend) session.Backend { return extendCreates{b} }), []string{"dead/touch creates nothing", "dead/destroyed stays so"}},
		"sweeps the living":     {openBackend(func(b *mapbackend.Backend) session.Backend { return sweepsAll{b} }), []string{"dead/gc"}},
		"truncates":             {openBackend(func(b *mapbackend.Backend) session.Backend { return truncates{b} }), []string{"basic/large"}},
		"keeps nothing":         {openBackend(func(b *mapbackend.Backend) session.Backend { return neverKeeps{b} }), []string{"basic/saved is read", "request/kept", "dead/lifetime has a default"}},
		"forgets short lives":   {openBackend(func(b *mapbackend.Backend) session.Backend { return keepsInHours{b} }), []string{"id/renewed by another instance"}},
		"shares no storage":     {openSeparate, []string{"basic/one storage"}},
		"saves blindly":         {openBlind, []string{"merge/different keys", "dead/destroyed stays so", "flash/once in parallel", "bad input/ids", "bad input/no session"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := brokenRules(defect.open, defect.broken)
			for _, want := range defect.broken {
				if !slices.Contains(got, want) {
					t.Errorf("the rule %q is not seen to be broken", want)
				}
			}
		})
	}
}

// openSeparate opens a store on records of its own each time.
func openSeparate(_ testing.TB, lifetime time.Duration) session.Options {
	return session.Options{
		Initer: session.NewIniter(func(_ context.Context, sc session.StoreConfig) (session.Backend, session.StoreConfig, error) {
			return mapbackend.New(), sc, nil
		}),
		Config: session.StoreConfig{Lifetime: lifetime},
	}
}

// brokenRules returns those of the named rules that fail.
func brokenRules(open Open, names []string) (broken []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, rule := range append(slices.Clone(rules), oneStorage) {
		if !slices.Contains(names, rule.name) {
			continue
		}
		wg.Go(func() {
			r := &recorder{}
			r.run(rule, open)
			if r.failed && strings.Contains(r.log.String(), rule.text) {
				mu.Lock()
				defer mu.Unlock()
				broken = append(broken, rule.name)
			}
		})
	}
	wg.Wait()
	return broken
}

// recorder is a testing.TB that notes failures instead of failing.
type recorder struct {
	testing.TB // nil: what is not overridden is not used

	mu       sync.Mutex
	failed   bool
	skipped  bool
	log      strings.Builder
	cleanups []func()
}

func (r *recorder) run(rule rule, open Open) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		rule.run(r, open)
	}()
	<-done
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.mu.Lock(); r.cleanups = append(r.cleanups, f); r.mu.Unlock() }
func (r *recorder) Failed() bool     { r.mu.Lock(); defer r.mu.Unlock(); return r.failed }

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.log, format+"\n", args...)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Skipf(format string, args ...any) {
	r.Logf(format, args...)
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprintln(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprintln(args...)) }
