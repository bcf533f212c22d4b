package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/webapp"
)

// lossy is a store whose answers can be lost, and another store on the same keys, which
// does not notice.
type lossy struct {
	*testing.T
	p            *tcpproxy.Proxy
	store, other session.Store
	during       atomic.Pointer[func()] // what happens after a write whose answer is lost
	writing      atomic.Bool            // what was asked last is a write
}

// newLossy opens the stores. The proxy cuts a connection after the server has made a write,
// or holds the answer back for longer than ReadTimeout.
func newLossy(t *testing.T, late, shared bool) *lossy {
	l := &lossy{T: t}
	config := testConfig(t)
	l.other = openStore(t, config)
	l.p = tcpproxy.New(t, config.Options.Addr, tcpproxy.Rules{
		Turn: func(question []byte) func() {
			question = bytes.ToLower(question)
			l.writing.Store(bytes.Contains(question, []byte("evalsha")) || bytes.Contains(question, []byte("\r\nset\r\n")))
			return func() {}
		},
		Answer: func(answer []byte) []byte {
			if !l.writing.Load() {
				return answer
			}
			if f := l.during.Swap(nil); f != nil {
				(*f)()
				if late {
					time.Sleep(600 * time.Millisecond)
				} else {
					l.p.Cut()
				}
			}
			return answer
		},
	})
	through := *config.Options
	through.Addr, through.ReadTimeout = l.p.Addr(), 300*time.Millisecond
	config.Options = &through
	if shared {
		config.Client = bare(t, &through) // with the retries that it has by default
	}
	l.store = openStore(t, config)

	// So that the server knows the scripts.
	l.set("warm", "a", 1)
	l.set("warm", "a", 2)
	s := l.read(l.other, "warm")
	require.NoError(t, s.RegenerateID(nil, nil))
	require.NoError(t, l.other.Save(t.Context(), s))
	return l
}

// lose makes the answer to the next write vanish, after the function.
func (l *lossy) lose(f func()) { l.during.Store(&f) }

// lost tells whether that has happened.
func (l *lossy) lost() bool { return l.during.Load() == nil }

func (l *lossy) read(store session.Store, sid string) session.Session {
	l.Helper()
	s, err := store.Read(context.Background(), sid)
	require.NoError(l, err)
	return s
}

// set sets a key by a request of another process.
func (l *lossy) set(sid, key string, val interface{}) {
	s := l.read(l.other, sid)
	s.Set(key, val)
	require.NoError(l, l.other.Save(context.Background(), s))
}

// Whatever becomes of the answer to a write, the write is not made twice: not on top of what
// another request was told is saved.
func TestWritesAreMadeOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, mode := range map[string]struct{ late, shared bool }{
		"lost": {}, "late": {late: true}, "lost, client of the app": {shared: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLossy(t, mode.late, mode.shared)
			for what, write := range map[string]func(s session.Session){
				"swap":   func(s session.Session) { s.Set("a", "ours") },
				"rename": func(s session.Session) { s.Set("a", "ours"); require.NoError(t, s.RegenerateID(nil, nil)) },
			} {
				for _, othersWrite := range []bool{true, false} {
					require.NoError(t, l.other.Destroy(ctx, "abc"))
					l.set("abc", "a", "old")
					s := l.read(l.store, "abc")
					write(s)
					l.lose(func() {
						if othersWrite {
							l.set(s.ID(), "a", "theirs")
						}
					})
					err := l.store.Save(ctx, s)
					require.True(t, l.lost(), what)
					got := l.read(l.other, s.ID()).Get("a")
					if othersWrite {
						require.Equal(t, "theirs", got, what)
						require.Error(t, err, what)
						require.NotErrorIs(t, err, session.ErrNotApplied, what)
					} else {
						require.Equal(t, "ours", got, what)
						require.NoError(t, err, what)
					}
					require.NoError(t, l.other.Destroy(ctx, s.ID()))
				}
			}

			// The first thing that is stored.
			for _, othersWrite := range []bool{true, false} {
				require.NoError(t, l.other.Destroy(ctx, "def"))
				s := l.read(l.store, "def")
				s.Set("a", "ours")
				l.lose(func() {
					if othersWrite {
						l.set("def", "a", "theirs")
					}
				})
				err := l.store.Save(ctx, s)
				require.True(t, l.lost())
				if othersWrite {
					require.Error(t, err)
					require.Equal(t, "theirs", l.read(l.other, "def").Get("a"))
				} else {
					require.NoError(t, err)
					require.Equal(t, "ours", l.read(l.other, "def").Get("a"))
				}
			}
		})
	}
}

// A flash is rather lost than shown twice, and then the visitor sees a 500.
func TestFlashIsTakenOnce(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"lost": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLossy(t, late, false)
			app := webapp.New(t, session.Options{
				Initer: func(context.Context, ...interface{}) (session.Store, error) { return l.store, nil },
			})
			app.Get("/", func(s session.Session, f session.Flash) string { return fmt.Sprint(s.Get("a"), f) })
			other := webapp.New(t, session.Options{
				Initer: func(context.Context, ...interface{}) (session.Store, error) { return l.other, nil },
			})
			other.Get("/", func(f session.Flash) string { return fmt.Sprint(f) })
			const sid = "abcdefghij012345"
			for _, othersTake := range []bool{false, true} {
				s := l.read(l.other, sid)
				s.Set("a", 1)
				s.SetFlash("hello")
				require.NoError(t, l.other.Save(t.Context(), s))
				visit := func(app *webapp.App) *httptest.ResponseRecorder {
					b := webapp.NewBrowser(t, app)
					b.Cookie = "flamego_session=" + sid
					return b.Get("/")
				}
				l.lose(func() {
					if othersTake { // it is gone already
						require.Equal(t, "<nil>", visit(other).Body.String())
					}
				})
				require.Equal(t, http.StatusInternalServerError, visit(app).Code)
				require.True(t, l.lost())
				require.NotNil(t, app.TakeErrors())
				require.Equal(t, "1 <nil>", visit(app).Body.String())
			}
		})
	}
}
