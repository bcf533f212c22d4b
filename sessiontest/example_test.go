package sessiontest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/sessiontest"
)

// In a test, t is its *testing.T. The app is made as in production, by a function that returns the
// Manager as well.
func Example() {
	sessions, err := session.New()
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()

	app := flamego.New()
	app.Use(sessions.Handler())
	app.Get("/profile", func(s session.Session) (int, string) {
		id, ok := session.Value[int](s, "user_id")
		if !ok {
			return http.StatusUnauthorized, "Please log in"
		}
		session.Update(s, "visits", func(n int) int { return n + 1 })
		return http.StatusOK, fmt.Sprintf("You are user %d", id)
	})

	v := sessiontest.New(t, sessions, session.Data{"user_id": 123})
	w := v.Do(app, httptest.NewRequest(http.MethodGet, "/profile", nil))
	fmt.Println(w.Code, w.Body)
	fmt.Println("visits:", v.Get("visits"))

	nobody := sessiontest.New(t, sessions, nil)
	w = nobody.Do(app, httptest.NewRequest(http.MethodGet, "/profile", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 200 You are user 123
	// visits: 1
	// 401 Please log in
}

// New makes a visitor who is logged in, or one who has not been here.
func ExampleNew() {
	alice := sessiontest.New(t, sessions, session.Data{"user_id": 123, "name": "Alice"})
	nobody := sessiontest.New(t, sessions, nil)

	fmt.Println(alice.Get("name"), len(alice.Cookies()))
	fmt.Println(nobody.Get("name"), len(nobody.Cookies()))
	// Output:
	// Alice 1
	// <nil> 0
}

// A login, from the form to the page behind it.
func ExampleVisitor_Do() {
	v := sessiontest.New(t, sessions, nil)

	form := strings.NewReader("name=alice&password=secret")
	login := httptest.NewRequest(http.MethodPost, "/login", form)
	login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := v.Do(app, login)
	fmt.Println(w.Code, w.Header().Get("Location"))

	w = v.Do(app, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 303 /
	// 200 Hello, alice
}

// A step of a wizard is tested without the steps before it.
func ExampleVisitor_Change() {
	v := sessiontest.New(t, sessions, session.Data{"user_id": 123})
	v.Change(func(s session.Session) {
		s.Set("name", "bob")
		s.SetFlash("Welcome back")
	})

	fmt.Println(v.Do(app, httptest.NewRequest(http.MethodGet, "/", nil)).Body)
	// Output:
	// Welcome back. Hello, bob
}

// What a handler has left for the page that it redirects to.
func ExampleVisitor_Flash() {
	v := sessiontest.New(t, sessions, session.Data{"name": "alice"})
	v.Do(app, httptest.NewRequest(http.MethodPost, "/save", nil))

	fmt.Println(v.Flash())
	fmt.Println(v.Flash())
	// Output:
	// Your changes are saved
	// <nil>
}

// What a handler has stored.
func ExampleVisitor_Get() {
	v := sessiontest.New(t, sessions, session.Data{"name": "alice"})
	v.Do(app, httptest.NewRequest(http.MethodPost, "/logout", nil))

	fmt.Println(v.Get("name"))
	// Output:
	// <nil>
}

// An app that reads the session ID from the query. The test puts it there.
func ExampleVisitor_ID() {
	sessions, err := session.New(session.Options{
		ReadIDFunc:  func(r *http.Request) string { return r.URL.Query().Get("token") },
		WriteIDFunc: func(http.ResponseWriter, *http.Request, string, bool) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()

	app := flamego.New()
	app.Use(sessions.Handler())
	app.Get("/feed", func(s session.Session) string {
		return fmt.Sprintf("The feed of %v", s.Get("name"))
	})

	v := sessiontest.New(t, sessions, session.Data{"name": "alice"})
	w := v.Do(app, httptest.NewRequest(http.MethodGet, "/feed?token="+v.ID(), nil))
	fmt.Println(w.Body)
	// Output:
	// The feed of alice
}

// The cookie as the app sets it.
func ExampleVisitor_Cookies() {
	v := sessiontest.New(t, sessions, session.Data{"name": "alice"})

	for _, c := range v.Cookies() {
		fmt.Println(c.Name, c.Path, c.HttpOnly)
	}
	// Output:
	// flamego_session / true
}
