// Command remember-me keeps a visitor who asks for it logged in for 30 days, and any other
// one for an hour. Both are counted from the last request, and after 90 days everybody has to
// log in again.
//
//	curl -i -c jar -d "name=alice&password=correct horse&remember=on" localhost:2830/login
//	curl -b jar localhost:2830/
package main

import (
	"html/template"
	"log"
	"net/http"
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
<p><label><input name="remember" type="checkbox"> Remember me</label>
<p><button>Log in</button>
</form>
`))

var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html><html lang="en"><title>Home</title>
<p>Logged in as {{.Name}}
<form method="post" action="/logout"><button>Log out</button></form>
`))

func options() session.Options {
	return session.Options{
		Config:      session.MemoryConfig{Lifetime: time.Hour},
		MaxLifetime: 90 * 24 * time.Hour,
	}
}

// newApp returns the app. It is apart from main for its test.
func newApp(sessions *session.Manager, people *users.Table) *flamego.Flame {
	f := flamego.Classic()
	f.Use(sessions.Handler())

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
		lifetime := time.Duration(0) // that of the Config, until the browser is closed
		if r.PostFormValue("remember") != "" {
			lifetime = 30 * 24 * time.Hour
		}
		if err := session.SetLifetime(s, lifetime); err != nil {
			app.Fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/logout", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := session.Destroy(w, r, s); err != nil {
			app.Fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Get("/", func(w http.ResponseWriter, s session.Session) {
		id, _ := session.Value[int](s, "user_id")
		user, ok := people.Load(id)
		if !ok {
			app.Show(w, loginPage, nil)
			return
		}
		app.Show(w, homePage, user)
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
