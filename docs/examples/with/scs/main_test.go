package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/flamego/flamego"
	"github.com/gomodule/redigo/redis"
	_ "github.com/jackc/pgx/v4/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/with/internal/visitor"
	"github.com/flamego/session/internal/testing/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const (
	in  = "Logged in as alice"
	out = "Not logged in"
)

// apps are the app before and the app now, on one host.
type apps struct {
	store    scs.Store
	sessions *session.Manager
	before   *httptest.Server
	now      *httptest.Server
	flame    *flamego.Flame // of the app now
	old      *scs.SessionManager
}

func start(t *testing.T, store scs.Store, change func(*session.Options)) *apps {
	a := &apps{store: store}

	// The app before, as users of scs write it.
	manager := scs.New()
	manager.Store = store
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if err := manager.RenewToken(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		manager.Put(r.Context(), "user_id", 7)
		manager.Put(r.Context(), "name", "alice")
		manager.Put(r.Context(), "since", time.Unix(1700000000, 0).UTC())
	})
	mux.HandleFunc("/visit", func(_ http.ResponseWriter, r *http.Request) {
		manager.Put(r.Context(), "name", "nobody")
	})
	a.before = visitor.Serve(t, manager.LoadAndSave(mux))

	db := openSQLite(t)
	opts := options(db)
	if change != nil {
		change(&opts)
	}
	var err error
	a.sessions, err = session.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.sessions.Close()) })
	a.old = formerSessions(store)
	a.flame = newApp(a.sessions, a.old)
	a.now = visitor.Serve(t, a.flame)
	return a
}

func openSQLite(t *testing.T) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db")+"?_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// login returns a visitor whom scs has logged in, and the cookie that says so.
func (a *apps) login(t *testing.T) (*visitor.Visitor, *http.Cookie) {
	v := visitor.New(t, a.before)
	require.Equal(t, http.StatusOK, v.Get(a.before, "/login").StatusCode)
	cookie := v.Cookie(a.now, "session")
	require.NotNil(t, cookie)
	return v, cookie
}

func (a *apps) home(t *testing.T, v *visitor.Visitor) string {
	t.Helper()
	answer := v.Get(a.now, "/")
	require.Equal(t, http.StatusOK, answer.StatusCode, answer.Body)
	return answer.Body
}

func (a *apps) stored(t *testing.T, token *http.Cookie) bool {
	t.Helper()
	_, found, err := a.store.Find(token.Value)
	require.NoError(t, err)
	return found
}

var stores = map[string]func(t *testing.T) scs.Store{
	"memory": func(*testing.T) scs.Store { return memstore.NewWithCleanupInterval(0) },
	"sqlite": func(t *testing.T) scs.Store {
		db := openSQLite(t)
		_, err := db.Exec("CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)")
		require.NoError(t, err)
		return sqlite3store.NewWithCleanupInterval(db, 0)
	},
	"postgres": func(t *testing.T) scs.Store {
		db, err := sql.Open("pgx", testserver.Postgres(t))
		require.NoError(t, err)
		_, err = db.Exec("CREATE TABLE scs_sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)")
		require.NoError(t, err)
		t.Cleanup(func() {
			_, err := db.Exec("DROP TABLE scs_sessions")
			assert.NoError(t, err)
			assert.NoError(t, db.Close())
		})
		return postgresstore.NewWithConfig(db, postgresstore.Config{TableName: "scs_sessions"})
	},
	"redis": func(t *testing.T) scs.Store {
		address := testserver.Redis(t)
		pool := &redis.Pool{Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", address, redis.DialPassword(testserver.RedisPassword()))
		}}
		t.Cleanup(func() { assert.NoError(t, pool.Close()) })
		return redisstore.New(pool)
	},
}

func TestTakeAlong(t *testing.T) {
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, store(t), nil)
			phone, old := a.login(t)
			laptop, other := a.login(t)
			stranger := visitor.New(t, a.now)
			assert.Contains(t, a.home(t, stranger), out)

			assert.Equal(t, http.StatusSeeOther, phone.GetOnce(a.now, "/"))
			assert.NotNil(t, phone.Cookie(a.now, "session"), "until the browser has shown the new cookie")
			assert.Contains(t, a.home(t, phone), in)
			assert.Nil(t, phone.Cookie(a.now, "session"))
			assert.Contains(t, a.home(t, phone), in)
			assert.True(t, a.stored(t, old), "until the logout")

			assert.Contains(t, a.home(t, laptop), in)
			assert.Contains(t, phone.Post(a.now, "/logout", "").Body, out)
			assert.False(t, a.stored(t, old))
			assert.Contains(t, a.home(t, phone), out)
			assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out)
			assert.Contains(t, a.home(t, laptop), in, "another device")
			assert.True(t, a.stored(t, other))
		})
	}
}

// A logout that is the first request after the switch ends the old session.
func TestLogoutFirst(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), nil)
	v, old := a.login(t)
	assert.Contains(t, v.Post(a.now, "/logout", "").Body, out)
	assert.False(t, a.stored(t, old))
	assert.Nil(t, v.Cookie(a.now, "session"))
	assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out)

	// And one that follows on the first page.
	v, old = a.login(t)
	assert.Contains(t, a.home(t, v), in)
	assert.Contains(t, v.Post(a.now, "/logout", "").Body, out)
	assert.False(t, a.stored(t, old))
	assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out)
}

// What is not a page that the visitor opens waits for one: a form, a script, a WebSocket.
func TestOnlyPages(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), nil)
	a.flame.Any("/any", takeAlong(a.old), func(s session.Session) string { return fmt.Sprint(s.Get("name")) })
	v, _ := a.login(t)
	for _, r := range []struct{ method, header, value string }{
		{http.MethodPost, "Sec-Fetch-Dest", "document"},
		{http.MethodGet, "Sec-Fetch-Dest", "empty"},
		{http.MethodGet, "Sec-Fetch-Dest", "iframe"},
		{http.MethodGet, "Upgrade", "websocket"},
	} {
		request, err := http.NewRequest(r.method, a.now.URL+"/any", nil)
		require.NoError(t, err)
		request.Header.Set(r.header, r.value)
		answer := v.Do(request)
		assert.Equal(t, "<nil>", answer.Body)
		assert.Empty(t, answer.Cookies())
	}
	assert.Equal(t, "alice", v.Get(a.now, "/any?a=b").Body)
}

// The browser is sent to this site only.
func TestRedirectsToThisSite(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), nil)
	a.flame.Get("/any", takeAlong(a.old), func() string { return "page" })
	v, _ := a.login(t)
	answer := v.Get(a.now, "//any?a=b")
	assert.Equal(t, "page", answer.Body)
	assert.Equal(t, a.now.URL+"/any?a=b", answer.Request.URL.String())
}

// Somebody else logs in, before the move and after it. The session of alice has ended then.
func TestLoginOver(t *testing.T) {
	t.Parallel()
	for _, moved := range []bool{false, true} {
		a := start(t, memstore.NewWithCleanupInterval(0), nil)
		v, old := a.login(t)
		if moved {
			assert.Contains(t, a.home(t, v), in)
		}
		assert.Contains(t, v.Post(a.now, "/login", "name=bob").Body, "Logged in as bob")
		assert.Contains(t, a.home(t, v), "Logged in as bob")
		assert.False(t, a.stored(t, old))
		assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out)
	}
}

// Requests that a browser sends at once all find the visitor logged in, and each response has a
// cookie that is good. What arrives late takes none away.
func TestFirstAtOnce(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), func(o *session.Options) {
		require.Positive(t, o.FirstLifetime)
		o.FirstLifetime = time.Second
	})
	_, old := a.login(t)
	const n = 8
	cookies := make(chan *http.Cookie, n)
	for range n {
		v := visitor.New(t, a.now, old)
		go func() {
			v.GetOnce(a.now, "/")
			cookies <- v.Cookie(a.now, "flamego_session")
		}()
	}
	var kept *http.Cookie
	var others []*http.Cookie
	for range n {
		cookie := <-cookies
		require.NotNil(t, cookie)
		others = append(others, kept)
		kept = cookie
	}
	others = others[1:]

	v := visitor.New(t, a.now, old, kept)
	assert.Contains(t, a.home(t, v), in)

	for _, cookie := range others {
		assert.NotEqual(t, kept.Value, cookie.Value)
		assert.Eventually(t, func() bool { return !a.sessions.Store().Exist(t.Context(), cookie.Value) },
			30*time.Second, 50*time.Millisecond, "nobody has it")
	}
	assert.Contains(t, a.home(t, v), in)
}

// A form that another site posts brings no cookie, and its answer takes none away.
func TestOtherSite(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), nil)
	a.flame.Post("/callback", takeAlong(a.old), func() string { return "paid" })
	v, old := a.login(t)
	r, err := http.NewRequest(http.MethodPost, a.now.URL+"/callback", nil)
	require.NoError(t, err)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	answer := visitor.New(t, a.now).Do(r)
	assert.Equal(t, "paid", answer.Body)
	assert.Empty(t, answer.Cookies())
	assert.True(t, a.stored(t, old))
	assert.Contains(t, a.home(t, v), in)
}

// The values keep their types, and the session has an ID that nobody knew before.
func TestValuesAndID(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), nil)
	a.flame.Get("/plant", func(s session.Session) { s.Set("cart", "a book") })
	a.flame.Get("/values", takeAlong(a.old), func(s session.Session) string {
		return fmt.Sprintf("%#v %v %v", s.Get("user_id"), s.Get("since"), s.Get("cart"))
	})
	attacker := visitor.New(t, a.now)
	attacker.Get(a.now, "/plant")
	planted := attacker.Cookie(a.now, "flamego_session")
	require.NotNil(t, planted)

	_, old := a.login(t)
	v := visitor.New(t, a.now, old, planted)
	want := "7 2023-11-14 22:13:20 +0000 UTC a book"
	assert.Equal(t, want, v.Get(a.now, "/values").Body)
	assert.Equal(t, want, v.Get(a.now, "/values").Body, "from the store")
	assert.NotEqual(t, planted.Value, v.Cookie(a.now, "flamego_session").Value)
	assert.Contains(t, a.home(t, attacker), out)
}

// What scs has of somebody who is not logged in any more, or never was, logs nobody in.
func TestNothingToTake(t *testing.T) {
	t.Parallel()
	a := start(t, memstore.NewWithCleanupInterval(0), nil)
	commit := func(token string, data []byte) *http.Cookie {
		require.NoError(t, a.store.Commit(token, data, time.Now().Add(time.Hour)))
		return &http.Cookie{Name: "session", Value: token, Path: "/"}
	}
	data, err := scs.GobCodec{}.Encode(time.Now().Add(-time.Second), map[string]interface{}{"user_id": 7, "name": "alice"})
	require.NoError(t, err)
	never := visitor.New(t, a.before)
	never.Get(a.before, "/visit")

	for name, cookie := range map[string]*http.Cookie{
		"past its deadline": commit("past", data),
		"broken":            commit("broken", data[:len(data)/2]),
		"unknown":           {Name: "session", Value: "unknown", Path: "/"},
		"never logged in":   never.Cookie(a.now, "session"),
	} {
		answer := visitor.New(t, a.now, cookie).Get(a.now, "/")
		assert.Equal(t, http.StatusOK, answer.StatusCode, name)
		assert.Contains(t, answer.Body, out, name)
		assert.Empty(t, answer.Cookies(), name)
	}
}

// down is a store that can be out of order.
type down struct {
	scs.Store
	is atomic.Bool
}

var errDown = errors.New("out of order")

func (d *down) Find(token string) ([]byte, bool, error) {
	if d.is.Load() {
		return nil, false, errDown
	}
	return d.Store.Find(token)
}

func (d *down) Delete(token string) error {
	if d.is.Load() {
		return errDown
	}
	return d.Store.Delete(token)
}

// An outage of the old store costs nobody the login, and does not keep an old session alive.
func TestOutage(t *testing.T) {
	t.Parallel()
	store := &down{Store: memstore.NewWithCleanupInterval(0)}
	a := start(t, store, nil)
	v, old := a.login(t)
	store.is.Store(true)
	answer := v.Get(a.now, "/")
	assert.Equal(t, http.StatusInternalServerError, answer.StatusCode)
	assert.NotContains(t, answer.Body, errDown.Error())
	store.is.Store(false)
	assert.Contains(t, a.home(t, v), in)

	store.is.Store(true)
	assert.Equal(t, http.StatusInternalServerError, v.Post(a.now, "/logout", "").StatusCode)
	store.is.Store(false)
	assert.Contains(t, v.Post(a.now, "/logout", "").Body, out)
	assert.False(t, a.stored(t, old))
}
