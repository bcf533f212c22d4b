package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flamego/flamego"

	"github.com/flamego/session"
)

// devices shows the sessions of the user.
func (a *app) devices(r *http.Request, s session.Session, store session.Store, v *view) {
	devices, err := session.Owned(r.Context(), store, v.User.ID)
	if err != nil {
		v.fail(err)
		return
	}
	// A sign-in that was too late for a new password has a session, and is signed out.
	devices = slices.DeleteFunc(devices, func(d session.Info) bool { return d.Data[keyCredentials] != v.User.Credentials })
	// A handle names a session in forms. Unlike an ID it is no use to somebody who steals it.
	v.Data = map[string]any{"Devices": devices, "This": session.Handle(s)}
	v.show("devices.html")
}

func (a *app) endDevice(c flamego.Context, r *http.Request, s session.Session, store session.Store, v *view) {
	handle := r.PostFormValue("handle")
	this := handle == session.Handle(s)
	// The owner is given, so a handle of somebody else's session ends nothing.
	ended, err := session.End(context.WithoutCancel(r.Context()), store, v.User.ID, handle)
	switch {
	case err != nil:
		v.fail(err)
		return
	case this: // ended as by session.Destroy, so there is nobody to keep a flash for
		c.Redirect("/signin", http.StatusSeeOther)
		return
	case ended:
		s.SetFlash("The device is signed out.")
	default:
		s.SetFlash("That device was signed out already.")
	}
	c.Redirect("/devices", http.StatusSeeOther)
}

func (a *app) endOtherDevices(c flamego.Context, r *http.Request, s session.Session, store session.Store, v *view) {
	ended, err := session.EndOwned(context.WithoutCancel(r.Context()), store, v.User.ID, s)
	if err != nil {
		v.fail(err)
		return
	}
	s.SetFlash(othersSignedOut(ended))
	c.Redirect("/devices", http.StatusSeeOther)
}

// othersSignedOut says how many other sessions were ended.
func othersSignedOut(n int) string {
	switch n {
	case 0:
		return "No other device was signed in."
	case 1:
		return "One other device is signed out."
	}
	return fmt.Sprintf("%d other devices are signed out.", n)
}

// confirmed lets those pass who have given the password lately: whoever finds a browser that is
// signed in cannot sign out its owner. The app renews the ID only after a check of the password,
// and at a sign-out. So IssuedAt is the time of the last check.
func confirmed(c flamego.Context, s session.Session, v *view) {
	if time.Since(session.IssuedAt(s)) < confirmLifetime {
		return
	}
	s.Set(keyReturnTo, "/devices") // what was posted is lost: the visitor presses the button again
	v.redirect(c, s, "/confirm")
}

func (a *app) confirmPage(v *view) { v.show("confirm.html") }

func (a *app) confirm(c flamego.Context, w http.ResponseWriter, r *http.Request, s session.Session, v *view) {
	// A real app limits how often a password may be tried.
	if !a.users.hasPassword(*v.User, r.PostFormValue("current")) {
		v.showAgain("confirm.html", errCurrent)
		return
	}
	if err := s.RegenerateID(w, r); err != nil { // from now on IssuedAt is now
		v.fail(err)
		return
	}
	s.SetFlash("Thank you. You can go on now.")
	c.Redirect(returnTo(s), http.StatusSeeOther)
}

// deviceName returns what the list of the devices calls a browser: "Firefox on Linux", or what
// the browser says of itself.
func deviceName(agent string) string {
	// Edge and Opera say that they are Chrome, and Chrome that it is Safari.
	browser := firstIn(agent, "Edg", "Edge", "OPR", "Opera", "Firefox", "Firefox", "Chrome", "Chrome", "Safari", "Safari", "curl", "curl")
	system := firstIn(agent, "Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Windows", "Windows", "Mac OS", "macOS", "CrOS", "ChromeOS", "Linux", "Linux")
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case agent == "":
		return "Unknown device"
	}
	const most = 40 // bytes: a client may say as much as it likes
	return cmp.Or(browser, strings.ToValidUTF8(agent[:min(len(agent), most)], ""))
}

// firstIn returns the name of the first mark that is in the text. Marks and names take turns.
func firstIn(text string, pairs ...string) string {
	for pair := range slices.Chunk(pairs, 2) {
		if strings.Contains(text, pair[0]) {
			return pair[1]
		}
	}
	return ""
}
