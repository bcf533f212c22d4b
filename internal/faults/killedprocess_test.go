//go:build unix

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/history"
	"github.com/flamego/session/internal/testing/child"
	"github.com/flamego/session/internal/testing/webapp"
)

// killedVariable tells a child process of TestKilledProcess what it works on, as JSON.
const killedVariable = "FAULTS_KILLED"

type killedPlace struct {
	Subject, Place, Server string
	Round                  int
}

// What a visitor of the process asks for.
const (
	begin  = "begin" // a session, of nobody yet
	login  = "login"
	save   = "save"
	renew  = "renewal"
	logout = "logout"
	sweep  = "GC" // which nobody asks for
)

// entry is what the process tells its parent of a request: that it is made, the new ID that its
// handler has got, and that it was answered.
type entry struct {
	Visitor  int
	Op       string
	N        int    // the value that it sets
	NewID    string `json:",omitempty"`
	Answered bool   `json:",omitempty"`
}

// TestKilledProcess kills a process while its visitors save, get new IDs, log in and log out, and
// while it sweeps, at a random instant. Another process then finds each session with all of one
// value that was committed, and under one ID; who was told of a logout is logged out; and the
// list of each owner is right. Files rest on a rename, which moves a session to its new ID
// (atomicfile.Take), and the other stores on one statement or script for each step.
func TestKilledProcess(t *testing.T) {
	if text := os.Getenv(killedVariable); text != "" {
		killedChild(t, text)
		return
	}
	eachBeside(t, func(s subject) bool { return s.name != "memory" }, func(t *testing.T, s subject) {
		place := killedPlace{Subject: s.name}
		if s.remote() {
			place.Server = s.server(t)
		}
		var a *webapp.App
		underWay := make(map[string]int)
		answered, ended := 0, 0 // requests, and sessions that were ended by EndOwned
		n := rounds(15, 300)
		for place.Round = range n {
			if place.Round%15 == 0 { // a new place, as FerretDB reads all that is there for each question
				place.Place = s.place(t)
				a = webapp.New(t, s.killedOptions(place))
			}
			text, err := json.Marshal(place)
			require.NoError(t, err)
			p := child.StartTalking(t, killedVariable+"="+string(text))
			var begun atomic.Int64
			lives := make(map[int]*life)
			read := make(chan error, 1)
			go func() { read <- listen(p.Out, lives, &begun) }()
			p.Kill(func() bool { return begun.Load() > 20 }, 20*time.Millisecond)
			require.NoError(t, <-read)
			if s.remote() {
				time.Sleep(20 * time.Millisecond) // for the server to do what it was sent last
			}
			for i, l := range lives {
				if l.entry.Op != "" {
					underWay[l.entry.Op]++
				}
				if i > 0 {
					ended += l.check(t, a.Store(), ownerOf(place.Round, i))
				}
			}
			answered += int(begun.Load())
		}
		require.NoError(t, a.Store().GC(t.Context()))
		var kills []string
		for _, op := range slices.Sorted(maps.Keys(underWay)) {
			kills = append(kills, fmt.Sprintf("%s %d", op, underWay[op]))
		}
		mustBeHit := []string{save, renew}
		if full() { // the few kills of the short form may miss the rest
			mustBeHit = append(mustBeHit, login, logout, sweep)
		}
		for _, op := range mustBeHit {
			require.NotZero(t, underWay[op], "no kill in a %s", op)
		}
		require.Positive(t, ended, "nobody was logged in")
		figure(t, "%d kills after %d answers; under way were: %s; no value, logout or ID is wrong; %d sessions ended by their owners afterwards",
			n, answered, strings.Join(kills, ", "), ended)
	})
}

func (s subject) killedOptions(place killedPlace) session.Options {
	opts := s.at(place.Place, place.Server)
	opts.OwnerKey = "user"
	return opts
}

func ownerOf(round, visitor int) string { return fmt.Sprintf("round%dvisitor%d", round, visitor) }

// bodyOf is what a session holds besides its number, so that half of a value is noticed.
func bodyOf(n int) string { return strings.Repeat(fmt.Sprint(n, " "), n*7919%2000) }

// life is what is known of a visitor.
type life struct {
	id    string // of the session, as far as it was answered
	n     int    // its number
	user  bool   // somebody is logged in
	gone  []string
	entry entry // the request that is under way, with the zero Op for none
}

// listen reads what a process tells until it ends. Visitor 0 is the sweeper.
func listen(from io.Reader, lives map[int]*life, answered *atomic.Int64) error {
	in := json.NewDecoder(from)
	for {
		var e entry
		if err := in.Decode(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		l := lives[e.Visitor]
		if l == nil {
			l = new(life)
			lives[e.Visitor] = l
		}
		l.entry = e
		if !e.Answered {
			continue
		}
		answered.Add(1)
		l.entry = entry{}
		switch e.Op {
		case begin:
			l.id, l.n, l.user = e.NewID, e.N, false
		case save:
			l.n = e.N
		case login, renew:
			l.gone = append(l.gone, l.id)
			l.id, l.n = e.NewID, e.N
			l.user = l.user || e.Op == login
		case logout:
			l.gone = append(l.gone, l.id)
			l.id, l.n, l.user = "", 0, false
		}
	}
}

// find returns the session of a visitor, or nil, and what is wrong with it or the list of the owner.
func (l *life) find(t *testing.T, store session.Store, owner string) (found session.Session, problem string) {
	t.Helper()
	for _, id := range []string{l.id, l.entry.NewID} {
		if id == "" || !store.Exist(t.Context(), id) {
			continue
		}
		s, err := store.Read(t.Context(), id)
		require.NoError(t, err)
		if found != nil {
			return nil, "both IDs are alive, in a " + l.entry.Op
		}
		if _, ok := s.Get("n").(int); !ok { // it may have been deleted since Exist was asked
			return nil, "a session is empty, in a " + l.entry.Op
		}
		found = s
	}
	if found == nil && l.id != "" && l.entry.Op != logout {
		return nil, "a session is lost, in a " + l.entry.Op
	}
	infos, err := session.Owned(t.Context(), store, owner)
	require.NoError(t, err)
	if owned := found != nil && found.Get("user") != nil; owned != (len(infos) == 1) || len(infos) > 1 {
		return nil, fmt.Sprintf("the list of the owner has %d sessions, in a %s", len(infos), l.entry.Op)
	}
	return found, ""
}

// check looks for the session of a visitor, ends all sessions of the owner, and returns how many
// that were: none if nobody is logged in.
func (l *life) check(t *testing.T, store session.Store, owner string) (ended int) {
	t.Helper()
	ctx := t.Context()
	for _, id := range l.gone {
		require.False(t, store.Exist(ctx, id), "an ID is alive that was given up or logged out")
	}
	// What the process sent to a server last may be done a moment later.
	found, problem := l.find(t, store, owner)
	for begun := time.Now(); problem != "" && time.Since(begun) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
		found, problem = l.find(t, store, owner)
	}
	require.Empty(t, problem)

	owned := 0
	if found != nil {
		n := found.Get("n").(int)
		require.True(t, n == l.n || n == l.entry.N && l.entry.Op != "", "the number is %d, answered was %d, under way %+v", n, l.n, l.entry)
		require.Equal(t, bodyOf(n), found.Get("body"))
		user, _ := found.Get("user").(string)
		if user != "" {
			require.Equal(t, owner, user)
			owned = 1
		}
		require.True(t, (user != "") == l.user || l.entry.Op == login, "logged in: %q, want %t", user, l.user)
	}
	ended, err := session.EndOwned(ctx, store, owner, nil)
	require.NoError(t, err)
	if l.entry.Op == "" { // else the server may just now have done what was under way
		require.Equal(t, owned, ended, "sessions of the owner that were ended")
	}
	for _, id := range []string{l.id, l.entry.NewID} {
		require.False(t, owned > 0 && id != "" && store.Exist(ctx, id), "a session outlives the end of all of its owner")
	}
	return ended
}

// killedChild is the process that is killed.
func killedChild(t *testing.T, text string) {
	var place killedPlace
	require.NoError(t, json.Unmarshal([]byte(text), &place))
	i := slices.IndexFunc(subjects, func(s subject) bool { return s.name == place.Subject })
	require.GreaterOrEqual(t, i, 0)
	a := webapp.New(t, subjects[i].killedOptions(place))
	_, out := child.Parent()
	to := json.NewEncoder(out)
	var mu sync.Mutex
	tell := func(e entry) {
		mu.Lock()
		defer mu.Unlock()
		if to.Encode(e) != nil { // the parent is gone
			os.Exit(1)
		}
	}
	app := history.NewApp(a.Manager)
	var wg sync.WaitGroup
	for i := range 6 {
		v := &doomed{t: t, app: app, tell: tell, number: i + 1, owner: ownerOf(place.Round, i+1)}
		wg.Go(v.work)
	}
	for n := 0; ; n++ {
		// Somebody passes by, who leaves something to be swept in one of the next rounds.
		history.Serve(t.Context(), app, "", func(_ http.ResponseWriter, _ *http.Request, s session.Session, _ session.Flash) {
			s.Set("body", bodyOf(n))
			_ = session.SetLifetime(s, time.Second)
		})
		tell(entry{Op: sweep})
		if err := a.Store().GC(t.Context()); err != nil {
			t.Error(err)
			os.Exit(1)
		}
		tell(entry{Op: sweep, Answered: true})
	}
}

// doomed is a visitor of the process that is killed.
type doomed struct {
	t      *testing.T
	app    http.Handler
	tell   func(entry)
	number int
	owner  string
	id     string
	n      int // its number
	user   bool
}

func (v *doomed) work() {
	for {
		op := begin
		switch n := rand.IntN(100); {
		case v.id == "":
		case !v.user:
			op = login
		case n < 10:
			op = logout
		case n < 40:
			op = renew
		default:
			op = save
		}
		v.visit(op)
	}
}

func (v *doomed) visit(op string) {
	n := v.n
	if op == begin || op == login || op == save {
		n = rand.IntN(100_000)
	}
	e := entry{Visitor: v.number, Op: op, N: n}
	v.tell(e)
	w := history.Serve(v.t.Context(), v.app, v.id, func(w http.ResponseWriter, r *http.Request, s session.Session, _ session.Flash) {
		var err error
		switch op {
		case login, renew:
			err = s.RegenerateID(w, r)
		case logout:
			err = session.Destroy(w, r, s)
		}
		if err != nil {
			panic(err)
		}
		if op == login {
			s.Set("user", v.owner)
		}
		if op != logout && op != renew {
			s.Set("n", n)
			s.Set("body", bodyOf(n))
		}
		if s.ID() != v.id {
			e.NewID = s.ID()
			v.tell(e)
		}
	})
	if w.Code != http.StatusOK {
		fmt.Println("a request failed:", op, w.Code)
		os.Exit(1)
	}
	e.Answered = true
	v.tell(e)
	v.n, v.user = n, op == login || v.user && op != logout
	if e.NewID != "" || op == logout {
		v.id = e.NewID
	}
}
