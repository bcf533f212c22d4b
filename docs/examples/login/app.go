package main

import (
	"database/sql"
	"errors"
	"io/fs"
	"log"
	"net/http"
	"path"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

const (
	idleLifetime     = 30 * time.Minute    // without a request
	rememberLifetime = 30 * 24 * time.Hour // the same, after "remember me"
	maxLifetime      = 90 * 24 * time.Hour // however much the session is used
	confirmLifetime  = 10 * time.Minute    // after which some pages ask for the password again
)

// The keys of a session. It has the ID of the user and nothing that is in the table of the
// users: a name that is copied here would be an old one some day.
const (
	keyUser        = "user_id"     // int64
	keyCredentials = "credentials" // int64, the version of the password
	keyDevice      = "device"      // string
	keyRemembered  = "remembered"  // bool
	keyVisits      = "visits"      // int
	keyReturnTo    = "return_to"   // string, the page to show after a password
)

// sessionOptions returns the options of the sessions, but for the store.
func sessionOptions(https bool) session.Options {
	opts := session.Options{
		Cookie: session.CookieOptions{
			// A visitor who only looks at the sign-in page has no cookie.
			WhenStored: true,
		},
		// 129 bits, as the default of 16 characters has 82. OWASP ASVS 5 asks for 128 (7.2.3).
		IDLength:    25,
		MaxLifetime: maxLifetime,
		// What is stored for a visitor who never comes back, as a bot, is soon gone.
		FirstLifetime: 10 * time.Minute,
		// With these the app finds the sessions of a user. An eleventh sign-in ends the oldest.
		OwnerKey: keyUser,
		MaxOwned: 10,
		// The visitor gets a page, and the log says why.
		FailFunc: func(w http.ResponseWriter, _ *http.Request) {
			(&view{w: w}).showError(http.StatusInternalServerError)
		},
		ErrorFunc: func(err error) { log.Print(err) },
	}
	if https {
		opts.Cookie.Secure = true
		// Browsers take a cookie of such a name only from this very host, and by HTTPS.
		opts.Cookie.Name = "__Host-session"
	}
	return opts
}

// app has what its handlers need.
type app struct {
	users *users
	store string // the value of -store
}

// newApp returns the app with its middleware and its addresses.
func newApp(people *users, sessions *session.Manager, store string) *flamego.Flame {
	a := &app{users: people, store: store}
	// In the default, "development", the page of a panic shows code and the stack to strangers.
	// The log has them in any case.
	flamego.SetEnv(flamego.EnvTypeProd)
	f := flamego.New()
	f.AutoHead(true) // what answers GET answers HEAD
	f.Use(flamego.Recovery())
	f.Use(setHeaders)
	// Before the sessions: these files are the same for all visitors, so caches may keep them.
	f.Use(flamego.Static(flamego.StaticOptions{
		FileSystem:   http.FS(static()),
		Prefix:       "static",
		CacheControl: func() string { return "public, max-age=300" },
	}))
	// Before the sessions, too: a form that another site has posted is refused before anything
	// is loaded or changed.
	f.Use(refuseCrossOrigin())
	f.Use(readForm)
	f.Use(sessions.Handler())
	f.Use(newView)
	f.Use(a.loadUser)

	f.Get("/", signedIn, a.home)
	f.Get("/session", signedIn, a.sessionPage)
	f.Get("/signup", signedOut, a.signUpPage)
	f.Post("/signup", a.signUp)
	f.Get("/signin", signedOut, a.signInPage)
	f.Post("/signin", a.signIn)
	f.Post("/signout", signedIn, a.signOut)
	f.Get("/password", signedIn, a.passwordPage)
	f.Post("/password", signedIn, a.changePassword)
	f.Get("/confirm", signedIn, a.confirmPage)
	f.Post("/confirm", signedIn, a.confirm)
	f.Get("/devices", signedIn, a.devices)
	f.Post("/devices/end", signedIn, confirmed, a.endDevice)
	f.Post("/devices/end-others", signedIn, confirmed, a.endOtherDevices)
	f.NotFound(func(v *view) { v.showError(http.StatusNotFound) })
	return f
}

// setHeaders sets the headers that all responses have.
func setHeaders(w http.ResponseWriter) {
	h := w.Header()
	// The pages have styles and an icon, and forms that post to this site. Nothing else loads,
	// and no other site can show them in a frame.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not "no-referrer": with that, browsers post the forms of this very site with "Origin: null",
	// which looks like another site where they send no Sec-Fetch-Site, that is without HTTPS.
	h.Set("Referrer-Policy", "same-origin")
}

// refuseCrossOrigin is the protection against forms of other sites (CSRF). It goes by the headers
// Sec-Fetch-Site and Origin, so the forms need no token. (Behind a proxy that changes Host, tell
// it the address that visitors see, by AddTrustedOrigin.)
func refuseCrossOrigin() flamego.Handler {
	protection := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		if err := protection.Check(r); err != nil {
			log.Printf("%s %q: %v", r.Method, r.URL.Path, err) // quoted, as it may have line breaks
			(&view{w: w}).showError(http.StatusForbidden)
		}
	}
}

// readForm reads the form of a request, within a limit: without one, anybody could fill the memory and
// the disk.
func readForm(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		return
	}
	const most = 64 << 10 // bytes
	r.Body = http.MaxBytesReader(w, r.Body, most)
	err := r.ParseForm()
	if err == nil { // a form of several parts is not read yet
		if err = r.ParseMultipartForm(most); errors.Is(err, http.ErrNotMultipart) {
			err = nil
		}
	}
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		(&view{w: w}).showError(http.StatusRequestEntityTooLarge)
	case err != nil:
		(&view{w: w}).showError(http.StatusBadRequest)
	}
}

// loadUser finds out who is signed in: somebody who knows the password that the user has now.
func (a *app) loadUser(r *http.Request, s session.Session, v *view) {
	id, ok := session.Value[int64](s, keyUser)
	if !ok {
		return
	}
	credentials, _ := session.Value[int64](s, keyCredentials)
	u, err := a.users.load(r.Context(), id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		v.fail(err)
	case u.Credentials == credentials:
		v.User = &u
		// The session of somebody with an old password is not destroyed here: it may be that of
		// the device that is just changing the password, by another request.
	}
}

// signedIn lets those pass who are signed in.
func signedIn(c flamego.Context, r *http.Request, s session.Session, v *view) {
	if v.User != nil {
		return
	}
	if r.Method == http.MethodGet && r.URL.Path != "/" {
		s.Set(keyReturnTo, path.Clean(r.URL.EscapedPath())) // as "//devices", or "/\devices", would be a host
	}
	v.redirect(c, s, "/signin")
}

// signedOut lets those pass who are not signed in.
func signedOut(c flamego.Context, s session.Session, v *view) {
	if v.User != nil {
		v.redirect(c, s, "/")
	}
}

func static() fs.FS {
	sub, err := fs.Sub(web, "web/static")
	if err != nil {
		panic(err) // cannot happen: the path is a constant
	}
	return sub
}
