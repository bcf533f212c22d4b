package sqltest

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
)

// Through changes the address in a DSN, and returns the address that was there.
type Through func(dsn, addr string) (changed, server string)

// look fails unless a write has put data under the key. Its error may say that nobody
// knows; then look looks, and writes again if it was not made.
func (tab *Table) look(b session.Backend, sid, data string, write func() (bool, error)) {
	tab.Helper()
	for range 20 {
		ok, err := write()
		if err == nil {
			if !ok {
				tab.Fatalf("the write of %s is refused", sid)
			}
			return
		}
		if errors.Is(err, session.ErrNotApplied) {
			tab.Fatal(err)
		}
		rec, _, err := b.Load(ctx, sid)
		tab.check(err)
		if string(rec.Data) == data {
			return
		}
	}
	tab.Fatalf("%s cannot be written", sid)
}

// write is a write of each kind: what is there before, and what a request does to it.
type write struct {
	before string // SQL
	answer int    // which answer is the one of the write
	act    func(s session.Session) error
}

// Lost loses the answer of each kind of write. The write is not made again on top of what
// another request has written meanwhile.
func (env *Env) Lost(t *testing.T, through Through) {
	const live = "INSERT INTO %T (%k, %d, %e) VALUES (?, ?, %(60))"
	second := 0
	if env.Dialect.Insert != "" {
		second = 1 // the first answer is that there is a row
	}
	for name, w := range map[string]write{
		"insert":  {"", 0, nil},
		"replace": {"INSERT INTO %T (%k, %d, %e) VALUES (?, ?, %(-60))", second, nil},
		"swap":    {live, 0, nil},
		"rename": {live, 0, func(s session.Session) error {
			return s.RegenerateID(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		}},
	} {
		for _, other := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", another writes"}[other], func(t *testing.T) {
				t.Parallel()
				env.New(t).lost(w, through, other)
			})
		}
	}
}

func (tab *Table) lost(w write, through Through, other bool) {
	direct := tab.Init().Store()
	_, server := through(tab.Config.DSN, "")
	var p *tcpproxy.Proxy
	var answers atomic.Int64 // which pass before one is lost
	var lost atomic.Pointer[tcpproxy.Event]
	var meanwhile atomic.Pointer[sync.Once] // whose function is done before the next question
	var doMeanwhile func()
	answers.Store(-1)
	p = tcpproxy.New(tab, server, tcpproxy.Rules{Turn: func([]byte) func() {
		if answers.Add(-1) == -1 {
			lost.Store(p.Lose())
		}
		if l := lost.Load(); l != nil && l.Happened() {
			if once := meanwhile.Load(); once != nil {
				once.Do(doMeanwhile)
			}
		}
		return func() {}
	}})
	tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
	tab.Config.DB = nil // of the store before
	store := tab.Store()

	empty, err := session.GobEncoder(session.Data{"old": 1})
	tab.check(err)
	// The first round prepares the statements.
	for _, sid := range []string{"sessiona", "sessionb"} {
		if w.before != "" {
			tab.Exec(w.before, sid, empty)
		}
		s, err := store.Read(ctx, sid)
		tab.check(err)
		if w.act != nil {
			tab.check(w.act(s))
		}
		s.Set("key", "mine")
		want := "mine"
		if sid == "sessionb" {
			if other {
				doMeanwhile = func() {
					s, err := direct.Read(ctx, s.ID())
					if err == nil && s.Get("key") != "mine" {
						tab.Error("the write was not made")
					}
					s.Set("key", "theirs")
					if err := errors.Join(err, direct.Save(ctx, s)); err != nil {
						tab.Error(err)
					}
				}
				meanwhile.Store(new(sync.Once))
				want = "theirs"
			}
			answers.Store(int64(w.answer))
		}
		err = store.Save(ctx, s)
		if sid == "sessionb" && (lost.Load() == nil || !lost.Load().Happened()) {
			tab.Fatal("no answer was lost")
		}
		if (err == nil) != (want == "mine") {
			tab.Errorf("the error is %v", err)
		}
		s, err = direct.Read(ctx, s.ID())
		tab.check(err)
		if got := s.Get("key"); got != want {
			tab.Errorf("%s: the value is %v, want %s", sid, got, want)
		}
	}
}

// Unprepared cuts the connection on which a write is to be prepared. The write itself was not sent,
// so it is made on another connection, and nobody has to find out what became of it.
func (env *Env) Unprepared(t *testing.T, through Through) {
	t.Parallel()
	tab := env.New(t).Init()
	_, server := through(tab.Config.DSN, "")
	var p *tcpproxy.Proxy
	var next atomic.Bool // the next time that the write is prepared
	p = tcpproxy.New(t, server, tcpproxy.Rules{Turn: func(question []byte) func() {
		if bytes.Contains(question, []byte("UPDATE")) && next.CompareAndSwap(true, false) {
			p.Cut()
		}
		return func() {}
	}})
	tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
	b := tab.Backend()
	tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
	tab.want(true)(b.Swap(ctx, "one", []byte("a"), record("b", time.Minute)))
	p.Cut()
	_, found, err := b.Load(ctx, "one") // on a new connection
	tab.want(true)(found, err)
	next.Store(true)
	tab.want(true)(b.Swap(ctx, "one", []byte("b"), record("c", time.Minute)))
	if next.Load() {
		t.Error("nothing was prepared")
	}
}

// Dead has connections die without a word while they are idle.
func (env *Env) Dead(t *testing.T, through Through) {
	for name, parallel := range map[string]bool{"one after another": false, "at the same time": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tab := env.New(t).Init()
			direct := tab.Store()
			_, server := through(tab.Config.DSN, "")
			p := tcpproxy.New(t, server, tcpproxy.Rules{})
			tab.Config.DSN, _ = through(tab.Config.DSN, p.Addr())
			b := tab.Backend()
			tab.want(true)(b.Insert(ctx, "one", record("a", time.Minute)))
			tab.FillPool(b)
			store := tab.Store()
			tab.race(func(i int) (bool, error) { return true, tab.visit(store, i) })

			for _, fault := range []func(){p.FreezeOpen, p.FreezeOpen} {
				fault()
				begun := time.Now()
				visits := make(chan error, 10)
				for i := range cap(visits) {
					visit := func() { visits <- tab.visit(store, i) }
					if parallel {
						go visit()
					} else {
						visit()
					}
				}
				failed := 0
				for range cap(visits) {
					if err := <-visits; err != nil {
						failed++
						t.Log(err)
					}
				}
				if failed > 1 {
					t.Errorf("%d of %d visits fail", failed, cap(visits))
				}
				if d := time.Since(begun); d > 12*time.Second {
					t.Errorf("the visits take %v", d)
				}
			}
			s, err := direct.Read(ctx, sid(0))
			tab.check(err)
			if n, _ := s.Get("n").(int); n < 2 {
				t.Errorf("%d visits of one session are stored", n)
			}
		})
	}
}

// visit is a request of a visitor who has a session.
func (tab *Table) visit(store session.Store, i int) error {
	s, err := store.Read(ctx, sid(i))
	if err != nil {
		return err
	}
	n, _ := s.Get("n").(int)
	s.Set("n", n+1)
	return store.Save(ctx, s)
}
