// Package app is what the examples share, so that each of them shows nothing
// but how its sessions are kept:
//
//	/       links to the addresses below
//	/set    sets the value 123 under "user_id", and answers "Succeed"
//	/get    answers "Authenticated as 123" or "Not authenticated"
//	/clear  deletes the value, and answers "Cleared"
package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// Env returns the environment variable, or the default where it is not set.
func Env(name, value string) string {
	return cmp.Or(os.Getenv(name), value)
}

// Run serves the three addresses at http://localhost:2830, or where FLAMEGO_ADDR
// (host:port) says. It takes what session.New returns. Interrupted (Ctrl-C) or
// terminated, it waits for the requests that are running and closes the
// sessions.
func Run(sessions *session.Manager, err error) {
	if err != nil {
		log.Fatalf("%v\n(\"make servers\" starts the servers that the examples use.)", err)
	}
	f := flamego.Classic()
	f.Use(sessions.Handler())
	Routes(f)
	Serve(f, sessions)
}

// Serve is Run for an app with addresses of its own.
func Serve(f *flamego.Flame, sessions *session.Manager) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		<-ctx.Done()
		f.Stop()
	}()
	f.Run()
	if err := sessions.Close(); err != nil {
		log.Fatal(err)
	}
}

// Fail answers a request that cannot go on because of an error, which is for the log and
// not for the client.
func Fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

// Show answers with a page, which is for this visitor only.
func Show(w http.ResponseWriter, page *template.Template, data any) {
	var text bytes.Buffer
	if err := page.Execute(&text, data); err != nil {
		Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := text.WriteTo(w); err != nil {
		log.Print(err)
	}
}

// Routes adds the three addresses, and "/" with links to them and to others.
func Routes(f *flamego.Flame, others ...string) {
	f.Get("/set", func(s session.Session) string {
		s.Set("user_id", 123)
		return "Succeed"
	})
	f.Get("/get", func(s session.Session) string {
		id, ok := session.Value[int](s, "user_id")
		if !ok {
			return "Not authenticated"
		}
		return fmt.Sprintf("Authenticated as %d", id)
	})
	f.Get("/clear", func(s session.Session) string {
		s.Delete("user_id")
		return "Cleared"
	})

	var page strings.Builder
	for _, path := range append([]string{"/set", "/get", "/clear"}, others...) {
		fmt.Fprintf(&page, "<p><a href=%q>%s</a></p>\n", path, path)
	}
	f.Get("/", func(w http.ResponseWriter) string {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return page.String()
	})
}
