package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"sync"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/flamego/flamego"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"
	fibersession "github.com/gofiber/fiber/v3/middleware/session"
	gorilla "github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flamego/session"
)

// TestGuarantees shows what the table in the README says of other libraries, each used as its
// documentation shows. A row that a newer version changes fails here.
func TestGuarantees(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	peers := []func(*testing.T, func(*http.Request)) string{openSession, openSCS, openGorilla, openFiber}
	columns := []string{"this", "scs", "gorilla", "fiber"}
	head := regexp.MustCompile(`(?m)^\| \| this \| before \| scs \| gorilla \| fiber \|$`)
	require.Regexp(t, head, string(readme))

	for rule, holds := range map[string]func(*peer) bool{
		"merge/in parallel":              (*peer).keepsOverlappingChanges,
		"update/counters":                (*peer).counts,
		"flash/once in parallel":         (*peer).showsOnce,
		"destroy/beside another request": (*peer).logoutHolds,
		"request/panic":                  (*peer).panicSavesNothing,
		"id/planted":                     (*peer).refusesPlantedIDs,
	} {
		row := regexp.MustCompile(`(?m)^\| .*\[` + rule + `\]\(.*\) \| ([^|]*) \|[^|]*\| ([^|]*) \| ([^|]*) \| ([^|]*) \|$`).FindStringSubmatch(string(readme))
		require.Len(t, row, 5, "the row of the README with %s", rule)
		for i, open := range peers {
			p := &peer{T: t, entered: make(chan struct{}), release: make(chan struct{})}
			p.url = open(t, p.hold)
			p.get("/set?key=user")
			require.Equal(t, "value", p.get("/get?key=user"), columns[i])
			said := map[string]bool{"**yes**": true, "yes": true, "no": false}
			require.Contains(t, said, row[i+1])
			assert.Equal(t, said[row[i+1]], holds(p), "%s: %s", columns[i], rule)
		}
	}
}

// peer is an app with the routes /set, /get, /take (a message), /count, /counted and /logout,
// and its visitor.
type peer struct {
	*testing.T
	url, cookie      string
	entered, release chan struct{}
}

// hold is called by handlers when they have read their session.
func (p *peer) hold(r *http.Request) {
	if r.FormValue("hold") != "" {
		p.entered <- struct{}{}
		<-p.release
	}
}

func (p *peer) get(path string) string {
	r, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.url+path, nil)
	require.NoError(p, err)
	if p.cookie != "" {
		r.Header.Set("Cookie", p.cookie)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return "" // the handler panicked
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(p, err)
	if cookies := resp.Cookies(); len(cookies) > 0 && p.cookie == "" {
		p.cookie = cookies[0].Name + "=" + cookies[0].Value
	}
	return string(body)
}

// overlap makes the second request while the first one has read its session.
func (p *peer) overlap(first, second string) (a, b string) {
	var ended sync.WaitGroup
	ended.Go(func() { a = p.get(first + "hold=1") })
	<-p.entered
	b = p.get(second)
	p.release <- struct{}{}
	ended.Wait()
	return a, b
}

func (p *peer) keepsOverlappingChanges() bool {
	p.overlap("/set?key=a&", "/set?key=b")
	return p.get("/get?key=a") == "value" && p.get("/get?key=b") == "value"
}

func (p *peer) counts() bool {
	p.overlap("/count?", "/count")
	return p.get("/counted") == "2"
}

func (p *peer) showsOnce() bool {
	p.get("/leave")
	a, b := p.overlap("/take?", "/take")
	require.NotEmpty(p, a+b)
	return a == "" || b == ""
}

func (p *peer) logoutHolds() bool {
	p.overlap("/set?key=late&", "/logout")
	return p.get("/get?key=user") == ""
}

func (p *peer) panicSavesNothing() bool {
	p.get("/set?key=bad&panic=1")
	return p.get("/get?key=bad") == ""
}

func (p *peer) refusesPlantedIDs() bool {
	planted := p.cookie[:len(p.cookie)-6] + "000000"
	p.cookie = planted
	p.get("/set?key=victim")
	p.cookie = planted
	return p.get("/get?key=victim") == ""
}

func openSession(t *testing.T, hold func(*http.Request)) string {
	f := flamego.NewWithLogger(io.Discard)
	f.Use(flamego.Recovery(), session.Sessioner())
	f.Get("/set", func(r *http.Request, s session.Session) {
		hold(r)
		s.Set(r.FormValue("key"), "value")
		if r.FormValue("panic") != "" {
			panic("on purpose")
		}
	})
	f.Get("/get", func(r *http.Request, s session.Session) string {
		val, _ := session.Value[string](s, r.FormValue("key"))
		return val
	})
	f.Get("/count", func(r *http.Request, s session.Session) {
		hold(r)
		session.Update(s, "n", func(n int) int { return n + 1 })
	})
	f.Get("/counted", func(s session.Session) string { return fmt.Sprint(s.Get("n")) })
	f.Get("/leave", func(s session.Session) { s.SetFlash("message") })
	f.Get("/take", func(r *http.Request, flash session.Flash) string {
		hold(r)
		message, _ := flash.(string)
		return message
	})
	f.Get("/logout", func(w http.ResponseWriter, r *http.Request, s session.Session) error { return session.Destroy(w, r, s) })
	return serve(t, f)
}

func openSCS(t *testing.T, hold func(*http.Request)) string {
	m := scs.New()
	mux := http.NewServeMux()
	mux.HandleFunc("/set", func(_ http.ResponseWriter, r *http.Request) {
		hold(r)
		m.Put(r.Context(), r.FormValue("key"), "value")
		if r.FormValue("panic") != "" {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, m.GetString(r.Context(), r.FormValue("key")))
	})
	mux.HandleFunc("/count", func(_ http.ResponseWriter, r *http.Request) {
		n := m.GetInt(r.Context(), "n")
		hold(r)
		m.Put(r.Context(), "n", n+1)
	})
	mux.HandleFunc("/counted", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.GetInt(r.Context(), "n")) })
	mux.HandleFunc("/leave", func(_ http.ResponseWriter, r *http.Request) { m.Put(r.Context(), "flash", "message") })
	mux.HandleFunc("/take", func(w http.ResponseWriter, r *http.Request) {
		hold(r)
		fmt.Fprint(w, m.PopString(r.Context(), "flash"))
	})
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) { assert.NoError(t, m.Destroy(r.Context())) })
	return serve(t, m.LoadAndSave(mux))
}

func openGorilla(t *testing.T, hold func(*http.Request)) string {
	store := gorilla.NewFilesystemStore(t.TempDir(), []byte("a key of thirty-two bytes, no more"))
	mux := http.NewServeMux()
	handle := func(path string, saves bool, h func(r *http.Request, s *gorilla.Session) any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s, _ := store.Get(r, "session") // the error is for IDs that are not good
			answer := h(r, s)
			if saves {
				assert.NoError(t, s.Save(r, w))
			}
			fmt.Fprint(w, answer)
		})
	}
	handle("/set", true, func(r *http.Request, s *gorilla.Session) any {
		hold(r)
		s.Values[r.FormValue("key")] = "value"
		if r.FormValue("panic") != "" {
			panic(http.ErrAbortHandler)
		}
		return ""
	})
	handle("/get", false, func(r *http.Request, s *gorilla.Session) any {
		val, _ := s.Values[r.FormValue("key")].(string)
		return val
	})
	handle("/count", true, func(r *http.Request, s *gorilla.Session) any {
		hold(r)
		n, _ := s.Values["n"].(int)
		s.Values["n"] = n + 1
		return ""
	})
	handle("/counted", false, func(_ *http.Request, s *gorilla.Session) any { return s.Values["n"] })
	handle("/leave", true, func(_ *http.Request, s *gorilla.Session) any { s.AddFlash("message"); return "" })
	handle("/take", true, func(r *http.Request, s *gorilla.Session) any {
		hold(r)
		for _, message := range s.Flashes() {
			return message
		}
		return ""
	})
	handle("/logout", true, func(_ *http.Request, s *gorilla.Session) any { s.Options.MaxAge = -1; return "" })
	return serve(t, mux)
}

func openFiber(t *testing.T, hold func(*http.Request)) string {
	app := fiber.New()
	app.Use(recover.New(), fibersession.New())
	handle := func(path string, h func(c fiber.Ctx, s *fibersession.Middleware) string) {
		app.Get(path, func(c fiber.Ctx) error { return c.SendString(h(c, fibersession.FromContext(c))) })
	}
	wait := func(c fiber.Ctx) { hold(&http.Request{Form: map[string][]string{"hold": {c.Query("hold")}}}) }
	str := func(val any) string { s, _ := val.(string); return s }
	handle("/set", func(c fiber.Ctx, s *fibersession.Middleware) string {
		wait(c)
		s.Set("key "+c.Query("key"), "value") // copied, as fiber uses the buffer of c.Query again
		if c.Query("panic") != "" {
			panic("on purpose")
		}
		return ""
	})
	handle("/get", func(c fiber.Ctx, s *fibersession.Middleware) string { return str(s.Get("key " + c.Query("key"))) })
	handle("/count", func(c fiber.Ctx, s *fibersession.Middleware) string {
		n, _ := s.Get("n").(int)
		wait(c)
		s.Set("n", n+1)
		return ""
	})
	handle("/counted", func(_ fiber.Ctx, s *fibersession.Middleware) string { return fmt.Sprint(s.Get("n")) })
	handle("/leave", func(_ fiber.Ctx, s *fibersession.Middleware) string { s.Set("flash", "message"); return "" })
	handle("/take", func(c fiber.Ctx, s *fibersession.Middleware) string {
		wait(c)
		message := str(s.Get("flash"))
		s.Delete("flash")
		return message
	})
	handle("/logout", func(_ fiber.Ctx, s *fibersession.Middleware) string {
		assert.NoError(t, s.Destroy())
		return ""
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		assert.NoError(t, app.Shutdown())
		assert.NoError(t, <-ended)
	})
	return "http://" + l.Addr().String()
}

func serve(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
