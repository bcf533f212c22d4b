// Command csrf shows a form that other sites cannot send: each form has a token of
// flamego/csrf, which keeps it in the session.
package main

import (
	"cmp"
	"crypto/rand"
	"html/template"
	"log"
	"net/http"
	"os"

	"github.com/flamego/csrf"
	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

var profilePage = template.Must(template.New("profile").Parse(`<!DOCTYPE html><html lang="en"><title>Profile</title>
<p>{{if .Name}}Hello, {{.Name}}.{{else}}Who are you?{{end}}
<form method="post" action="/profile">
<input type="hidden" name="_csrf" value="{{.Token}}">
<p><label>Name <input name="name" value="{{.Name}}"></label>
<p><button>Save</button>
</form>
`))

// identify names the visitor for Csrfer. A token is good for all sessions that have the same
// value here: by "user_id" those of one user, but also all those where nobody is logged in.
//
// Who posts without a session has seen no form. It may be a visitor whom another site makes post:
// then the browser holds back the cookie, and a new session would replace the good one.
func identify(w http.ResponseWriter, r *http.Request, s session.Session) {
	switch {
	case s.Get("visitor") != nil:
	case r.Method == http.MethodGet:
		s.Set("visitor", rand.Text())
	default:
		http.Error(w, "Bad Request: no token", http.StatusBadRequest)
	}
}

func newApp(opts session.Options) *flamego.Flame {
	f := flamego.Classic()
	f.Use(session.Sessioner(opts))

	f.Get("/", func(w http.ResponseWriter) string {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return `<!DOCTYPE html><html lang="en"><title>Home</title><p><a href="/profile">Profile</a>`
	})

	// Csrfer stores a token for whoever asks for a page behind it. So it is only on the pages
	// that have a form: bots that look at the home page store nothing.
	protect := csrf.Csrfer(csrf.Options{
		// All processes need the same secret, also after a restart. Otherwise a token that one
		// has handed out is refused by the next.
		Secret:     cmp.Or(os.Getenv("CSRF_SECRET"), rand.Text()),
		SessionKey: "visitor",
	})
	f.Group("/profile", func() {
		f.Get("", func(w http.ResponseWriter, s session.Session, x csrf.CSRF) {
			name, _ := session.Value[string](s, "name")
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-store") // the page is for this visitor only
			if err := profilePage.Execute(w, map[string]string{"Name": name, "Token": x.Token()}); err != nil {
				log.Print(err)
			}
		})
		f.Post("", csrf.Validate, func(c flamego.Context, r *http.Request, s session.Session) {
			s.Set("name", r.PostFormValue("name"))
			c.Redirect("/profile", http.StatusSeeOther)
		})
	}, identify, protect)
	return f
}

func main() {
	newApp(session.Options{
		Cookie:    session.CookieOptions{WhenStored: true}, // no cookie on the home page, either
		ErrorFunc: func(err error) { log.Print(err) },
	}).Run()
}
