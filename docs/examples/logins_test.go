package examples

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session/docs/examples/internal/users"
	"github.com/flamego/session/internal/testing/webapp"
)

// The examples with addresses of their own. What takes time, or an order that a network
// cannot give, is tested beside the programs.
var walks = []struct {
	name string
	walk func(t *testing.T, open func() visitor)
}{
	{"remember-me", walkRememberMe},
	{"devices", walkDevices},
	{"sudo", walkSudo},
	{"cart", walkCart},
	{"login", walkLogin},
}

func TestWalks(t *testing.T) {
	var names []string
	for _, w := range walks {
		names = append(names, w.name)
	}
	dir := build(t, names)
	for _, w := range walks {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			address := start(t, filepath.Join(dir, w.name), t.TempDir(), nil, true)
			w.walk(t, func() visitor { return newVisitor(t, address) })
		})
	}
}

func walkRememberMe(t *testing.T, open func() visitor) {
	plain, remembered := open(), open()
	assert.Contains(t, plain.get("/"), `action="/login"`)
	assert.Equal(t, http.StatusUnauthorized, plain.post("/login", "name=alice&password=wrong").Code)
	assert.Equal(t, http.StatusUnauthorized, plain.post("/login", "name=nobody&password="+users.Password).Code)
	assert.Contains(t, plain.get("/"), `action="/login"`)

	assert.Equal(t, 0, cookieOf(t, plain.login("")).MaxAge)
	assert.Contains(t, plain.get("/"), "Logged in as alice")
	before := remembered.Cookie
	assert.Equal(t, 30*24*60*60, cookieOf(t, remembered.login("&remember=on")).MaxAge)
	assert.NotEqual(t, before, remembered.Cookie, "a login renews the ID")
	assert.Contains(t, remembered.get("/"), "Logged in as alice")

	// A login without the mark takes back what the one before has asked for.
	assert.Equal(t, 0, cookieOf(t, remembered.login("")).MaxAge)

	assert.Negative(t, cookieOf(t, remembered.post("/logout", "")).MaxAge, "the cookie expires")
	assert.Contains(t, remembered.get("/"), `action="/login"`)
	assert.Contains(t, plain.get("/"), "Logged in as alice", "the other device")
}

func walkDevices(t *testing.T, open func() visitor) {
	phone, laptop, tablet := open(), open(), open()
	assert.Equal(t, "/login", phone.Get("/").Header().Get("Location"))
	for name, v := range map[string]visitor{"phone": phone, "laptop": laptop, "<tablet>": tablet} {
		v.loginAs(name)
	}
	page := laptop.get("/")
	assert.Equal(t, 1, strings.Count(page, "phone"), page)
	assert.Regexp(t, `laptop, since .*, last used .*\(this device\)`, page)
	assert.Contains(t, page, "&lt;tablet&gt;")
	assert.Len(t, handles(page), 3)

	// One device ends another one.
	laptop.post("/end", "handle="+handles(page)["phone"])
	assert.Equal(t, "/login", phone.Get("/").Header().Get("Location"))
	assert.Len(t, handles(laptop.get("/")), 2)
	laptop.post("/end", "handle=nonsense")
	assert.Len(t, handles(laptop.get("/")), 2)

	// One device ends all others.
	phone.loginAs("phone")
	assert.Len(t, handles(laptop.get("/")), 3)
	laptop.post("/end-others", "")
	assert.Equal(t, "/login", phone.Get("/").Header().Get("Location"))
	assert.Equal(t, "/login", tablet.Get("/").Header().Get("Location"))
	assert.Len(t, handles(laptop.get("/")), 1)

	// A new password ends all others.
	phone.loginAs("phone")
	assert.Equal(t, http.StatusUnauthorized, laptop.post("/password", "password=wrong&new=battery").Code)
	assert.Len(t, handles(phone.get("/")), 2)
	before := laptop.Cookie
	laptop.post("/password", form("password", users.Password, "new", "battery staple"))
	assert.NotEqual(t, before, laptop.Cookie)
	assert.Equal(t, "/login", phone.Get("/").Header().Get("Location"))
	assert.Len(t, handles(laptop.get("/")), 1)
	assert.Equal(t, http.StatusUnauthorized, phone.post("/login", form("name", "alice", "password", users.Password)).Code)

	// Of six devices the oldest ends.
	for range 5 {
		v := open()
		require.Equal(t, http.StatusSeeOther, v.post("/login", form("name", "alice", "password", "battery staple")).Code)
		assert.NotEmpty(t, v.get("/"))
	}
	assert.Equal(t, "/login", laptop.Get("/").Header().Get("Location"))

	// A device ends itself.
	phone.post("/login", form("name", "alice", "password", "battery staple"))
	this := regexp.MustCompile(`(?s)\(this device\).*?value="([a-z2-7]{16})"`).FindStringSubmatch(phone.get("/"))
	require.NotNil(t, this)
	assert.Negative(t, cookieOf(t, phone.post("/end", "handle="+this[1])).MaxAge)
	assert.Equal(t, "/login", phone.Get("/").Header().Get("Location"))
}

func walkSudo(t *testing.T, open func() visitor) {
	v := open()
	assert.Equal(t, "/login", v.Get("/keys").Header().Get("Location"))
	assert.Equal(t, "/login", v.Get("/confirm").Header().Get("Location"))
	v.login("")
	assert.Equal(t, "The keys of your account", v.get("/keys"), "right after the login")
	thief := open()
	thief.Cookie = v.Cookie
	assert.Equal(t, http.StatusUnauthorized, v.post("/confirm", "password=wrong").Code)
	assert.Equal(t, "Logged in as alice", thief.get("/"))
	assert.Equal(t, "/", v.post("/confirm", form("password", users.Password)).Header().Get("Location"))
	assert.Equal(t, "The keys of your account", v.get("/keys"))
	assert.Equal(t, "/login", thief.Get("/keys").Header().Get("Location"), "the old ID is dead")
}

func walkCart(t *testing.T, open func() visitor) {
	v, other := open(), open()
	assert.Contains(t, v.get("/"), "Clicks: 0")
	v.post("/click", "")
	const hands, clicks = 16, 10
	var all sync.WaitGroup
	for range hands {
		hand := open()
		hand.Cookie = v.Cookie
		all.Go(func() {
			for range clicks {
				assert.Equal(t, http.StatusSeeOther, hand.post("/click", "").Code)
				assert.Equal(t, http.StatusSeeOther, hand.post("/cart", "item=pen").Code)
			}
		})
	}
	all.Wait()
	v.post("/cart", "item=book")
	page := v.get("/")
	assert.Contains(t, page, "Clicks: 161")
	assert.Contains(t, page, "160 x pen")
	assert.Contains(t, page, "1 x book")
	assert.Contains(t, other.get("/"), "Clicks: 0")
}

// The tests beside the program have the rest.
func walkLogin(t *testing.T, open func() visitor) {
	v, other := open(), open()
	assert.Equal(t, "/signin", v.Get("/").Header().Get("Location"))
	assert.Equal(t, http.StatusSeeOther, v.post("/signup", form("name", "alice", "password", users.Password)).Code)
	assert.Contains(t, v.get("/"), "Hello, alice")
	assert.Contains(t, v.get("/session"), "SQLite")
	assert.Equal(t, http.StatusUnauthorized, other.post("/signin", form("name", "alice", "password", "wrong")).Code)
	assert.Equal(t, http.StatusSeeOther, other.post("/signin", form("name", "alice", "password", users.Password)).Code)
	assert.Contains(t, other.get("/"), "Hello, alice")
	assert.Equal(t, http.StatusSeeOther, v.post("/signout", "").Code)
	assert.Equal(t, "/signin", v.Get("/").Header().Get("Location"))
}

// post sends a form.
func (v visitor) post(path, form string) *httptest.ResponseRecorder {
	v.Helper()
	return v.Do(webapp.Form(path, form))
}

// login logs alice in, with the password that she has at first.
func (v visitor) login(more string) *httptest.ResponseRecorder {
	v.Helper()
	w := v.post("/login", form("name", "alice", "password", users.Password)+more)
	require.Equal(v, http.StatusSeeOther, w.Code, w.Body)
	return w
}

// loginAs is login from a device.
func (v visitor) loginAs(device string) {
	v.Helper()
	r := webapp.Form("/login", form("name", "alice", "password", users.Password))
	r.Header.Set("User-Agent", device)
	require.Equal(v, http.StatusSeeOther, v.Do(r).Code)
}

func form(pairs ...string) string {
	vals := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		vals.Set(pairs[i], pairs[i+1])
	}
	return vals.Encode()
}

// cookieOf returns the only cookie of a response.
func cookieOf(t *testing.T, w *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	return cookies[0]
}

// handles returns the handles in the list of devices.
func handles(page string) map[string]string {
	found := make(map[string]string)
	for _, match := range regexp.MustCompile(`<li>(\S+), since[^\n]*\n.*value="([a-z2-7]{16})"`).FindAllStringSubmatch(page, -1) {
		found[match[1]] = match[2]
	}
	return found
}
