package session_test

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

func ExampleSession() {
	f := flamego.New()
	f.Use(session.Sessioner())
	f.Get("/", func(s session.Session) string {
		before := s.HasChanged()
		s.Set("color", "red")
		s.Set("size", 42)
		s.Delete("size")
		return fmt.Sprintln(before, s.HasChanged(), s.Get("color"), s.Get("size"))
	})
	f.Get("/flush", func(s session.Session) { s.Flush() })
	f.Get("/show", func(s session.Session) string { return fmt.Sprint(s.Get("color")) })

	b := newBrowser(f)
	fmt.Print(b.get("/").Body)
	fmt.Println(b.get("/show").Body)
	b.get("/flush")
	fmt.Println(b.get("/show").Body)
	// Output:
	// false true red <nil>
	// red
	// <nil>
}

// A logout: the cookie is expired, and who has kept the ID finds nothing under it.
func ExampleDestroy() {
	f := flamego.New()
	f.Use(session.Sessioner())
	f.Get("/login", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		s.Set("user", "Alice")
		return s.RegenerateID(w, r)
	})
	f.Get("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) error {
		return session.Destroy(w, r, s)
	})
	f.Get("/", func(s session.Session) string { return fmt.Sprint("user: ", s.Get("user")) })

	alice, thief := newBrowser(f), newBrowser(f)
	alice.get("/login")
	site := &url.URL{Scheme: "https", Host: "example.com", Path: "/"}
	thief.cookies.SetCookies(site, alice.cookies.Cookies(site))
	fmt.Println(alice.get("/").Body)

	c := alice.get("/logout").Result().Cookies()[0]
	fmt.Printf("%s=%q, Max-Age: %d\n", c.Name, c.Value, c.MaxAge)
	fmt.Println(thief.get("/").Body)
	// Output:
	// user: Alice
	// flamego_session="", Max-Age: -1
	// user: <nil>
}

// A session without a store, for the test of a function that takes one.
func ExampleNewBaseSession() {
	greeting := func(s session.Session) string {
		name, _ := session.Value[string](s, "name")
		return "Hello " + name
	}

	s := session.NewBaseSession("0123456789abcdef", nil, nil)
	s.Set("name", "Alice")
	fmt.Println(greeting(s))
	// Output:
	// Hello Alice
}

// The session that a store of one's own returns for what it has read.
func ExampleNewBaseSessionWithData() {
	data := session.Data{"name": "Alice"}
	s := session.NewBaseSessionWithData("0123456789abcdef", session.GobEncoder, nil, data)
	fmt.Println(s.Get("name"), s.HasChanged())
	s.Set("name", "Bob")
	fmt.Println(s.Get("name"), s.HasChanged())
	// Output:
	// Alice false
	// Bob true
}

// address is a type of an app.
type address struct{ City string }

// A type of the app must be registered with gob before it is stored.
func ExampleGobEncoder() {
	data := session.Data{"home": address{"Oslo"}}
	_, err := session.GobEncoder(data)
	fmt.Println(err)

	gob.Register(address{}) // an app does it at start, in init
	_, err = session.GobEncoder(data)
	fmt.Println(err)
	// Output:
	// encode the value of type session_test.address under key "home": gob: type not registered for interface: session_test.address
	// <nil>
}

func ExampleGobDecoder() {
	raw, err := session.GobEncoder(session.Data{"user_id": 123})
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := session.GobDecoder(raw)
	fmt.Println(data, err)

	_, err = session.GobDecoder([]byte("no gob"))
	fmt.Println(err != nil)
	// Output:
	// map[user_id:123] <nil>
	// true
}

// Data as JSON, which programs in other languages can read. Its keys are strings, and its
// numbers are float64; Update makes them integers again.
func ExampleEncoder() {
	encode := func(data session.Data) ([]byte, error) {
		object := make(map[string]any)
		for key, val := range data {
			name, ok := key.(string)
			if !ok {
				return nil, errors.New("a key is no string")
			}
			object[name] = val
		}
		return json.Marshal(object)
	}
	decode := func(raw []byte) (session.Data, error) {
		var object map[string]any
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, err
		}
		data := make(session.Data)
		for name, val := range object {
			data[name] = val
		}
		return data, nil
	}

	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	f := flamego.New()
	f.Use(session.Sessioner(session.Options{
		Initer: session.FileIniter(),
		Config: session.FileConfig{RootDir: dir, Encoder: encode, Decoder: decode},
	}))
	f.Get("/", func(s session.Session) string {
		before := s.Get("visits")
		session.Update(s, "visits", func(n int) int { return n + 1 })
		return fmt.Sprintf("%T %v, then %v", before, before, s.Get("visits"))
	})

	b := newBrowser(f)
	fmt.Println(b.get("/").Body)
	fmt.Println(b.get("/").Body)
	// Output:
	// <nil> <nil>, then 1
	// float64 1, then 2
}
