package faults

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// network is a place with sessions that instances of an app share. The network of one of them is
// fine: it prepares what the others are asked, and shows what is stored. What the rows about
// broken networks ask for is an errand.
type network struct {
	*testing.T
	s      subject
	server string
	place  string
	fine   *app

	tokens atomic.Int64
	ids    sync.Map // from the token of a request to the ID that its session had after the handler
}

func newNetwork(t *testing.T, s subject) *network {
	n := &network{T: t, s: s, server: s.server(t), place: s.place(t)}
	n.fine = n.open(t, n.server)
	return n
}

// newToken returns a text that is in no other request.
func (n *network) newToken() string { return fmt.Sprintf("token%06dx", n.tokens.Add(1)) }

// open opens an instance, whose server is at the address.
func (n *network) open(t *testing.T, server string) *app {
	opts := n.s.at(n.place, server)
	opts.OwnerKey, opts.Timeout = "user", n.s.timeout
	a := newApp(t, opts)
	a.Get("/errand/{name}", func(
		c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, flash session.Flash,
	) (status int, body string) {
		token, user := c.Query("token"), c.Query("user")
		body, _ = flash.(string)
		var err error
		switch c.Param("name") {
		case "start", "enter": // all in one request, as there are thousands of guests
			s.Set("a", token)
			s.Set("n", 1)
			if c.Param("name") == "enter" {
				s.Set("user", user)
			}
		case "read":
			body, _ = session.Value[string](s, "a")
		case "set":
			s.Set("a", token)
		case "add":
			session.Update(s, "n", func(n int) int { return n + 1 })
		case "renew":
			err = s.RegenerateID(w, r)
		case "login":
			err = s.RegenerateID(w, r)
			s.Set("user", user)
			s.Set("a", token)
		case "logout":
			err = session.Destroy(w, r, s)
		case "flash":
			s.SetFlash(token)
		case "take":
		case "others":
			var ended int
			ended, err = session.EndOwned(r.Context(), store, user, s)
			body = strconv.Itoa(ended)
		case "other": // what another request does meanwhile
			s.Set("b", token)
			session.Update(s, "n", func(n int) int { return n + 1 })
		}
		n.ids.Store(token, s.ID())
		if err != nil {
			return http.StatusInternalServerError, err.Error()
		}
		return http.StatusOK, body
	})
	return a
}

// guest is a visitor with a session of some age.
type guest struct {
	*visitor
	user  string
	value string // of the key "a"
	flash string // that waits
	n     int    // the value of the key "n"

	token atomic.Value // of the last errand, a string
}

// do runs an errand in an instance.
func (n *network) do(a *app, g *guest, name string) (status int, body, token string) {
	token = n.newToken()
	g.token.Store(token)
	g.app = a
	status, body = g.visit("/errand/" + name + "?token=" + token + "&user=" + g.user)
	return status, body, token
}

// errand is a kind of request.
type errand struct {
	name   string
	before []string // what the guest has done before
	// made and kept report whether the change is stored, and whether everything is as it was.
	made, kept func(o outcome) bool
	writes     bool // the token of the request is in what it writes
	mayFail    bool // whatever is lost, it may be a 500
}

// outcome is what became of an errand.
type outcome struct {
	status      int
	body, token string
	guest       *guest
	old, new    string // the ID before, and that of the session in the end; empty if there is none
	live        string // the one of them that is alive
	seen        map[string]string
	owned       int // live sessions of the user

	other meanwhile
}

// meanwhile is another request of the same session that came between the write and its lost
// answer.
type meanwhile struct {
	applied bool   // there was a session to write to
	token   string // now the value of "b"
	flash   string // that the other request was given
	err     error
}

func (o outcome) holds(value string, n int) bool {
	want := map[string]string{"a": value, "n": strconv.Itoa(n)}
	if o.other.applied {
		want["b"], want["n"] = o.other.token, strconv.Itoa(n+1)
	}
	return o.seen["a"] == want["a"] && o.seen["b"] == want["b"] && o.seen["n"] == want["n"]
}

func (o outcome) asBefore() bool { return o.live == o.old && o.holds(o.guest.value, o.guest.n) }

var (
	ofVisitor = []string{"start"}
	ofUser    = []string{"enter"}
)

var errands = []errand{
	{
		name: "first", writes: true,
		made: func(o outcome) bool { return o.live != "" && o.seen["a"] == o.token },
		kept: func(o outcome) bool { return o.live == "" },
	}, {
		name: "read", before: ofVisitor,
		made: func(o outcome) bool { return o.asBefore() && (o.status != http.StatusOK || o.body == o.guest.value) },
		kept: outcome.asBefore,
	},
	{name: "set", before: ofVisitor, made: isSet, kept: outcome.asBefore, writes: true},
	{name: "set", before: ofUser, made: isSet, kept: outcome.asBefore, writes: true},
	{name: "add", before: ofVisitor, made: isAdded, kept: outcome.asBefore},
	{name: "add", before: ofUser, made: isAdded, kept: outcome.asBefore},
	{name: "renew", before: ofVisitor, made: isRenewed, kept: outcome.asBefore},
	{name: "renew", before: ofUser, made: isRenewed, kept: outcome.asBefore},
	{
		name: "login", before: ofVisitor, writes: true,
		made: func(o outcome) bool { return o.live == o.new && o.holds(o.token, o.guest.n) && o.owned == 1 },
		kept: func(o outcome) bool { return o.asBefore() && o.owned == 0 },
	},
	{name: "logout", before: ofVisitor, made: isOut, kept: outcome.asBefore},
	{name: "logout", before: ofUser, made: isOut, kept: outcome.asBefore},
	{
		name: "flash", before: ofVisitor, writes: true,
		made: func(o outcome) bool {
			return o.asBefore() && (o.seen["flash"] == o.token) != (o.other.flash == o.token)
		},
		kept: func(o outcome) bool { return o.asBefore() && o.seen["flash"] == "" && o.other.flash == "" },
	}, {
		// Rather lost than seen twice.
		name: "take", before: []string{"start", "flash"}, mayFail: true,
		made: func(o outcome) bool {
			seen := 0
			for _, flash := range []string{o.body, o.other.flash, o.seen["flash"]} {
				if flash == o.guest.flash {
					seen++
				}
			}
			return o.asBefore() && seen <= 1 && (o.status != http.StatusOK || seen == 1)
		},
		kept: func(o outcome) bool { return o.asBefore() && o.seen["flash"] == o.guest.flash },
	}, {
		name: "others", before: ofUser,
		made: func(o outcome) bool {
			return o.asBefore() && o.owned == 1 && (o.status != http.StatusOK || o.body == "2")
		},
		kept: func(o outcome) bool { return o.asBefore() && o.owned > 1 },
	},
}

func isSet(o outcome) bool     { return o.live == o.old && o.holds(o.token, o.guest.n) }
func isAdded(o outcome) bool   { return o.live == o.old && o.holds(o.guest.value, o.guest.n+1) }
func isRenewed(o outcome) bool { return o.live == o.new && o.holds(o.guest.value, o.guest.n) }
func isOut(o outcome) bool     { return o.live == "" && o.owned == 0 }

func (e errand) String() string {
	if len(e.before) > 0 && e.before[0] == ofUser[0] {
		return e.name + " of a user"
	}
	return e.name
}

// prepare returns a guest for whom the errand is next.
func (n *network) prepare(e errand) (*guest, error) {
	g := &guest{visitor: n.fine.visitor(n), user: "user" + n.newToken()}
	run := func(g *guest, name string) error {
		status, body, token := n.do(n.fine, g, name)
		n.ids.Delete(token)
		switch name {
		case "start", "enter":
			g.value, g.n = token, 1
		case "flash":
			g.flash = token
		}
		if status != http.StatusOK {
			return fmt.Errorf("%s before %s: status %d: %s", name, e, status, body)
		}
		return nil
	}
	for _, name := range e.before {
		if err := run(g, name); err != nil {
			return nil, err
		}
	}
	if e.name == "others" {
		for range 2 {
			if err := run(&guest{visitor: n.fine.visitor(n), user: g.user}, "enter"); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

// run runs the errand in an instance, and looks what became of it.
func (n *network) run(a *app, g *guest, e errand) (o outcome) {
	o = outcome{guest: g, old: g.id}
	name := e.name
	if name == "first" {
		name = "set"
	}
	o.status, o.body, o.token = n.do(a, g, name)
	return o
}

// inspect fills in what is stored after an errand, and returns an error if that must not be.
func (n *network) inspect(e errand, o *outcome) error {
	if id, ok := n.ids.LoadAndDelete(o.token); ok {
		o.new = id.(string)
	}
	store := n.fine.Store()
	for _, id := range []string{o.old, o.new} {
		switch {
		case id == "" || id == o.live || !store.Exist(n.Context(), id):
		case o.live != "":
			return errors.New("both IDs are alive")
		default:
			o.live = id
		}
	}
	if o.live != "" {
		var err error
		if o.seen, err = n.fine.with(n, o.live).look(); err != nil {
			return err
		}
	}
	owned, err := session.Owned(n.Context(), store, o.guest.user)
	if err != nil {
		return err
	}
	o.owned = len(owned)

	made, kept := e.made(*o), e.kept(*o)
	sent := o.guest.id
	switch {
	case o.status != http.StatusOK && o.status != http.StatusInternalServerError:
		return fmt.Errorf("status %d: %s", o.status, o.body)
	case !made && !kept:
		return fmt.Errorf("the outcome is wrong: %+v", *o)
	case o.status != http.StatusOK && sent != o.old:
		return errors.New("an error sends another ID")
	case o.status == http.StatusOK && !made:
		return fmt.Errorf("the change was answered by 200, and is not there: %+v", *o)
	case o.status == http.StatusOK && sent != o.live:
		return fmt.Errorf("the visitor has the ID %q, and %q is alive", sent, o.live)
	}
	return nil
}

// errorsOf checks the errors that ErrorFunc has received for an errand.
func errorsOf(e errand, o outcome, errs []error) error {
	want := 0
	if o.status != http.StatusOK && e.name != "others" { // whose handler has the error
		want = 1
	}
	if len(errs) != want {
		return fmt.Errorf("status %d with the errors %v", o.status, errs)
	}
	return nil
}
