package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// browser keeps the cookies of the app it visits.
type browser struct {
	app     http.Handler
	cookies *cookiejar.Jar
}

func newBrowser(app http.Handler) *browser {
	jar, _ := cookiejar.New(nil) // never returns an error
	return &browser{app: app, cookies: jar}
}

// get returns the response to a request for the path.
func (b *browser) get(path string) *httptest.ResponseRecorder {
	u := &url.URL{Scheme: "https", Host: "example.com", Path: path}
	r := httptest.NewRequest(http.MethodGet, u.String(), nil)
	for _, c := range b.cookies.Cookies(u) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.app.ServeHTTP(w, r)
	b.cookies.SetCookies(u, w.Result().Cookies())
	return w
}

// Two visitors are counted, each on their own.
func ExampleSessioner() {
	f := flamego.New()
	f.Use(session.Sessioner())
	f.Get("/", func(s session.Session) string {
		n, _ := session.Value[int](s, "visits")
		s.Set("visits", n+1)
		return fmt.Sprintf("visit number %d", n+1)
	})

	alice, bob := newBrowser(f), newBrowser(f)
	fmt.Println("Alice:", alice.get("/").Body)
	fmt.Println("Alice:", alice.get("/").Body)
	fmt.Println("Bob:", bob.get("/").Body)
	// Output:
	// Alice: visit number 1
	// Alice: visit number 2
	// Bob: visit number 1
}

// New returns an error where Sessioner panics.
func ExampleNew() {
	_, err := session.New(session.Options{
		Cookie: session.CookieOptions{Name: "__Host-session"},
	})
	fmt.Println(err)
	// Output:
	// cookie: the prefix "__Host-" needs Secure, Path "/" and no Domain
}

// A Manager is closed when the server has ended.
func ExampleManager() {
	sessions, err := session.New(session.Options{
		Config: session.MemoryConfig{Lifetime: 24 * time.Hour},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	f := flamego.New()
	f.Use(sessions.Handler())
	f.Get("/", func(s session.Session) string { return "hello" })

	// Here stands f.Run(), which returns when f.Stop() is called elsewhere.
	fmt.Println(newBrowser(f).get("/").Body)
	fmt.Println("error of Close:", sessions.Close())
	// Output:
	// hello
	// error of Close: <nil>
}

func ExampleValue() {
	s := session.NewBaseSession("abc", nil, nil)
	s.Set("user_id", 123)

	id, ok := session.Value[int](s, "user_id")
	fmt.Println(id, ok)
	name, ok := session.Value[string](s, "user_id") // of another type
	fmt.Printf("%q %v\n", name, ok)
	name, ok = session.Value[string](s, "name") // not there
	fmt.Printf("%q %v\n", name, ok)
	// Output:
	// 123 true
	// "" false
	// "" false
}

func ExamplePop() {
	s := session.NewBaseSession("abc", nil, nil)
	s.Set("return_to", "/cart")

	fmt.Println(session.Pop[string](s, "return_to"))
	fmt.Println(session.Pop[string](s, "return_to"))
	// Output:
	// /cart true
	//  false
}

// Two requests of one session overlap, and both count.
func ExampleUpdate() {
	sessions, err := session.New()
	if err != nil {
		panic(err)
	}
	defer sessions.Close()
	ctx, store := context.Background(), sessions.Store()

	read := func() session.Session {
		s, err := store.Read(ctx, "0123456789abcdef")
		if err != nil {
			panic(err)
		}
		return s
	}
	save := func(s session.Session) {
		if err := store.Save(ctx, s); err != nil {
			panic(err)
		}
	}

	// Set with what Get returned: the later one undoes the other.
	add := func(s session.Session) {
		n, _ := session.Value[int](s, "clicks")
		s.Set("clicks", n+1)
	}
	save(read())
	one, two := read(), read()
	add(one)
	add(two)
	save(one)
	save(two)
	fmt.Println(read().Get("clicks"))

	count := func(s session.Session) {
		session.Update(s, "counted", func(n int) int { return n + 1 })
	}
	one, two = read(), read()
	count(one)
	count(two)
	save(one)
	save(two)
	fmt.Println(read().Get("counted"))
	// Output:
	// 1
	// 2
}

// A flash is what one request leaves for the next one of the same visitor.
func ExampleFlash() {
	f := flamego.New()
	f.Use(session.Sessioner())
	f.Get("/save", func(c flamego.Context, s session.Session) {
		s.SetFlash("Your changes are saved")
		c.Redirect("/")
	})
	f.Get("/", func(flash session.Flash) string {
		message, ok := flash.(string)
		if !ok {
			return "No message"
		}
		return message
	})

	b := newBrowser(f)
	fmt.Println(b.get("/save").Header().Get("Location"))
	fmt.Println(b.get("/").Body)
	fmt.Println(b.get("/").Body)
	// Output:
	// /
	// Your changes are saved
	// No message
}

// The ID changes whenever a visitor gains rights. The data moves along, and the
// old ID, which somebody may have planted or seen, is dead.
func ExampleSession_regenerateID() {
	f := flamego.New()
	f.Use(session.Sessioner())
	f.Get("/add", func(s session.Session) { s.Set("cart", "a book") })
	f.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user_id", 123)
		return s.RegenerateID(w, r)
	})
	f.Get("/", func(s session.Session) string {
		return fmt.Sprintf("cart: %v, user: %v", s.Get("cart"), s.Get("user_id"))
	})

	alice, thief := newBrowser(f), newBrowser(f)
	alice.get("/add")
	site := &url.URL{Scheme: "https", Host: "example.com", Path: "/"}
	thief.cookies.SetCookies(site, alice.cookies.Cookies(site))
	fmt.Println("The thief knows the ID:", thief.get("/").Body)

	alice.get("/login")
	fmt.Println("Alice has a new one:", alice.get("/").Body)
	fmt.Println("The thief has the old one:", thief.get("/").Body)
	// Output:
	// The thief knows the ID: cart: a book, user: <nil>
	// Alice has a new one: cart: a book, user: 123
	// The thief has the old one: cart: <nil>, user: <nil>
}

func ExampleCookieOptions() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		Cookie: session.CookieOptions{
			Name:     "__Host-session",
			MaxAge:   30 * 24 * 60 * 60, // 30 days
			Secure:   true,
			SameSite: http.SameSiteStrictMode,
		},
	}))
	f.Get("/", func(s session.Session) string { return "hello" })

	c := newBrowser(f).get("/").Result().Cookies()[0]
	c.Value = "ID"
	fmt.Println(c)
	// Output:
	// __Host-session=ID; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict
}

// A visitor for whom nothing is stored has no cookie.
func ExampleCookieOptions_whenStored() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{Cookie: session.CookieOptions{WhenStored: true}}))
	f.Get("/", func(s session.Session) string { return "hello" })
	f.Get("/add", func(s session.Session) { s.Set("cart", "a book") })

	b := newBrowser(f)
	fmt.Println("cookies:", len(b.get("/").Result().Cookies()))
	fmt.Println("cookies:", len(b.get("/add").Result().Cookies()))
	// Output:
	// cookies: 0
	// cookies: 1
}

// The 500 in the form of the app.
func ExampleOptions_failFunc() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: os.DevNull}, // is no folder
		FailFunc: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error": "please try again"}`)
		},
	}))
	f.Get("/", func(s session.Session) string {
		s.Set("user_id", 123)
		return "hello"
	})

	w := newBrowser(f).get("/")
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	fmt.Println(w.Body)
	// Output:
	// 503 application/json
	// {"error": "please try again"}
}

// An API whose clients send the session ID in a header, and no cookie.
func ExampleOptions_header() {
	const header = "X-Session-ID"
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		ReadIDFunc: func(r *http.Request) string {
			return r.Header.Get(header)
		},
		WriteIDFunc: func(w http.ResponseWriter, _ *http.Request, sid string, created bool) {
			if created {
				w.Header().Set(header, sid)
			}
		},
	}))
	f.Get("/", func(s session.Session) string {
		n, _ := session.Value[int](s, "visits")
		s.Set("visits", n+1)
		return fmt.Sprintf("visit number %d", n+1)
	})

	sid := ""
	for range 2 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(header, sid)
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		fmt.Printf("%s, new ID: %t, cookies: %d\n", w.Body, w.Header().Get(header) != "", len(w.Result().Cookies()))
		if sid == "" {
			sid = w.Header().Get(header)
		}
	}
	// Output:
	// visit number 1, new ID: true, cookies: 0
	// visit number 2, new ID: false, cookies: 0
}
