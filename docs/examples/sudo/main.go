// Command sudo asks a visitor who is logged in for the password again before something
// that matters, unless it was given less than five minutes ago.
//
//	curl -i -c jar -d "name=alice&password=correct horse" localhost:2830/login
//	curl -b jar localhost:2830/keys
//	curl -i -b jar -c jar -d "password=correct horse" localhost:2830/confirm
package main

import (
	"html/template"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
	"github.com/flamego/session/docs/examples/internal/app"
	"github.com/flamego/session/docs/examples/internal/users"
)

var loginPage = template.Must(template.New("login").Parse(`<!DOCTYPE html><html lang="en"><title>Log in</title>
<form method="post" action="/login">
<p><label>Name <input name="name" value="alice"></label>
<p><label>Password <input name="password" type="password"></label> (correct horse)
<p><button>Log in</button>
</form>
`))

var confirmPage = template.Must(template.New("confirm").Parse(`<!DOCTYPE html><html lang="en"><title>Confirm</title>
<form method="post" action="/confirm">
<p><label>Your password, once more <input name="password" type="password"></label>
<p><button>Go on</button>
</form>
`))

func options() session.Options {
	return session.Options{
		Config:      session.MemoryConfig{Lifetime: 24 * time.Hour},
		MaxLifetime: 7 * 24 * time.Hour, // IssuedAt needs it, or OwnerKey
	}
}

// newApp returns the app. It is apart from main for its test.
func newApp(sessions *session.Manager, people *users.Table) *flamego.Flame {
	f := flamego.Classic()
	f.Use(sessions.Handler())

	f.Get("/login", func(w http.ResponseWriter) { app.Show(w, loginPage, nil) })
	f.Post("/login", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		user, ok := people.Check(r.PostFormValue("name"), r.PostFormValue("password"))
		if !ok {
			http.Error(w, "Wrong name or password", http.StatusUnauthorized)
			return
		}
		if err := s.RegenerateID(w, r); err != nil {
			app.Fail(w, err)
			return
		}
		s.Flush() // nothing stays of another user
		s.Set("user_id", user.ID)
		c.Redirect("/", http.StatusSeeOther)
	})

	loggedIn := func(c flamego.Context, s session.Session) {
		id, _ := session.Value[int](s, "user_id")
		user, ok := people.Load(id)
		if !ok {
			c.Redirect("/login", http.StatusSeeOther)
			return
		}
		c.Map(user)
	}
	// confirmed lets those pass who have given their password lately.
	confirmed := func(c flamego.Context, r *http.Request, s session.Session) {
		if time.Since(session.IssuedAt(s)) < 5*time.Minute {
			return
		}
		if r.Method == http.MethodGet {
			s.Set("return_to", "/"+strings.TrimLeft(r.URL.RequestURI(), "/")) // "//keys" would be a host
		}
		c.Redirect("/confirm", http.StatusSeeOther)
	}

	f.Get("/", loggedIn, func(user users.User) string { return "Logged in as " + user.Name })
	f.Get("/keys", loggedIn, confirmed, func() string { return "The keys of your account" })
	f.Get("/confirm", loggedIn, func(w http.ResponseWriter) { app.Show(w, confirmPage, nil) })
	f.Post("/confirm", loggedIn, func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, user users.User) {
		if _, ok := people.Check(user.Name, r.PostFormValue("password")); !ok {
			http.Error(w, "Wrong password", http.StatusUnauthorized)
			return
		}
		if err := s.RegenerateID(w, r); err != nil { // from now on IssuedAt is now
			app.Fail(w, err)
			return
		}
		to, ok := session.Pop[string](s, "return_to")
		if !ok {
			to = "/"
		}
		c.Redirect(to, http.StatusSeeOther)
	})
	return f
}

func main() {
	sessions, err := session.New(options())
	if err != nil {
		log.Fatal(err)
	}
	app.Serve(newApp(sessions, users.New()), sessions)
}
