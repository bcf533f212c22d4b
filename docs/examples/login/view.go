package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"path"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

//go:embed web
var web embed.FS

// pages are the templates by their names, each with the layout.
var pages = parsePages()

func parsePages() map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(template.FuncMap{
		"date":        func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 MST") },
		"rfc3339":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"span":        span,
		"remember":    func() string { return span(rememberLifetime) },
		"confirm":     func() string { return span(confirmLifetime) },
		"minPassword": func() int { return minPassword },
	}).ParseFS(web, "web/layout.html"))
	names, err := web.ReadDir("web/pages")
	if err != nil {
		panic(err) // cannot happen: the path is a constant
	}
	pages := make(map[string]*template.Template)
	for _, name := range names {
		page := template.Must(layout.Clone())
		pages[name.Name()] = template.Must(page.ParseFS(web, path.Join("web/pages", name.Name())))
	}
	return pages
}

// span returns a duration in words, such as "30 days".
func span(d time.Duration) string {
	units := []struct {
		name string
		d    time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}}
	for _, unit := range units {
		if d > 3*unit.d/2 {
			return fmt.Sprintf("%d %ss", d.Round(unit.d)/unit.d, unit.name)
		}
	}
	return "a minute"
}

// view is what a page shows. Each request has one.
type view struct {
	User  *user  // who is signed in, or nil
	Path  string // of the request
	Flash string // what the request before has left for this one
	Error string // what is wrong with the form
	Wrong string // the field that Error is about
	Name  string // as it was typed into the form
	Data  any    // of the page

	w http.ResponseWriter
}

// newView takes the flash in one place, so that no page forgets to show it: a flash is given to
// the next page whatever that is, also that of an error, and once.
func newView(c flamego.Context, w http.ResponseWriter, r *http.Request, flash session.Flash) {
	v := &view{Path: r.URL.Path, w: w}
	v.Flash, _ = flash.(string)
	c.Map(v)
}

// redirect leads to another page, which shows the flash that was for this one.
func (v *view) redirect(c flamego.Context, s session.Session, to string) {
	if v.Flash != "" {
		s.SetFlash(v.Flash)
	}
	c.Redirect(to, http.StatusSeeOther)
}

// show answers with a page.
func (v *view) show(page string) { v.write(page, http.StatusOK) }

// showAgain answers with the page whose form was sent. It says what is wrong with the form.
func (v *view) showAgain(page string, err error) {
	var bad inputError
	if !errors.As(err, &bad) {
		v.fail(err)
		return
	}
	v.Error, v.Wrong = bad.text, bad.field
	v.write(page, bad.status)
}

// fail answers a request that cannot go on because of an error, which is for the log and not
// for the visitor.
func (v *view) fail(err error) {
	log.Print(err)
	v.showError(http.StatusInternalServerError)
}

// errorTexts are what the page of an error says.
var errorTexts = map[int]string{
	http.StatusBadRequest:            "This request cannot be read, so nothing was done.",
	http.StatusForbidden:             "This form came from another site, so nothing was done.",
	http.StatusNotFound:              "There is no such page.",
	http.StatusRequestEntityTooLarge: "That is too much at once, so nothing was done.",
	http.StatusInternalServerError:   "Something is wrong on our side. Please try again in a minute.",
}

func (v *view) showError(status int) {
	v.Error = errorTexts[status]
	v.write("error.html", status)
}

func (v *view) write(page string, status int) {
	var text bytes.Buffer
	if err := pages[page].Execute(&text, v); err != nil {
		log.Print(err)
		http.Error(v.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// No cache keeps the page, also not that of the browser: after a sign-out "back" shows
	// nothing of it.
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.WriteHeader(status)
	// Not text.WriteTo: it takes for an error that the answer to HEAD has no body.
	if _, err := v.w.Write(text.Bytes()); err != nil {
		log.Print(err)
	}
}
