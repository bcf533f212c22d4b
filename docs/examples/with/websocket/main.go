// Command websocket opens a WebSocket for visitors who are logged in. The connection ends when
// the session does, wherever that was, and the session lives on while somebody writes.
package main

import (
	"context"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html><html lang="en"><title>Echo</title>
{{if .}}<p>You are {{.}}
<form method="post" action="/logout"><button>Log out</button></form>
<form id="form"><label>Message <input id="text" autocomplete="off"></label> <button>Send</button></form>
<ul id="answers"></ul>
<script>
const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/socket");
socket.onmessage = event => {
	const item = document.createElement("li");
	item.textContent = event.data;
	answers.append(item);
};
// 1008: the session has ended, or has a new ID. The page then shows which.
socket.onclose = event => { if (event.code === 1008) location.reload(); };
form.onsubmit = event => {
	event.preventDefault();
	socket.send(text.value);
	text.value = "";
};
</script>
{{else}}<form method="post" action="/login"><label>Name <input name="name" required></label> <button>Log in</button></form>
{{end}}`))

// app has what its connections share.
type app struct {
	store session.Store
	every time.Duration   // between two looks at a session
	stop  context.Context // is done when the process is to end
	open  sync.WaitGroup  // connections
}

// socket answers what a visitor who is logged in writes.
func (a *app) socket(w http.ResponseWriter, r *http.Request, s session.Session) {
	name, ok := session.Value[string](s, "name")
	if !ok {
		http.Error(w, "Log in first", http.StatusUnauthorized)
		return
	}
	a.open.Add(1)
	defer a.open.Done()
	// Accept refuses pages of other sites, and sends our cookie if there is one to send.
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		log.Print(err)
		return
	}
	defer func() { _ = conn.CloseNow() }()

	var active atomic.Bool
	closed := make(chan struct{})
	defer close(closed)
	go a.watch(conn, closed, s.ID(), name, &active)

	ctx := context.WithoutCancel(r.Context()) // that of the request is not for a connection that was taken over
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return // closed, by either side
		}
		active.Store(true)
		if err := write(ctx, conn, name+": "+string(text)); err != nil {
			return
		}
	}
}

// watch closes a connection whose session has ended, and keeps the session of somebody active
// alive. The session of the request shows what was stored when the connection was opened, so
// watch reads it anew.
func (a *app) watch(conn *websocket.Conn, closed <-chan struct{}, sid, name string, active *atomic.Bool) {
	ticker := time.NewTicker(a.every)
	defer ticker.Stop()
	ctx := context.Background() // the store has a time limit of its own

	for {
		select {
		case <-closed:
			return
		case <-a.stop.Done():
			_ = conn.Close(websocket.StatusGoingAway, "restart")
			return
		case <-ticker.C:
		}

		now, err := a.store.Read(ctx, sid)
		if err != nil {
			log.Print(err) // an outage logs nobody out
			continue
		}
		if now.Get("name") != name {
			_ = conn.Close(websocket.StatusPolicyViolation, "logged out")
			return
		}
		if active.Swap(false) {
			if err := a.store.Touch(ctx, sid); err != nil {
				log.Print(err)
			}
		}
	}
}

// write does not wait for a client that takes nothing.
func write(ctx context.Context, conn *websocket.Conn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, []byte(text))
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

func (a *app) routes(f *flamego.Flame) {
	f.Get("/", func(w http.ResponseWriter, s session.Session) {
		name, _ := session.Value[string](s, "name")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := page.Execute(w, name); err != nil {
			log.Print(err)
		}
	})
	f.Get("/socket", a.socket)
	f.Post("/login", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := s.RegenerateID(w, r); err != nil {
			fail(w, err)
			return
		}
		s.Set("name", r.PostFormValue("name")) // an app with users checks a password first
		c.Redirect("/", http.StatusSeeOther)
	})
	f.Post("/logout", func(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session) {
		if err := session.Destroy(w, r, s); err != nil {
			fail(w, err)
			return
		}
		c.Redirect("/", http.StatusSeeOther)
	})
}

func main() {
	sessions, err := session.New(session.Options{ErrorFunc: func(err error) { log.Print(err) }})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	a := &app{store: sessions.Store(), every: 5 * time.Second, stop: ctx}

	f := flamego.Classic()
	f.Use(sessions.Handler())
	a.routes(f)
	go func() {
		<-ctx.Done()
		cancel() // a second Ctrl-C ends the process at once
		f.Stop()
	}()
	f.Run()

	// Stop does not wait for connections that were taken over.
	a.open.Wait()
	if err := sessions.Close(); err != nil {
		log.Fatal(err)
	}
}
