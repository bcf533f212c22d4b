// Command devices shows a user the sessions that are logged in, and lets the user end them:
// one, or all others. A new password ends all others, too.
//
//	curl -i -c jar -A phone -d "name=alice&password=correct horse" localhost:2830/login
//	curl -b jar localhost:2830/
package main

import (
	"context"
	"html/template"
	"log"
	"net/http"
	"slices"
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

var devicesPage = template.Must(template.New("devices").Parse(`<!DOCTYPE html><html lang="en"><title>Devices</title>
<p>Logged in as {{.User.Name}}
<ul>
{{- range .Devices}}
<li>{{.Data.device}}, {{if not .Issued.IsZero}}since {{.Issued.Format "2 Jan 15:04"}}, {{end}}last used {{.Seen.Format "2 Jan 15:04"}}
{{- if eq .Handle $.This}} (this device){{end}}
<form method="post" action="/end"><button name="handle" value="{{.Handle}}">Log out</button></form>
{{- end}}
</ul>
<form method="post" action="/end-others"><button>Log out all other devices</button></form>
<form method="post" action="/password">
<p><label>Old password <input name="password" type="password"></label>
<p><label>New password <input name="new" type="password"></label>
<p><button>Change the password</button>
</form>
`))

func options() session.Options {
	return session.Options{
		Config:   session.MemoryConfig{Lifetime: 24 * time.Hour},
		OwnerKey: "user_id",
		MaxOwned: 5,
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
		s.Set("credentials", user.Credentials) // of the row whose password was checked
		s.Set("device", r.UserAgent())
		c.Redirect("/", http.StatusSeeOther)
	})

	// loggedIn lets only those pass who know the password that the user has now.
	loggedIn := func(c flamego.Context, s session.Session) {
		id, _ := session.Value[int](s, "user_id")
		credentials, _ := session.Value[int](s, "credentials")
		user, ok := people.Load(id)
		if !ok || user.Credentials != credentials {
			c.Redirect("/login", http.StatusSeeOther)
			return
		}
		c.Map(user)
	}

	f.Get("/", loggedIn, func(w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, user users.User) {
		devices, err := session.Owned(r.Context(), store, user.ID)
		if err != nil {
			app.Fail(w, err)
			return
		}
		// A login that was too late for a new password is a session, and no device that is logged in.
		devices = slices.DeleteFunc(devices, func(d session.Info) bool { return d.Data["credentials"] != user.Credentials })
		app.Show(w, devicesPage, map[string]any{"User": user, "Devices": devices, "This": session.Handle(s)})
	})
	f.Post("/end", loggedIn, func(c flamego.Context, w http.ResponseWriter, r *http.Request, store session.Store, user users.User) {
		ctx := context.WithoutCancel(r.Context()) // also if the client hangs up
		if _, err := session.End(ctx, store, user.ID, r.PostFormValue("handle")); err != nil {
			app.Fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/end-others", loggedIn, func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, user users.User) {
		ctx := context.WithoutCancel(r.Context())
		if _, err := session.EndOwned(ctx, store, user.ID, s); err != nil {
			app.Fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/password", loggedIn, func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, user users.User) {
		if _, ok := people.Check(user.Name, r.PostFormValue("password")); !ok {
			http.Error(w, "Wrong password", http.StatusUnauthorized)
			return
		}
		user = people.SetPassword(user.ID, r.PostFormValue("new"))
		if err := s.RegenerateID(w, r); err != nil {
			app.Fail(w, err)
			return
		}
		s.Set("credentials", user.Credentials)
		// The new version has locked the others out. This removes them from the list.
		if _, err := session.EndOwned(context.WithoutCancel(r.Context()), store, user.ID, s); err != nil {
			app.Fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
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
