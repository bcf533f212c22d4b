package session_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// Memory keeps values as they are: a type needs no registration, and a pointer is the same
// one in the next request. All sessions end with the process.
func ExampleMemoryIniter() {
	type cart struct{ items []string }
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		Initer: session.MemoryIniter(), // which is the default
		Config: session.MemoryConfig{Lifetime: 24 * time.Hour},
	}))
	f.Get("/add", func(s session.Session) { s.Set("cart", &cart{items: []string{"a book"}}) })
	f.Get("/", func(s session.Session) string {
		c, _ := session.Value[*cart](s, "cart")
		return fmt.Sprint(c.items)
	})

	b := newBrowser(f)
	b.get("/add")
	fmt.Println(b.get("/").Body)
	// Output:
	// [a book]
}

// Files outlive the process: the visitor of one Manager is known to the next one.
func ExampleFileIniter() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	alice := newBrowser(nil)
	for range 2 {
		sessions, err := session.New(session.Options{
			Initer: session.FileIniter(),
			Config: session.FileConfig{RootDir: dir},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		f := flamego.New()
		f.Use(sessions.Handler())
		f.Get("/", func(s session.Session) string {
			session.Update(s, "visits", func(n int) int { return n + 1 })
			return fmt.Sprint("visit number ", s.Get("visits"))
		})
		alice.app = f
		fmt.Println(alice.get("/").Body)
		if err := sessions.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// visit number 1
	// visit number 2
}

// Two apps of one process that share their sessions.
func ExampleManager_Handler() {
	sessions, err := session.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()

	shop := flamego.New()
	shop.Use(sessions.Handler())
	shop.Get("/login", func(s session.Session) { s.Set("user", "Alice") })
	help := flamego.New()
	help.Use(sessions.Handler())
	help.Get("/", func(s session.Session) string { return fmt.Sprint("Hello ", s.Get("user")) })

	alice := newBrowser(shop)
	alice.get("/login")
	alice.app = help
	fmt.Println(alice.get("/").Body)
	// Output:
	// Hello Alice
}

// Outside of a request, as in a job: the store ends a session whose ID the app has kept.
func ExampleManager_Store() {
	sessions, err := session.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()
	f := flamego.New()
	f.Use(sessions.Handler())
	var kept string
	f.Get("/login", func(s session.Session) {
		s.Set("user", "Alice")
		kept = s.ID()
	})
	f.Get("/", func(s session.Session) string { return fmt.Sprint("user: ", s.Get("user")) })

	alice := newBrowser(f)
	alice.get("/login")
	fmt.Println(alice.get("/").Body)
	fmt.Println("error:", sessions.Store().Destroy(context.Background(), kept))
	fmt.Println(alice.get("/").Body)
	// Output:
	// user: Alice
	// error: <nil>
	// user: <nil>
}

// Close comes after the last request, as after Shutdown of the server.
func ExampleManager_Close() {
	sessions, err := session.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	f := flamego.New()
	f.Use(sessions.Handler())
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	// Here stands go server.ListenAndServe(), and the wait for a signal.
	fmt.Println("Shutdown:", server.Shutdown(context.Background()))
	fmt.Println("Close:", sessions.Close())
	// Output:
	// Shutdown: <nil>
	// Close: <nil>
}

// What goes wrong with a session is told to the app and not to the visitor.
func ExampleOptions_errorFunc() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		Initer:    session.FileIniter(),
		Config:    session.FileConfig{RootDir: os.DevNull}, // is no folder
		ErrorFunc: func(err error) { fmt.Println("log:", err) },
	}))
	f.Get("/", func(s session.Session) string {
		s.Set("user_id", 123)
		return "hello"
	})

	w := newBrowser(f).get("/")
	fmt.Println(w.Code, w.Body)
	// Output:
	// log: session: file: save: RootDir "/dev/null": open: not a directory
	// 500 Internal Server Error
}

// A page that is left open asks for news all the time, which is no access: the session lives
// as long as without it.
func ExampleOptions_touchFor() {
	sessions, err := session.New(session.Options{
		Config:        session.MemoryConfig{Lifetime: 24 * time.Hour},
		FirstLifetime: 10 * time.Minute, // until the visitor comes back
		TouchFor:      func(r *http.Request) bool { return r.URL.Path != "/news" },
		OwnerKey:      "user", // to look at the session from outside
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()
	f := flamego.New()
	f.Use(sessions.Handler())
	f.Get("/login", func(s session.Session) { s.Set("user", "Alice") })
	f.Get("/news", func(s session.Session) string { return "no news" })
	f.Get("/", func(s session.Session) string { return "hello" })

	alice := newBrowser(f)
	for _, path := range []string{"/login", "/news", "/"} {
		alice.get(path)
		infos, err := session.Owned(context.Background(), sessions.Store(), "Alice")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(path, time.Until(infos[0].Expires).Round(time.Minute))
	}
	// Output:
	// /login 10m0s
	// /news 10m0s
	// / 24h0m0s
}

// The part of a page that shows no messages leaves the flash to the page itself.
func ExampleOptions_flashFor() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		FlashFor: func(r *http.Request) bool { return r.URL.Path != "/menu" },
	}))
	f.Get("/save", func(s session.Session) { s.SetFlash("saved") })
	show := func(flash session.Flash) string { return fmt.Sprint("flash: ", flash) }
	f.Get("/menu", show)
	f.Get("/", show)

	b := newBrowser(f)
	b.get("/save")
	fmt.Println(b.get("/menu").Body)
	fmt.Println(b.get("/").Body)
	// Output:
	// flash: <nil>
	// flash: saved
}

// A user has two sessions at most: the third login ends the oldest.
func ExampleOptions_maxOwned() {
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{OwnerKey: "user", MaxOwned: 2}))
	f.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user", "Alice")
		return s.RegenerateID(w, r)
	})
	f.Get("/", func(s session.Session) string { return fmt.Sprint("user: ", s.Get("user")) })

	devices := []*browser{newBrowser(f), newBrowser(f), newBrowser(f)}
	for _, device := range devices {
		device.get("/login")
		time.Sleep(10 * time.Millisecond)
	}
	for _, device := range devices {
		fmt.Println(device.get("/").Body)
	}
	// Output:
	// user: <nil>
	// user: Alice
	// user: Alice
}
