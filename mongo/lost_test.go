package mongo_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mongowire"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/mongo"
)

// losing loses the answer of the next update, once it is armed, and calls meanwhile before
// the next command is passed on.
type losing struct {
	p         *tcpproxy.Proxy
	armed     atomic.Bool
	after     atomic.Bool
	meanwhile func()
}

func newLosing(t testing.TB) (*losing, mongo.Config) {
	l := new(losing)
	p, config := ruled(t, tcpproxy.Rules{Read: mongowire.Message, Turn: func(command []byte) func() {
		switch {
		case mongowire.IsCommand(command, "update") && l.armed.CompareAndSwap(true, false):
			l.p.Lose()
			l.after.Store(true)
		case mongowire.IsCommand(command, "find") && l.after.CompareAndSwap(true, false) && l.meanwhile != nil:
			l.meanwhile()
		}
		return func() {}
	}})
	l.p = p
	return l, config
}

func (l *losing) arm(t testing.TB, meanwhile func()) (check func()) {
	l.meanwhile = meanwhile
	l.armed.Store(true)
	return func() {
		t.Helper()
		assert.False(t, l.armed.Load(), "no update")
		assert.False(t, l.after.Load(), "nobody has looked what became of it")
	}
}

// past is the Config of the same collection, not through the proxy.
func past(t testing.TB, config mongo.Config) mongo.Config {
	config.Options = options.Client().ApplyURI(server(t))
	return config
}

// A write whose answer was lost is not made again on top of what another request has
// written meanwhile. If nobody has, it counts.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, test := range map[string]struct {
		before bool // there is a record
		renew  bool
	}{"insert": {}, "swap": {before: true}, "rename": {true, true}} {
		for _, contended := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", another writes", false: ", nobody else"}[contended], func(t *testing.T) {
				t.Parallel()
				l, config := newLosing(t)
				store, other := openStore(t, config), openStore(t, past(t, config))
				if test.before {
					require.NoError(t, store.Save(ctx, session.NewBaseSessionWithData("abc", session.GobEncoder, noID, session.Data{"a": "old", "b": "old"})))
				}
				s, err := store.Read(ctx, "abc")
				require.NoError(t, err)
				if test.renew {
					require.NoError(t, s.RegenerateID(nil, nil))
				}
				s.Set("a", "mine")
				var meanwhile func()
				if contended {
					meanwhile = func() {
						o, err := other.Read(ctx, s.ID())
						assert.NoError(t, err)
						assert.Equal(t, "mine", o.Get("a"), "the answer was lost, not the write")
						o.Set("a", "theirs")
						assert.NoError(t, other.Save(ctx, o))
					}
				}
				check := l.arm(t, meanwhile)
				err = store.Save(ctx, s)
				check()
				want := "mine"
				if contended {
					want = "theirs"
					require.Error(t, err)
					require.NotErrorIs(t, err, session.ErrNotApplied)
				} else {
					require.NoError(t, err)
				}
				now, err := other.Read(ctx, s.ID())
				require.NoError(t, err)
				require.Equal(t, want, now.Get("a"))
			})
		}
	}
}

// The backend repeats no write whose answer was lost, and says that its outcome is not known.
func TestLostAnswersOfTheBackend(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l, config := newLosing(t)
	b := openBackend(t, config)
	for name, call := range map[string]func() (bool, error){
		"insert": func() (bool, error) { return b.Insert(ctx, "abc", rec("one", time.Minute)) },
		"swap":   func() (bool, error) { return b.Swap(ctx, "swap", []byte("one"), rec("two", time.Minute)) },
		"rename": func() (bool, error) { return b.Rename(ctx, "rename", "new", []byte("one"), rec("two", time.Minute)) },
	} {
		_, err := b.Insert(ctx, name, rec("one", time.Minute))
		require.NoError(t, err)
		trips := l.p.Trips()
		l.arm(t, nil)
		_, err = call()
		require.Error(t, err, name)
		require.NotErrorIs(t, err, session.ErrNotApplied, name)
		require.Equal(t, 1, l.p.Trips()-trips, name)
	}
	l.arm(t, nil)
	require.NoError(t, b.Extend(ctx, "abc", time.Hour), "may be repeated")
	r, found, err := b.Load(ctx, "abc")
	require.NoError(t, err)
	require.True(t, found)
	require.Greater(t, r.TTL, 59*time.Minute)
}

// What was never sent, and what the server has refused, was surely not done.
func TestNotApplied(t *testing.T) {
	t.Parallel()
	p, config := proxied(t)
	b := openBackend(t, config)
	p.Stop()
	_, err := b.Insert(deadline(t, 5*time.Second), "abc", rec("x", time.Minute)) // finds the outage
	require.Error(t, err)
	for range 3 {
		_, err := b.Insert(deadline(t, 3*time.Second), "abc", rec("x", time.Minute))
		require.ErrorIs(t, err, session.ErrNotApplied)
	}
}

// A flash whose taking got no answer is rather lost than shown twice, and then as a 500.
func TestLostAnswerOfFlash(t *testing.T) {
	t.Parallel()
	l, config := newLosing(t)
	app := webapp.New(t, session.Options{Initer: mongo.Initer(), Config: config})
	app.Get("/set", func(s session.Session) { s.SetFlash("hello") })
	app.Get("/show", func(f session.Flash) string { text, _ := f.(string); return "flash: " + text })
	browser := webapp.NewBrowser(t, app)
	require.Equal(t, http.StatusOK, browser.Get("/set").Code)
	check := l.arm(t, nil)
	w := browser.Get("/show")
	check()
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotEmpty(t, app.TakeErrors())
	w = browser.Get("/show")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "flash: ", w.Body.String())
}

// A server that is not the primary any more has done nothing, and the write is made on the
// one that is: after a while, or on another connection, if an address leads to it.
func TestNotPrimary(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"NotWritablePrimary": 10107, "NotPrimaryOrSecondary": 13436} {
		for _, kind := range []string{"after a while", "another connection"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				var steppedDown atomic.Bool
				var refused atomic.Int32
				var old atomic.Pointer[map[io.Reader]bool]
				rules := refusing{"update", func(client io.Reader) bool {
					if !steppedDown.Load() {
						m := map[io.Reader]bool{client: true}
						if known := old.Load(); known != nil {
							for c := range *known {
								m[c] = true
							}
						}
						old.Store(&m)
						return false
					}
					if kind == "after a while" {
						return refused.Add(1)%3 != 0
					}
					if (*old.Load())[client] {
						refused.Add(1)
						return true
					}
					return false
				}, notPrimaryAnswer(code)}.rules(t)
				_, config := ruled(t, rules)
				app := counter(t, config)
				browser := webapp.NewBrowser(t, app)
				require.Equal(t, "1", browser.Get("/").Body.String())
				steppedDown.Store(true)
				for range 10 {
					w := browser.Get("/")
					require.Equal(t, http.StatusOK, w.Code, app.TakeErrors())
				}
				require.Equal(t, "12", browser.Get("/").Body.String())
				require.Positive(t, refused.Load())
			})
		}
	}
}
