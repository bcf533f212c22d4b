package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

func (a *app) signUpPage(v *view) { v.show("signup.html") }

func (a *app) signUp(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, v *view) {
	v.Name = r.PostFormValue("name")
	u, err := a.users.add(r.Context(), v.Name, r.PostFormValue("password"))
	if err != nil {
		v.showAgain("signup.html", err)
		return
	}
	if _, err := begin(w, r, s, u); err != nil {
		v.fail(err)
		return
	}
	s.SetFlash("Welcome, " + u.Name + ". Your account is made.")
	c.Redirect("/", http.StatusSeeOther)
}

func (a *app) signInPage(v *view) { v.show("signin.html") }

func (a *app) signIn(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, v *view) {
	v.Name = r.PostFormValue("name")
	// A real app limits how often a password may be tried.
	u, err := a.users.check(r.Context(), v.Name, r.PostFormValue("password"))
	if err != nil {
		v.showAgain("signin.html", err)
		return
	}
	to, err := begin(w, r, s, u)
	if err != nil {
		v.fail(err)
		return
	}
	s.SetFlash("Welcome back, " + u.Name + ".")
	c.Redirect(to, http.StatusSeeOther)
}

// begin makes the session that of a user who has just given the password. It returns the path
// of the page that the visitor had asked for before.
func begin(w http.ResponseWriter, r *http.Request, s session.Session, u user) (to string, err error) {
	to = returnTo(s)
	// Nothing stays of another user who was signed in here.
	s.Flush()
	// Whoever knows the ID from before, because of having planted it, is not signed in by it.
	if err := s.RegenerateID(w, r); err != nil {
		return "", err
	}
	// In any case, as Flush and a new ID leave the lifetime alone: zero takes back what a
	// sign-in with "remember me" has set.
	remember := r.PostFormValue("remember") != ""
	lifetime := time.Duration(0)
	if remember {
		lifetime = rememberLifetime
	}
	if err := session.SetLifetime(s, lifetime); err != nil {
		return "", err
	}
	s.Set(keyUser, u.ID)
	s.Set(keyCredentials, u.Credentials) // of the row whose password was checked, not of a later one
	s.Set(keyDevice, deviceName(r.UserAgent()))
	s.Set(keyRemembered, remember)
	return to, nil
}

// returnTo takes the page to show after a password out of the session.
func returnTo(s session.Session) string {
	if to, ok := session.Pop[string](s, keyReturnTo); ok {
		return to
	}
	return "/"
}

// signOut begins a new session for the flash, as session.Destroy would leave no session to keep
// it in. Either way the old ID is dead, in all tabs.
func (a *app) signOut(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, v *view) {
	s.Flush()
	if err := s.RegenerateID(w, r); err != nil {
		v.fail(err)
		return
	}
	if err := session.SetLifetime(s, 0); err != nil { // not that of a remembered one
		v.fail(err)
		return
	}
	s.SetFlash("You are signed out.")
	c.Redirect("/signin", http.StatusSeeOther)
}

func (a *app) passwordPage(v *view) { v.show("password.html") }

func (a *app) changePassword(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, store session.Store, v *view) {
	if !a.users.hasPassword(*v.User, r.PostFormValue("current")) {
		v.showAgain("password.html", errCurrent)
		return
	}
	u, err := a.users.setPassword(r.Context(), *v.User, r.PostFormValue("password"))
	if err != nil {
		v.showAgain("password.html", err)
		return
	}
	if err := s.RegenerateID(w, r); err != nil {
		v.fail(err)
		return
	}
	// The new version has signed out all other sessions, also one whose sign-in has checked the
	// old password and is not stored yet. EndOwned then removes those that are stored. It is not
	// given up if the visitor closes the page meanwhile, and if it fails they expire.
	s.Set(keyCredentials, u.Credentials)
	if _, err := session.EndOwned(context.WithoutCancel(r.Context()), store, u.ID, s); err != nil {
		log.Print(err)
	}
	s.SetFlash("Your password is changed. All other devices are signed out.")
	c.Redirect("/", http.StatusSeeOther)
}
