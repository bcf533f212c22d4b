package session_test

import (
	"bytes"
	"compress/flate"
	"encoding/gob"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

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

// Data as JSON, which programs in other languages can read.
func ExampleJSONEncoder() {
	raw, err := session.JSONEncoder(session.Data{"user_id": 7, "score": 2.0, "roles": []string{"admin"}})
	fmt.Println(string(raw), err)

	data, err := session.JSONDecoder(raw)
	fmt.Printf("%T %T %T %v\n", data["user_id"], data["score"], data["roles"], err)
	// Output:
	// {"roles":["admin"],"score":2.0,"user_id":7} <nil>
	// int float64 []interface {} <nil>
}

func ExampleJSONDecoder() {
	data, err := session.JSONDecoder([]byte(`{"user_id": 7}`))
	fmt.Println(data["user_id"], err)

	_, err = session.JSONDecoder([]byte(`[7]`))
	fmt.Println(err)
	// Output:
	// 7 <nil>
	// decode: it is no JSON object
}

// An app moves from gob to JSON: what is stored stays readable, and each session is JSON from its
// next change on.
func ExampleGobOrJSONDecoder() {
	before, _ := session.GobEncoder(session.Data{"user_id": 7})
	after, _ := session.JSONEncoder(session.Data{"user_id": 7})
	for _, raw := range [][]byte{before, after} {
		data, err := session.GobOrJSONDecoder(raw)
		fmt.Println(data, err)
	}
	// Output:
	// map[user_id:7] <nil>
	// map[user_id:7] <nil>
}

// Data that is compressed. The Decoder reads no more than a limit: a few bytes may stand for very many.
func ExampleEncoder() {
	encode := func(data session.Data) ([]byte, error) {
		raw, err := session.GobEncoder(data)
		if err != nil {
			return nil, err
		}
		var buf bytes.Buffer
		w, err := flate.NewWriter(&buf, flate.BestSpeed)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(raw); err != nil {
			return nil, err
		}
		err = w.Close()
		return buf.Bytes(), err
	}
	decode := func(raw []byte) (session.Data, error) {
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), 1<<20))
		if err != nil {
			return nil, err
		}
		return session.GobDecoder(plain)
	}

	config := session.FileConfig{Encoder: encode, Decoder: decode}
	raw, err := config.Encoder(session.Data{"text": strings.Repeat("again ", 1000)})
	fmt.Println(len(raw) < 200, err)
	data, err := config.Decoder(raw)
	fmt.Println(len(data["text"].(string)), err)
	// Output:
	// true <nil>
	// 6000 <nil>
}
