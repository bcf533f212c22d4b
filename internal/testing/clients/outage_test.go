package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/tcpproxy"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/internal/testing/webapp"
	"github.com/flamego/session/redis/anyclient"
)

func noID(http.ResponseWriter, *http.Request, string) {}

func openStore(t testing.TB, config anyclient.Config) session.Store {
	t.Helper()
	s, err := anyclient.Initer()(t.Context(), config, session.IDWriter(noID))
	require.NoError(t, err)
	return s
}

// A write whose answer is lost is sent once, and not made again on top of what another request has
// written.
func TestLostAnswers(t *testing.T) {
	all := maps.Clone(clients)
	maps.Copy(all, sharedClients)
	for name, open := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var during atomic.Pointer[func()]
			var writing atomic.Bool
			var sent atomic.Int64
			var p *tcpproxy.Proxy
			p = tcpproxy.New(t, testserver.Redis(t), tcpproxy.Rules{
				Turn: func(question []byte) func() {
					if bytes.Contains(question, []byte("written")) {
						writing.Store(true)
						sent.Add(1)
					}
					return func() {}
				},
				Answer: func(answer []byte) []byte {
					if bytes.HasPrefix(answer, []byte("+PONG")) || !writing.Swap(false) {
						return answer
					}
					if f := during.Swap(nil); f != nil {
						(*f)()
						p.Cut()
					}
					return answer
				},
			})
			direct, err := open(testserver.Redis(t))
			require.NoError(t, err)
			direct.KeyPrefix = t.Name() + ":"
			other := openStore(t, direct)
			read := func(store session.Store) session.Session {
				s, err := store.Read(t.Context(), "abc")
				require.NoError(t, err)
				return s
			}
			set := func(val string) {
				s := read(other)
				s.Set("a", val)
				require.NoError(t, other.Save(t.Context(), s))
			}
			set("old")
			set("older") // the server has the scripts
			for _, othersWrite := range []bool{true, false} {
				// A client of its own: one whose connections were just cut may lose a question
				// before it is sent.
				lossy, err := open(p.Addr())
				require.NoError(t, err)
				lossy.KeyPrefix = direct.KeyPrefix
				store := openStore(t, lossy)
				f := func() {
					if othersWrite {
						set("theirs")
					}
				}
				s := read(store)
				s.Set("a", "written")
				during.Store(&f)
				sent.Store(0)
				err = store.Save(t.Context(), s)
				require.Nil(t, during.Load(), "nothing was lost")
				require.EqualValues(t, 1, sent.Load(), "how often the write was sent")
				if othersWrite {
					require.Error(t, err)
					require.NotErrorIs(t, err, session.ErrNotApplied)
					require.Equal(t, "theirs", read(other).Get("a"))
				} else {
					require.NoError(t, err)
					require.Equal(t, "written", read(other).Get("a"))
				}
			}
		})
	}
}

// The error replies of each client are recognized, and nothing that they quote is shown.
func TestErrors(t *testing.T) {
	const canary = "canary"
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testserver.StartRedis(t)
			config, err := open(s.Addr)
			require.NoError(t, err)
			config.KeyPrefix = canary + ":"
			store := openStore(t, config)
			save := func() error {
				sess := session.NewBaseSessionWithData(canary, nil, nil, session.Data{canary: canary})
				return store.Save(t.Context(), sess)
			}
			require.NoError(t, save())
			failed := func(what, want string, err error, notApplied bool) {
				t.Helper()
				require.ErrorContains(t, err, want, what)
				if notApplied {
					require.ErrorIs(t, err, session.ErrNotApplied, what)
				}
				asJSON, _ := json.Marshal(err)
				require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", err, err, err, asJSON), canary, what)
			}

			s.MustDo(t, "CONFIG", "SET", "maxmemory", "1")
			failed("no memory", "OOM", save(), true)
			s.MustDo(t, "CONFIG", "SET", "maxmemory", "0")
			s.MustDo(t, "REPLICAOF", "127.0.0.1", "1")
			failed("read only", "READONLY", save(), true)
			s.MustDo(t, "REPLICAOF", "NO", "ONE")
			s.MustDo(t, "ACL", "SETUSER", "default", "-evalsha", "-eval")
			failed("no permission", "NOPERM", save(), true)
			_, err = anyclient.Initer()(t.Context(), config, session.IDWriter(noID))
			failed("no permission at start", "the store needs scripts: NOPERM", err, false)
			s.MustDo(t, "ACL", "SETUSER", "default", "+@all")
			s.MustDo(t, "DEL", canary+":"+canary)
			s.MustDo(t, "LPUSH", canary+":"+canary, canary)
			_, err = store.Read(t.Context(), canary)
			failed("wrong type", "WRONGTYPE", err, false)

			// The store is as it was when the server is back.
			s.Kill()
			_, err = store.Read(t.Context(), canary)
			failed("outage", "session: redis: read: ", err, false)
			s.Start(t)
			require.Eventually(t, func() bool { return save() == nil }, 5*time.Second, 10*time.Millisecond)
		})
	}
}

// Keys of the app are left alone where there is no prefix.
func TestNoKeyPrefix(t *testing.T) {
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testserver.StartRedis(t)
			config, err := open(s.Addr)
			require.NoError(t, err)
			config.NoKeyPrefix = true
			app := webapp.New(t, session.Options{Initer: anyclient.Initer(), Config: config, TouchInterval: -1})
			app.Get("/", func(s session.Session) {})
			app.Get("/set", func(s session.Session) { s.Set("n", 1) })
			app.Get("/logout", func(s session.Session, w http.ResponseWriter, r *http.Request) error { return session.Destroy(w, r, s) })
			keys := map[string][]string{
				"appstext00000000": {"SET", "appstext00000000", "hello"},
				"appslist00000000": {"LPUSH", "appslist00000000", "hello"},
			}
			for key, keep := range keys {
				s.MustDo(t, keep...)
				before := s.MustDo(t, "DUMP", key)
				for path, code := range map[string]int{"/": 200, "/set": 500, "/logout": 500} {
					b := webapp.NewBrowser(t, app)
					b.Cookie = "flamego_session=" + key
					require.Equal(t, code, b.Get(path).Code, path)
					require.NotNil(t, app.TakeErrors())
				}
				require.Equal(t, before, s.MustDo(t, "DUMP", key))
				require.Equal(t, "-1", s.MustDo(t, "PTTL", key))
			}
		})
	}
}
