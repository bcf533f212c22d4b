// Package storetest is the conformance suite for session stores: [Run] proves
// that a store keeps the rules that the session middleware and its users rely
// on, and names the rule that it does not keep.
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t testing.TB, lifetime time.Duration) session.Options {
//			return session.Options{
//				Initer: mystore.Initer(),
//				Config: mystore.Config{Table: newTable(t), Lifetime: lifetime},
//			}
//		})
//	}
//
// # Model
//
// Each rule is a subtest with storage of its own, and says in its name what it is
// about: basic, dead (what has ended stays so), merge, update, life, owner, bad input,
// request, flash, destroy, id, load, history. The last plays random histories of several
// clients on one session and checks what they saw. The rules that wait for an expiry, since
// stores keep their own clocks, run all at once, the others then in parallel, as many at a time
// as go test allows. Before them "basic/one storage" runs alone: if it is broken, most others
// would be, and the run ends there. An operation may take a minute, unless Open sets
// Options.Timeout. On two cores the whole takes some twenty-five seconds. Run it with -race.
// The environment variable STORETEST_FULL=1 makes it play all rounds of
// the rules that otherwise stop after two seconds, STORETEST_SEED replays a history.
//
// A store of six methods that saves blindly, whatever happened since it read, breaks
// the rules "merge/..." and most of "dead/..." and "load/...", and some of those for
// flashes, IDs, logouts and histories: that is what they are for. Make it a
// session.Backend, and session.NewStore keeps them.
//
// # Limits
//
// The suite cannot see what only the database knows: that a write is one atomic
// step, that nothing is left behind on a crash, that a lost answer is handled.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/flamego/session"
)

// Open returns the Options of a session middleware whose store is on storage of
// its own: a new table, key prefix or folder, removed by t.Cleanup. Pass the
// lifetime on to the store unchanged: one rule passes less than a second, to test
// the default of the store. Calling session.New with the result twice must give two
// stores on the same storage.
type Open func(t testing.TB, lifetime time.Duration) session.Options

// Trait is a way in which a store differs by intention.
type Trait int

const (
	// Private says that a store cannot share its storage with another one.
	Private Trait = iota + 1
	// Live says that a store keeps values as they are and encodes nothing, so
	// that size and type of a value do not matter.
	Live
	// TwoSteps says that a store renews a session in two steps, as on two servers: for a
	// moment the session is found under neither ID, and EndOwned may miss it then.
	TwoSteps
)

// Run tests the stores that open makes against all rules, except those that do not apply
// because of a trait.
//
// Some rules are about what only a store of this module, or one of session.NewStore, can do:
// "owner/...", most of "life/..." and some of "update/...". For other stores they are skipped:
// Run knows such a store by session.New, which, with an option that the rule sets, returns an
// error that is errors.ErrUnsupported. So are the rules "owner/..." for a backend that is no
// session.OwnerIndex. go test -v shows each of them as skipped, with the error. If a store is
// meant to have owners, add a test that session.New with Options.OwnerKey returns no error:
// otherwise nobody notices that the rules are skipped.
func Run(t *testing.T, open Open, traits ...Trait) {
	if !oneStorage.skips(traits) && !t.Run(oneStorage.name, func(t *testing.T) { oneStorage.run(t, open, traits...) }) {
		return
	}
	var waiting sync.WaitGroup
	for _, rule := range rules {
		switch {
		case rule.skips(traits):
		case rule.waits:
			waiting.Go(func() {
				t.Run(rule.name, func(t *testing.T) { rule.run(t, open, traits...) })
			})
		default:
			t.Run(rule.name, func(t *testing.T) {
				t.Parallel()
				rule.run(t, open, traits...)
			})
		}
	}
	waiting.Wait()
}

// rule is one thing that must hold.
type rule struct {
	name     string
	text     string        // the rule itself, shown when it is broken
	not      []Trait       // stores that it does not apply to
	lifetime time.Duration // of the sessions, long if not set
	waits    bool          // it does little but wait, for some seconds
	check    func(e *env)

	// options are those that the rule is about. A store that does not support them is one that
	// the rule does not apply to.
	options func(o *session.Options)
	// ours says that the rule is about what only stores of this module can do, or of NewStore.
	ours bool
}

func (r rule) skips(traits []Trait) bool {
	return slices.ContainsFunc(r.not, func(not Trait) bool { return slices.Contains(traits, not) })
}

func (r rule) run(t testing.TB, open Open, traits ...Trait) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the rule %q is broken: %s", r.name, r.text)
		}
	})
	if r.lifetime == 0 {
		r.lifetime = long
	}
	e := &env{TB: t, open: open, opts: open(t, r.lifetime), traits: traits}
	if e.opts.ErrorFunc == nil {
		e.opts.ErrorFunc = func(err error) { t.Logf("ErrorFunc is told: %v", err) }
	}
	if e.opts.Timeout == 0 {
		e.opts.Timeout = time.Minute // the rules are about what a store does, not about how fast the server is
	}
	if r.ours {
		e.require(func(o *session.Options) { o.MaxLifetime = long })
	}
	if r.options != nil {
		e.require(r.options)
		r.options(&e.opts)
	}
	e = e.another()
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("the store panics: %v\n%s", v, debug.Stack())
		}
	}()
	r.check(e)
}

// rules are all rules but oneStorage.
var rules = slices.Concat(basicRules, deathRules, mergeRules, badInputRules, requestRules, endingRules, historyRules, loadRules,
	lifeRules, ownLifeRules, updateRules, ownerRules, ownerLoadRules)

// env is what a rule works with: a store on storage of its own.
type env struct {
	testing.TB
	open   Open
	opts   session.Options
	traits []Trait
	m      *session.Manager
	store  session.Store
}

// long is a lifetime that no test reaches the end of.
const long = time.Hour

// short is the shortest lifetime there is. Stores that keep whole seconds round
// up, so what has it is dead after two.
const (
	short     = time.Second
	shortDead = 2*time.Second + 100*time.Millisecond
)

func newEnv(t testing.TB, open Open, lifetime time.Duration) *env {
	t.Helper()
	return (&env{TB: t, open: open, opts: open(t, lifetime)}).another()
}

// another returns an env with another store on the same storage.
func (e *env) another() *env {
	e.Helper()
	m, err := session.New(e.opts)
	if err != nil {
		e.Fatalf("open the store: %v", err)
	}
	e.Cleanup(func() {
		if err := m.Close(); err != nil {
			e.Errorf("close the store: %v", err)
		}
	})
	return &env{TB: e.TB, open: e.open, opts: e.opts, traits: e.traits, m: m, store: m.Store()}
}

// with returns an env with another store on the same storage, and other options.
func (e *env) with(change func(o *session.Options)) *env {
	e.Helper()
	changed := *e
	change(&changed.opts)
	return changed.another()
}

// beside returns an env with another store on the same storage, or e where there can be only
// one store.
func (e *env) beside() *env {
	e.Helper()
	if slices.Contains(e.traits, Private) {
		return e
	}
	return e.another()
}

// require skips the rule if the store says that it does not support the options.
func (e *env) require(options func(o *session.Options)) {
	e.Helper()
	opts := e.opts
	options(&opts)
	m, err := session.New(opts)
	if err == nil {
		err = m.Close()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		e.Skipf("the rule does not apply to this store: %v", err)
	}
	if err != nil {
		e.Fatalf("open and close the store: %v", err)
	}
}

// inTime checks something that must be true as long as f takes less than most. When
// it took longer, on a machine that is busy, f has another try with another ID.
func (e *env) inTime(most time.Duration, f func(sid string) bool) {
	e.Helper()
	for try := range 10 {
		start := time.Now()
		ok := f(fmt.Sprint("session", try))
		if ok {
			return
		}
		if time.Since(start) < most {
			e.Fatal("what is alive is not there")
		}
	}
	e.Fatalf("it takes more than %v, too long to tell", most)
}

func (e *env) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	e.Cleanup(cancel)
	return ctx
}

func (e *env) read(sid string) session.Session {
	e.Helper()
	s, err := e.store.Read(e.context(), sid)
	if err != nil {
		e.Fatalf("Read: %v", err)
	}
	if s.ID() != sid {
		e.Fatalf("Read returned a session with another ID")
	}
	return s
}

func (e *env) save(s session.Session) {
	e.Helper()
	if err := e.store.Save(e.context(), s); err != nil {
		e.Fatalf("Save: %v", err)
	}
}

// set reads a session, sets pairs of keys and values, and saves it.
func (e *env) set(sid string, pairs ...interface{}) {
	e.Helper()
	s := e.read(sid)
	for i := 0; i < len(pairs); i += 2 {
		s.Set(pairs[i], pairs[i+1])
	}
	e.save(s)
}

// want checks pairs of keys and values, nil for a key that must be absent.
func (e *env) want(sid string, pairs ...interface{}) {
	e.Helper()
	s := e.read(sid)
	for i := 0; i < len(pairs); i += 2 {
		if got := s.Get(pairs[i]); got != pairs[i+1] {
			e.Errorf("key %v is %v, want %v", pairs[i], got, pairs[i+1])
		}
	}
}

func (e *env) wantExist(sid string, want bool) {
	e.Helper()
	if got := e.store.Exist(e.context(), sid); got != want {
		e.Errorf("Exist reports %t, want %t", got, want)
	}
}

func (e *env) destroy(sid string) {
	e.Helper()
	if err := e.store.Destroy(e.context(), sid); err != nil {
		e.Fatalf("Destroy: %v", err)
	}
}

func (e *env) touch(sid string) {
	e.Helper()
	if err := e.store.Touch(e.context(), sid); err != nil {
		e.Fatalf("Touch: %v", err)
	}
}

func (e *env) gc() {
	e.Helper()
	if err := e.store.GC(e.context()); err != nil {
		e.Fatalf("GC: %v", err)
	}
}
