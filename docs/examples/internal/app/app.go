// Package app is what the examples with several pages share: how an app is served and
// ended, and how it answers.
package app

import (
	"bytes"
	"context"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// Serve serves an app at http://localhost:2830, or where FLAMEGO_ADDR (host:port) says.
// Interrupted (Ctrl-C) or terminated, it waits for the requests that are running and closes
// the sessions.
func Serve(f *flamego.Flame, sessions *session.Manager) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		<-ctx.Done()
		cancel() // a second Ctrl-C ends the process at once
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
