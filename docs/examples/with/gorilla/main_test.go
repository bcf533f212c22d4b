package main

import (
	"encoding/gob"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flamego/flamego"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/with/internal/visitor"
)

const (
	in  = "Logged in as alice"
	out = "Not logged in"
)

type role struct{ Name string }

type key int

func init() {
	gob.Register(role{})
	gob.Register(key(0))
}

// apps are the app before and the app now, on one host.
type apps struct {
	dir      string // of a FilesystemStore
	sessions *session.Manager
	before   *httptest.Server
	now      *httptest.Server
	flame    *flamego.Flame // of the app now
	old      *former
}

func start(t *testing.T, files bool) *apps {
	a := &apps{dir: t.TempDir()}
	keys := [][]byte{securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32)}
	open := func() sessions.Store {
		if !files {
			return sessions.NewCookieStore(keys...)
		}
		return sessions.NewFilesystemStore(a.dir, keys...)
	}

	// The app before, as users of gorilla/sessions write it.
	store := open()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "session")
		s.Values["user_id"] = 7
		s.Values["name"] = "alice"
		s.Values["role"] = role{"admin"}
		s.Values[key(1)] = int64(2)
		s.AddFlash("Welcome")
		s.AddFlash("You have mail")
		if err := s.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	a.before = visitor.Serve(t, mux)

	var err error
	a.sessions, err = session.New(options(t.TempDir()))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.sessions.Close()) })
	a.old = &former{
		store:  open(),
		cookie: "session",
		until:  time.Now().Add(time.Hour),
		people: &users{loggedOut: make(map[int]time.Time)},
	}
	a.flame = newApp(a.sessions, a.old)
	a.now = visitor.Serve(t, a.flame)
	return a
}

// login returns a visitor whom gorilla/sessions has logged in, and the cookie that says so.
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

// files returns how many sessions a FilesystemStore has.
func (a *apps) files(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir(a.dir)
	require.NoError(t, err)
	return len(files)
}

func eachStore(t *testing.T, test func(t *testing.T, a *apps, files int)) {
	t.Run("cookies", func(t *testing.T) {
		t.Parallel()
		test(t, start(t, false), 0)
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		test(t, start(t, true), 1)
	})
}

func TestTakeAlong(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, files int) {
		phone, old := a.login(t)
		laptop, _ := a.login(t)
		assert.Contains(t, a.home(t, visitor.New(t, a.now)), out)
		require.Equal(t, 2*files, a.files(t))

		assert.Equal(t, http.StatusSeeOther, phone.GetOnce(a.now, "/"))
		assert.NotNil(t, phone.Cookie(a.now, "session"), "until the browser has shown the new cookie")
		page := a.home(t, phone)
		assert.Contains(t, page, in)
		assert.Contains(t, page, "<p>Welcome\n<p>You have mail\n")
		assert.Nil(t, phone.Cookie(a.now, "session"))
		assert.Equal(t, files, a.files(t), "that of the laptop")
		page = a.home(t, phone)
		assert.Contains(t, page, in)
		assert.NotContains(t, page, "Welcome")

		a.home(t, laptop)
		assert.Contains(t, a.home(t, laptop), in)
		assert.Contains(t, phone.Post(a.now, "/logout", "").Body, out)
		assert.Contains(t, a.home(t, phone), out)
		assert.Contains(t, a.home(t, laptop), in, "another device")
		assert.Equal(t, 0, a.files(t))
		assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out, "a copy of the old cookie")
	})
}

// A logout that is the first request after the switch ends the old session, and so does one that
// follows on the first page.
func TestLogoutFirst(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
		for _, look := range []bool{false, true} {
			a.old.people.loggedOut = make(map[int]time.Time) // as if it were long ago
			v, old := a.login(t)
			if look {
				assert.Contains(t, a.home(t, v), in)
			}
			assert.Contains(t, v.Post(a.now, "/logout", "").Body, out)
			assert.Nil(t, v.Cookie(a.now, "session"))
			assert.Equal(t, 0, a.files(t))
			assert.Contains(t, a.home(t, v), out)
			assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out, "a copy of the old cookie")
		}
	})
}

// Somebody else logs in, before the move and after it.
func TestLoginOver(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
		for _, moved := range []bool{false, true} {
			v, _ := a.login(t)
			if moved {
				assert.Contains(t, a.home(t, v), in)
			}
			assert.Contains(t, v.Post(a.now, "/login", "name=bob").Body, "Logged in as bob")
			assert.Nil(t, v.Cookie(a.now, "session"))
			assert.Equal(t, 0, a.files(t))
			assert.Contains(t, a.home(t, v), "Logged in as bob")
		}
	})
}

// A form of another site, which may bring the old cookie, logs nobody out.
func TestForgedLogout(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
		v, old := a.login(t)
		r, err := http.NewRequest(http.MethodPost, a.now.URL+"/logout", nil)
		require.NoError(t, err)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		answer := visitor.New(t, a.now, old).Do(r)
		assert.Equal(t, http.StatusForbidden, answer.StatusCode)
		assert.Contains(t, a.home(t, v), in)
	})
}

// Pages that a browser opens at once all find the visitor logged in, and each response has a
// cookie that is good.
func TestFirstAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
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
		for range n {
			cookie := <-cookies
			require.NotNil(t, cookie)
			assert.Contains(t, a.home(t, visitor.New(t, a.now, cookie)), in)
		}
		v := visitor.New(t, a.now, old)
		a.home(t, v)
		assert.Contains(t, a.home(t, v), in)
		assert.Equal(t, 0, a.files(t))
	})
}

// Only a page that the visitor opens brings the old session along. The old cookie is
// SameSite=None, so a form of another site has it, too.
func TestOtherSite(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
		var seen []any
		a.flame.Any("/pay", a.old.takeAlong, func(s session.Session) { seen = append(seen, s.Get("user_id")) })
		_, old := a.login(t)
		request := func(method, dest string) visitor.Answer {
			r, err := http.NewRequest(method, a.now.URL+"/pay", nil)
			require.NoError(t, err)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Dest", dest)
			return visitor.New(t, a.now, old).Do(r)
		}
		assert.Empty(t, request(http.MethodPost, "document").Cookies())
		assert.Empty(t, request(http.MethodGet, "iframe").Cookies())
		assert.Empty(t, request(http.MethodGet, "image").Cookies())
		request(http.MethodGet, "document") // a link
		assert.Equal(t, []any{nil, nil, nil, 7}, seen)
	})
}

// Keys and values keep their types, and the session has an ID that nobody knew before.
func TestValuesAndID(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
		a.flame.Get("/plant", func(s session.Session) { s.Set("cart", "a book") })
		a.flame.Get("/values", a.old.takeAlong, func(s session.Session) string {
			return fmt.Sprintf("%#v %#v %#v %v", s.Get("user_id"), s.Get("role"), s.Get(key(1)), s.Get("cart"))
		})
		attacker := visitor.New(t, a.now)
		attacker.Get(a.now, "/plant")
		planted := attacker.Cookie(a.now, "flamego_session")
		require.NotNil(t, planted)

		_, old := a.login(t)
		v := visitor.New(t, a.now, old, planted)
		const want = `7 main.role{Name:"admin"} 2 a book`
		assert.Equal(t, want, v.Get(a.now, "/values").Body)
		assert.Equal(t, want, v.Get(a.now, "/values").Body, "from the store")
		assert.NotEqual(t, planted.Value, v.Cookie(a.now, "flamego_session").Value)
		assert.Contains(t, a.home(t, attacker), out)
	})
}

// What the old library does not take, what is from before the last logout, and everything when
// the time is over logs nobody in.
func TestNothingToTake(t *testing.T) {
	eachStore(t, func(t *testing.T, a *apps, _ int) {
		_, old := a.login(t)
		other := start(t, false) // with other keys
		_, foreign := other.login(t)
		for name, cookie := range map[string]*http.Cookie{
			"broken":        {Name: "session", Value: old.Value[:len(old.Value)-4], Path: "/", Secure: true},
			"of other keys": foreign,
		} {
			answer := visitor.New(t, a.now, cookie).Get(a.now, "/")
			assert.Equal(t, http.StatusOK, answer.StatusCode, name)
			assert.Contains(t, answer.Body, out, name)
			assert.Empty(t, answer.Cookies(), name)
		}

		require.NoError(t, a.old.people.LogOut(7))
		assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out)
		a.old.people.loggedOut[7] = writtenAt(old.Value)
		assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out, "within the same second")
		a.old.people.loggedOut[7] = writtenAt(old.Value).Add(-time.Nanosecond)
		assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), in)
		a.old.until = time.Now()
		assert.Contains(t, a.home(t, visitor.New(t, a.now, old)), out, "the time is over")
	})
}

// A file that cannot be read is no logout.
func TestOutage(t *testing.T) {
	t.Parallel()
	a := start(t, true)
	v, _ := a.login(t)
	files, err := filepath.Glob(filepath.Join(a.dir, "session_*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.Rename(files[0], files[0]+"~"))
	require.NoError(t, os.Mkdir(files[0], 0o700))
	answer := v.Get(a.now, "/")
	assert.Equal(t, http.StatusInternalServerError, answer.StatusCode)
	assert.NotContains(t, answer.Body, a.dir)
	require.NoError(t, os.Remove(files[0]))
	require.NoError(t, os.Rename(files[0]+"~", files[0]))
	assert.Contains(t, a.home(t, v), in)
}
