package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/internal/testing/webapp"
)

func TestSignUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp(" Alice ")
	page := b.page("/")
	assert.Contains(t, page, "Welcome, Alice. Your account is made.")
	assert.Contains(t, page, "Hello, Alice")
	assert.NotContains(t, b.page("/"), "Welcome", "the second time")

	for name, want := range map[string]struct {
		name, password string
		code           int
		text           string
	}{
		"taken":              {"Alice", password, http.StatusConflict, "This name is taken."},
		"taken in this case": {"aLICE", password, http.StatusConflict, "This name is taken."},
		"no name":            {"  ", password, http.StatusUnprocessableEntity, "A name has 1 to 40 characters"},
		"long name":          {strings.Repeat("a", 41), password, http.StatusUnprocessableEntity, "A name has 1 to 40 characters"},
		"two lines":          {"ali\nce", password, http.StatusUnprocessableEntity, "A name has 1 to 40 characters"},
		"invisible":          {"ali\u202ece", password, http.StatusUnprocessableEntity, "A name has 1 to 40 characters"},
		"no text":            {"ali\xffce", password, http.StatusUnprocessableEntity, "A name has 1 to 40 characters"},
		"two forms":          {"\u00d6laf", password, http.StatusUnprocessableEntity, "letters from A to Z"},
		"look-alike":         {"\u0430lice", password, http.StatusUnprocessableEntity, "letters from A to Z"}, // Cyrillic
		"no password":        {"bob", "", http.StatusUnprocessableEntity, "needs at least 8 characters"},
		"short password":     {"bob", "ööööööö", http.StatusUnprocessableEntity, "needs at least 8 characters"},
		"long password":      {"bob", strings.Repeat("a", 73), http.StatusUnprocessableEntity, "at most 72 bytes count"},
		"long in bytes":      {"bob", strings.Repeat("ö", 37), http.StatusUnprocessableEntity, "at most 72 bytes count"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.visitor()
			w := b.post("/signup", "name", want.name, "password", want.password)
			assert.Equal(t, want.code, w.Code)
			assert.Contains(t, w.Body.String(), `role="alert" id="error">`)
			assert.Contains(t, w.Body.String(), want.text)
			assert.Contains(t, w.Body.String(), "<title>Error: Sign up")
			wrong := regexp.MustCompile(`id="([a-z]+)"[^>]* aria-invalid="true" aria-describedby="error" autofocus>`).FindAllStringSubmatch(w.Body.String(), -1)
			require.Len(t, wrong, 1)
			assert.Equal(t, want.password == password, wrong[0][1] == "name")
			assert.False(t, b.isIn())
		})
	}
	w := s.visitor().post("/signup", "name", "Bob.O_Neil-2", "password", strings.Repeat("ö", 36))
	assert.Equal(t, "/", w.Header().Get("Location"), "72 bytes")
}

// Of two who want a name at the same time one gets it.
func TestDoubleSignUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	codes := make([]int, 8)
	var all sync.WaitGroup
	for i := range codes {
		b := s.visitor()
		all.Go(func() { codes[i] = b.post("/signup", "name", "alice", "password", password).Code })
	}
	all.Wait()
	count := make(map[int]int)
	for _, code := range codes {
		count[code]++
	}
	assert.Equal(t, map[int]int{http.StatusSeeOther: 1, http.StatusConflict: 7}, count)
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signedUp("alice")
	b := s.visitor()
	for _, form := range [][2]string{{"alice", "wrong horse"}, {"nobody", password}, {"nobody", "nobody"}, {"", ""}, {"alice' OR 'a'='a", password}} {
		w := b.post("/signin", "name", form[0], "password", form[1])
		assert.Equal(t, http.StatusUnauthorized, w.Code, form)
		assert.Contains(t, w.Body.String(), "The name or the password is wrong.", form)
		assert.False(t, b.isIn(), form)
	}

	// The page that was asked for comes after the sign-in. The ID from before is dead.
	require.Equal(t, "/signin", b.Get("/devices").Header().Get("Location"))
	before := b.Cookie
	require.NotEmpty(t, before)
	assert.Equal(t, "/devices", b.post("/signin", "name", "Alice", "password", password).Header().Get("Location"))
	assert.NotEqual(t, before, b.Cookie)
	assert.True(t, b.isIn())
	thief := s.visitor()
	thief.Cookie = before
	assert.False(t, thief.isIn(), "the old ID")
	thief.Cookie = before
	assert.Equal(t, "/", thief.post("/signin", "name", "alice", "password", password).Header().Get("Location"), "the page that another session has asked for")
}

// A path that browsers would take for a host is not where a sign-in leads.
func TestReturnToThisSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signedUp("alice")
	b := s.visitor()
	require.Equal(t, "/signin", b.Get("//devices").Header().Get("Location"))
	assert.Equal(t, "/devices", b.post("/signin", "name", "alice", "password", password).Header().Get("Location"))
}

// What is too large, or no form, is refused before anything is stored.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.visitor()
	assert.Equal(t, http.StatusRequestEntityTooLarge, b.post("/signup", "name", "alice", "password", strings.Repeat("a", 1<<20)).Code)
	r := httptest.NewRequest(http.MethodPost, "/signup", strings.NewReader("name=%zz"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	assert.Equal(t, http.StatusBadRequest, b.Do(r).Code)

	// A form of several parts is a form.
	s.signedUp("alice")
	r = httptest.NewRequest(http.MethodPost, "/signin", strings.NewReader("--x\r\nContent-Disposition: form-data; name=name\r\n\r\nalice\r\n"+
		"--x\r\nContent-Disposition: form-data; name=password\r\n\r\n"+password+"\r\n--x--\r\n"))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	assert.Equal(t, http.StatusSeeOther, s.visitor().Do(r).Code)

	// A file in one: what is read of it ends at the limit.
	body := &upload{}
	r = httptest.NewRequest(http.MethodPost, "/signup", body)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	assert.Equal(t, http.StatusRequestEntityTooLarge, b.Do(r).Code)
	assert.Less(t, body.read.Load(), int64(uploadSize))
}

// upload is the body of a form with a large file.
type upload struct{ read atomic.Int64 }

const uploadSize = 64 << 20

func (u *upload) Read(p []byte) (n int, err error) {
	switch {
	case u.read.Load() == 0:
		n = copy(p, "--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n")
	case u.read.Load() < uploadSize:
		n = copy(p, strings.Repeat("a", len(p)))
	default:
		err = io.EOF
	}
	u.read.Add(int64(n))
	return n, err
}

// bcrypt reads 72 bytes. A password that goes on after them is another one all the same.
func TestLongPassword(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	long := strings.Repeat("a", 72)
	b := s.visitor()
	require.Equal(t, "/", b.post("/signup", "name", "alice", "password", long).Header().Get("Location"))
	assert.Equal(t, http.StatusUnauthorized, b.post("/signin", "name", "alice", "password", long+"b").Code)
	assert.Equal(t, http.StatusSeeOther, b.post("/signin", "name", "alice", "password", long).Code)
}

func TestRemember(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signedUp("alice")
	b := s.visitor()
	maxAge := func(form ...string) int {
		w := b.post(form[0], form[1:]...)
		require.Len(t, w.Result().Cookies(), 1)
		return w.Result().Cookies()[0].MaxAge
	}
	signIn := []string{"/signin", "name", "alice", "password", password}
	remembered := append(signIn, "remember", "on")
	assert.Equal(t, 30*24*60*60, maxAge(remembered...))
	assert.Contains(t, b.page("/session"), "<dt>Lifetime</dt><dd>30 days")
	assert.Contains(t, b.page("/session"), "in 30 days")
	assert.Equal(t, 0, maxAge(signIn...), "a sign-in without it takes it back")
	assert.Contains(t, b.page("/session"), "<dt>Lifetime</dt><dd>30 minutes")
	assert.Contains(t, b.page("/session"), "in 30 minutes")
	assert.Equal(t, 30*24*60*60, maxAge(remembered...))
	assert.Equal(t, 0, maxAge("/signout"), "so does a sign-out")
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, other := s.signedUp("alice"), s.signedIn("alice")
	tab := s.visitor()
	tab.Cookie = b.Cookie
	require.Equal(t, "/signin", b.post("/signout").Header().Get("Location"))
	assert.Contains(t, b.page("/signin"), `role="status">You are signed out.`)
	assert.NotContains(t, b.page("/signin"), "You are signed out.", "the second time")
	assert.False(t, b.isIn())
	assert.False(t, tab.isIn(), "another tab")
	assert.True(t, other.isIn(), "another device")
	assert.Equal(t, "/signin", s.visitor().post("/signout").Header().Get("Location"), "nobody is signed in")
}

// Nothing of one user is left for the next one in the same browser.
func TestNextUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signedUp("bob")
	b := s.signedUp("alice")
	b.page("/")
	assert.Contains(t, b.page("/"), "<strong>2</strong> visits")
	b.post("/signin", "name", "bob", "password", password)
	assert.Contains(t, b.page("/"), "<strong>1</strong> visit")
}

func TestVisits(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	const tabs, visits = 8, 5
	var all sync.WaitGroup
	for range tabs {
		tab := s.visitor()
		tab.Cookie = b.Cookie
		all.Go(func() {
			for range visits {
				assert.Equal(t, http.StatusOK, tab.Get("/").Code)
			}
		})
	}
	all.Wait()
	assert.Contains(t, b.page("/"), "<strong>41</strong> visits")
}

// What a visitor has typed or sent is text on every page.
func TestEscaping(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const script = `<script>alert("1")</script>`
	b := s.visitor()
	r := webapp.Form("/signup", "name=alice&password=correct+horse")
	r.Header.Set("User-Agent", script)
	require.Equal(t, "/", b.Do(r).Header().Get("Location"))
	for _, path := range []string{"/", "/devices", "/session", "/password", "/confirm"} {
		assert.NotContains(t, b.page(path), "<script", path)
	}
	assert.Contains(t, b.page("/devices"), "&lt;script&gt;")
	for _, path := range []string{"/signin", "/signup"} {
		w := b.post(path, "name", `"><script>`, "password", "wrong horse")
		assert.NotContains(t, w.Body.String(), "<script", path)
		assert.Contains(t, w.Body.String(), "&gt;&lt;script&gt;", path)
		assert.NotContains(t, w.Body.String(), "wrong horse", path)
	}
}

// Who is signed in needs no page to sign in by, but may sign in as somebody else.
func TestSignedInAlready(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.signedUp("bob")
	b := s.signedUp("alice")
	for _, path := range []string{"/signin", "/signup"} {
		assert.Equal(t, "/", b.Get(path).Header().Get("Location"), path)
	}
	w := b.post("/signin", "name", "bob", "password", "wrong horse")
	assert.Contains(t, w.Body.String(), ">Sign out</button>", "alice still is")
	assert.Equal(t, "/", b.post("/signin", "name", "bob", "password", password).Header().Get("Location"))
	assert.Contains(t, b.page("/"), "Hello, bob")
	assert.Equal(t, http.StatusOK, s.visitor().Get("/signup").Code)
}

// The sessions of a deleted user are not those of the next new one.
func TestDeletedUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.signedUp("alice")
	_, err := s.users.db.ExecContext(t.Context(), "DELETE FROM users WHERE name = 'alice'")
	require.NoError(t, err)
	assert.False(t, b.isIn())
	assert.Contains(t, s.signedUp("bob").page("/"), "Hello, bob")
	assert.False(t, b.isIn())
}

// A flash is shown once, whatever page comes next.
func TestFlash(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const welcome = "Your account is made."
	w := s.signedUp("alice").Get("/nothing")
	assert.Equal(t, http.StatusNotFound, w.Code)
	assert.Contains(t, w.Body.String(), welcome)

	// Redirects leave it for the page that they lead to.
	b := s.signedUp("bob")
	require.Equal(t, "/", b.Get("/signin").Header().Get("Location"))
	assert.Contains(t, b.page("/"), welcome)
	assert.NotContains(t, b.page("/"), welcome)
	b.post("/signout")
	require.Equal(t, "/signin", b.Get("/devices").Header().Get("Location"))
	assert.Contains(t, b.page("/signin"), "You are signed out.")
	assert.NotContains(t, b.page("/signin"), "You are signed out.")

	b = s.signedUp("carol")
	require.NoError(t, s.users.db.Close())
	w = b.Get("/")
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Contains(t, w.Body.String(), welcome)
}
