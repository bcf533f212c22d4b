package bench

import (
	"encoding/gob"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/flamego/session"
)

// shape is what a session holds, and the routes that use it.
type shape struct {
	name                     string
	size                     int // of its encoding, in bytes
	fill                     func(values)
	login, read, set, visits string
}

// shapes are those that are compared. The first one is that of all other benchmarks.
// The largest fits into the BLOB of a table in MySQL, which ends at 65,535 bytes, with
// what scs adds to it.
var shapes = []shape{
	six,
	plain("twelve", 900, fillTwelve),
	plain("8kB", 8000, func(v values) { fillTexts(v, 20, 322) }),
	plain("64kB", 64_000, func(v values) { fillTexts(v, 100, 598) }),
	{"struct", 331, fillStruct, pathFill, pathReadStruct, pathSetStruct, pathVisitsStruct},
}

var six = shape{"six", 234, fill, pathLogin, pathRead, pathSet, pathVisits}

// plain is a shape with the values of six and more.
func plain(name string, size int, fill func(values)) shape {
	return shape{name, size, fill, pathFill, pathRead, pathSet, pathVisits}
}

// encode returns a session of the shape as this library stores it.
func (sh shape) encode() []byte {
	s := session.NewBaseSession("0123456789abcdef", session.GobEncoder, nil)
	sh.fill(s)
	data, err := s.Encode()
	if err != nil {
		panic(err)
	}
	return data
}

// fillTwelve sets six more values: what an app may know of a user and a cart.
func fillTwelve(v values) {
	fill(v)
	v.Set("email", "alice@example.com")
	v.Set("roles", []string{"editor", "translator", "reviewer"})
	v.Set("cart", []int{1042, 2217, 3391, 4408, 5120})
	v.Set("settings", map[string]string{"language": "en", "theme": "dark", "zone": "Europe/Berlin", "start": "inbox"})
	v.Set("return_to", "/articles/2026/01/how-sessions-end?page=2#comments")
	v.Set("token", strings.Repeat("0123456789abcdef", 20)[:274])
}

// fillTexts sets twelve values and texts of equal length.
func fillTexts(v values, texts, length int) {
	fillTwelve(v)
	for n := range texts {
		v.Set(fmt.Sprintf("text%03d", n), strings.Repeat("x", length))
	}
}

// account is a struct type of an app, as a value of a session.
type account struct {
	ID       int
	Name     string
	Email    string
	Roles    []string
	Settings map[string]string
	Visits   int64
}

func init() { gob.Register(account{}) }

const accountKey = "account"

// fillStruct sets one value.
func fillStruct(v values) {
	v.Set(accountKey, account{
		ID: 123, Name: userName, Email: "alice@example.com", Visits: firstVisits,
		Roles:    []string{"editor", "translator", "reviewer"},
		Settings: map[string]string{"language": "en", "theme": "dark", "zone": "Europe/Berlin", "start": "inbox"},
	})
}

// shapeRoutes are the routes that the shape six does not use.
var shapeRoutes = []route{
	{pathFill, true, func(v values, r *http.Request) string {
		for _, sh := range shapes {
			if sh.name == r.Header.Get(valueHeader) {
				sh.fill(v)
				return saved
			}
		}
		return "there is no such shape"
	}},
	{pathReadStruct, false, func(v values, _ *http.Request) string {
		a, _ := v.Get(accountKey).(account)
		return a.Name
	}},
	{pathSetStruct, true, func(v values, _ *http.Request) string {
		a, _ := v.Get(accountKey).(account)
		a.Visits++
		v.Set(accountKey, a)
		return saved
	}},
	{pathVisitsStruct, false, func(v values, _ *http.Request) string {
		a, _ := v.Get(accountKey).(account)
		return strconv.FormatInt(a.Visits, 10)
	}},
}

// BenchmarkSize has one visitor read and set one key of sessions of all shapes.
// (gorilla is left out: a cookie holds no more than 4 kB.)
func BenchmarkSize(b *testing.B) {
	for _, st := range stores {
		b.Run("store="+st.name, func(b *testing.B) {
			subjects := st.open(b, "size")
			for _, sh := range shapes[size(len(shapes)-2, 0):] {
				for _, c := range []string{caseRead, caseSet} {
					for _, s := range shuffled(subjects) {
						if a, ok := s.(*app); ok && (a.stateless || a.via == "gorilla") {
							continue
						}
						name := fmt.Sprintf("session=%s/bytes=%d/case=%s/via=%s", sh.name, sh.size, c, s.name())
						workers(b, name, c, 1, s, sh)
					}
				}
			}
		})
	}
}

// The sizes that are told to readers are those of the encoding.
func TestShapes(t *testing.T) {
	for _, sh := range shapes {
		if got := len(sh.encode()); got != sh.size {
			t.Errorf("%s has %d bytes, want %d", sh.name, got, sh.size)
		}
	}
}
