package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/flamego/session"
)

// The cases: one request each.
const (
	caseRead    = "read"    // read one key
	caseSet     = "set"     // set one key, which is one more than it was
	caseNew     = "new"     // new visitor, left untouched
	caseLogin   = "login"   // new visitor, six values are set
	caseWriters = "writers" // 8 parallel writers on one session
)

// subject is one of those that are compared.
type subject interface {
	name() string
	// has tells whether the subject has a case.
	has(c string) bool
	// begin returns what one goroutine does in a case, with a session of a shape.
	begin(c string, sh shape) (*work, error)
	// crowd returns the writers of one new session.
	crowd() (*crowd, error)
}

// work is what one goroutine does.
type work struct {
	do    func() error
	check func() error // looks at the store in the end
}

// crowd is the parallel writers of one session.
type crowd struct {
	write func(i int, round string) error
	// kept returns how many of the writes of a round the session has; nil if that
	// cannot be told.
	kept     func(round string) (int, error)
	keepsAll bool // must it have all of them?
}

var noCheck = func() error { return nil }

// app is a subject that is asked by HTTP.
type app struct {
	http.Handler
	via       string
	keepsAll  bool
	stateless bool          // it has no sessions, and answers as if it had
	store     session.Store // of this library, else nil
	// cookie returns that of the n-th of many sessions; nil where there are none.
	cookie func(n int) string
}

func (a *app) name() string { return a.via }

// login returns a visitor with a session.
func (a *app) login(sh shape) (*visitor, error) {
	v := newVisitor(a, new(jar), "")
	if a.stateless {
		return v, nil
	}
	if err := v.get(sh.login, sh.name, saved); err != nil {
		return nil, err
	}
	if v.jar.get() == "" {
		return nil, errors.New("a login sets no cookie")
	}
	return v, v.get(sh.read, "", userName)
}

func (a *app) has(c string) bool { return !a.stateless || c != caseWriters }

func (a *app) begin(c string, sh shape) (*work, error) {
	v, err := a.login(sh)
	if err != nil {
		return nil, err
	}
	switch c {
	case caseRead:
		return &work{do: func() error { return v.get(sh.read, "", userName) }, check: noCheck}, nil
	case caseSet:
		want := firstVisits
		w := &work{
			do: func() error {
				want++
				return v.get(sh.set, "", saved)
			},
			check: func() error { return v.get(sh.visits, "", strconv.FormatInt(want, 10)) },
		}
		if a.stateless {
			w.check = noCheck
		}
		return w, nil
	case caseNew:
		return &work{do: func() error {
			v.jar.forget()
			return v.get(pathNew, "", untouched)
		}, check: noCheck}, nil
	case caseLogin:
		return &work{
			do: func() error {
				v.jar.forget()
				return v.get(sh.login, sh.name, saved)
			},
			check: func() error { return v.get(sh.read, "", userName) },
		}, nil
	}
	return nil, fmt.Errorf("there is no case %s", c)
}

func (a *app) crowd() (*crowd, error) {
	first, err := a.login(six)
	if err != nil {
		return nil, err
	}
	var vs [writers]*visitor
	for i, key := range writerKeys {
		vs[i] = newVisitor(a, first.jar, key)
	}
	return &crowd{
		keepsAll: a.keepsAll,
		write:    func(i int, round string) error { return vs[i].get(pathWrite, round, saved) },
		kept: func(round string) (int, error) {
			if err := first.send(pathKept, round); err != nil {
				return 0, err
			}
			return strconv.Atoi(string(first.recorder.body))
		},
	}, nil
}

// bare is a driver alone, which writes and reads the bytes of a session.
type bare struct{ driver rawStore }

func (bare) name() string { return "bare" }

var ctx = context.Background()

// put writes the bytes of a session with a number in them, so that each write
// has something to change.
func (s bare) put(key string, data []byte, n uint64) error {
	binary.BigEndian.PutUint64(data, n)
	return s.driver.set(ctx, key, data, time.Now().Add(time.Hour))
}

// want compares what is stored with data.
func (s bare) want(key string, data []byte) error {
	got, found, err := s.driver.get(ctx, key)
	if err == nil && (!found || !bytes.Equal(got, data)) {
		err = fmt.Errorf("%s is %d bytes (found: %t) other than were written", key, len(got), found)
	}
	return err
}

func (bare) has(c string) bool { return c != caseNew }

func (s bare) begin(c string, sh shape) (*work, error) {
	n, key, data := uint64(0), newKey(), sh.encode()
	if err := s.put(key, data, n); err != nil {
		return nil, err
	}
	w := &work{check: func() error { return s.want(key, data) }}
	switch c {
	case caseRead:
		w.do = w.check
	case caseSet:
		w.do = func() error {
			if err := s.want(key, data); err != nil {
				return err
			}
			n++
			return s.put(key, data, n)
		}
	case caseLogin:
		w.do = func() error {
			key = newKey()
			return s.put(key, data, n)
		}
	}
	return w, nil
}

// crowd has each writer read and write; that they overwrite each other is known.
func (s bare) crowd() (*crowd, error) {
	key := newKey()
	var data [writers][]byte
	for i := range data {
		data[i] = six.encode()
	}
	return &crowd{write: func(i int, _ string) error {
		if _, found, err := s.driver.get(ctx, key); err != nil || !found {
			return errors.Join(err, fmt.Errorf("found: %t", found))
		}
		return s.put(key, data[i], uint64(i))
	}}, s.put(key, data[0], 0)
}
