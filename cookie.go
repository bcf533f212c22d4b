package session

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// CookieOptions configures the cookie that carries the session ID.
type CookieOptions struct {
	// Name is the name of the cookie. Default is "flamego_session".
	Name string
	// Path is the path the cookie is sent to. Default is "/".
	Path string
	// Domain is the domain the cookie is sent to. Default is the host of the
	// request only.
	Domain string
	// MaxAge is how long the browser keeps the cookie, in seconds. More than 400 days are cut
	// to that, as browsers do (RFC 6265bis). When the session is changed or extended in the
	// store, the cookie is sent again and its time begins anew, but at most once in a sixtieth
	// of MaxAge or in a minute, whichever is shorter. Default is to keep the cookie until the
	// browser is closed.
	MaxAge int
	// Secure keeps the cookie off unencrypted connections. Default is false.
	Secure bool
	// HTTPOnly is ignored, and stands here for old callers: the cookie is HttpOnly
	// unless AllowScript is set. Default is true.
	HTTPOnly bool
	// SameSite tells on which requests from other sites the cookie is sent.
	// Default is http.SameSiteLaxMode.
	SameSite http.SameSite
	// Partitioned keys the cookie to the top-level site it was set under
	// (CHIPS), for a page that other sites embed. It needs Secure. Default is
	// false.
	Partitioned bool
	// WhenStored sends the cookie only once something is stored in the session, so a visitor
	// for whom nothing is stored has no cookie. A cookie of a session that has ended then stays
	// in the browser until there is another one. Default is false: a visitor without an ID gets
	// the cookie with the first response.
	WhenStored bool
	// AllowScript lets scripts of the page read the cookie, by leaving HttpOnly
	// out. Default is false.
	AllowScript bool
}

// maxCookieAge is 400 days in seconds.
const maxCookieAge = 400 * 24 * 60 * 60

func (o CookieOptions) withDefaults() CookieOptions {
	if o.Name == "" {
		o.Name = "flamego_session"
	}
	if o.Path == "" {
		o.Path = "/"
	}
	if o.SameSite == 0 {
		o.SameSite = http.SameSiteLaxMode
	}
	o.HTTPOnly = !o.AllowScript
	o.MaxAge = min(o.MaxAge, maxCookieAge)
	return o
}

// check returns an error for a cookie that browsers refuse.
func (o CookieOptions) check() error {
	if err := o.cookie("x").Valid(); err != nil {
		return fmt.Errorf("cookie: %w", err)
	}
	// Browsers take these prefixes in any case.
	name := strings.ToLower(o.Name)
	host := strings.HasPrefix(name, "__host-")
	http1 := strings.HasPrefix(name, "__http-") || strings.HasPrefix(name, "__host-http-")
	switch {
	case host && (o.Domain != "" || o.Path != "/" || !o.Secure):
		return errors.New(`cookie: the prefix "__Host-" needs Secure, Path "/" and no Domain`)
	case strings.HasPrefix(name, "__secure-") && !o.Secure:
		return errors.New(`cookie: the prefix "__Secure-" needs Secure`)
	case http1 && (!o.Secure || o.AllowScript):
		return errors.New(`cookie: the prefixes "__Http-" and "__Host-Http-" need Secure and forbid AllowScript`)
	case o.SameSite == http.SameSiteNoneMode && !o.Secure:
		return errors.New("cookie: SameSite=None needs Secure")
	case o.MaxAge < 0:
		return fmt.Errorf("cookie: MaxAge is %d, a cookie that is deleted at once", o.MaxAge)
	}
	return nil
}

// correct leaves out what net/http and browsers would not take, and returns what is to be
// said about that, and about what browsers take otherwise.
func (o *CookieOptions) correct() (warnings []error) {
	if o.Domain != "" && (&http.Cookie{Name: "n", Value: "x", Domain: o.Domain}).Valid() != nil {
		warnings = append(warnings, fmt.Errorf("session: cookie: the Domain %q is none, and left out: the cookie is for the host of the request only", o.Domain))
		o.Domain = ""
	}
	if !strings.HasPrefix(o.Path, "/") {
		warnings = append(warnings, fmt.Errorf("session: cookie: the Path %q does not begin with a slash: browsers take the folder of the request instead", o.Path))
	}
	if o.SameSite < http.SameSiteDefaultMode || o.SameSite > http.SameSiteNoneMode {
		warnings = append(warnings, fmt.Errorf("session: cookie: SameSite is %d, which is no mode, and left out: browsers take Lax", o.SameSite))
		o.SameSite = http.SameSiteDefaultMode
	}
	return warnings
}

func (o CookieOptions) cookie(sid string) *http.Cookie {
	return &http.Cookie{
		Name:        o.Name,
		Value:       sid,
		Path:        o.Path,
		Domain:      o.Domain,
		MaxAge:      o.MaxAge,
		Secure:      o.Secure,
		HttpOnly:    o.HTTPOnly,
		SameSite:    o.SameSite,
		Partitioned: o.Partitioned,
	}
}

// cookie is the cookie in the responses of a Manager.
type cookie struct {
	CookieOptions
	head, tail string        // what stands around an ID
	most       time.Duration // the longest lifetime of its own that a session may have
}

func newCookie(o CookieOptions, maxLifetime time.Duration) *cookie {
	c := &cookie{CookieOptions: o, head: o.Name + "=", most: maxCookieAge * time.Second}
	c.tail = strings.TrimPrefix(o.cookie("").String(), c.head)
	if maxLifetime > 0 {
		c.most = min(c.most, maxLifetime)
	}
	return c
}

// value returns the value of our cookie if the part of a Cookie header is one. It
// takes what package net/http takes, without allocating anything for the cookies of
// others. (Only spaces before the "=" are not taken; no browser sends any.)
func (c *cookie) value(part string) (string, bool) {
	part = strings.Trim(part, " \t")
	val, ok := strings.CutPrefix(part, c.head)
	if !ok {
		return "", part == c.Name
	}
	if n := len(val); n > 1 && val[0] == '"' && val[n-1] == '"' {
		val = val[1 : n-1]
	}
	return val, true
}

// withNewID returns a new ID and its line of Set-Cookie.
func (c *cookie) withNewID(length int) (line, sid string, err error) {
	sid, line, err = newIDBetween(c.head, c.tail, length)
	return line, sid, err
}

// line returns the cookie as a line of Set-Cookie, for a session that has a lifetime of its
// own or, if that is zero, the usual one.
func (c *cookie) line(sid string, custom time.Duration) string {
	if custom == 0 && checkSID(sid) == nil { // else it is one of a store of another make
		return c.head + sid + c.tail
	}
	o := c.cookie(sid)
	o.MaxAge = c.maxAge(custom)
	return o.String()
}

// maxAge is how many seconds the browser keeps the cookie of such a session, 0 for until it is
// closed.
func (c *cookie) maxAge(custom time.Duration) int {
	if custom == 0 {
		return c.MaxAge
	}
	return int(min(custom, c.most) / time.Second)
}

// write sets the cookie of such a session in the response, in place of one of our name that is
// there already.
func (c *cookie) write(h http.Header, sid string, custom time.Duration) {
	for _, line := range h["Set-Cookie"] {
		if rest, ok := strings.CutPrefix(line, c.head); ok && custom == 0 && strings.HasPrefix(rest, sid) && rest[len(sid):] == c.tail {
			return
		}
	}
	c.replace(h, c.line(sid, custom), nil)
}

// putInRequest makes the cookie of a Set-Cookie line one of the request, in place of
// those of our name: handlers that look there, and proxies, find the new ID. The list
// has room for a line; it may be nil.
func (c *cookie) putInRequest(r *http.Request, setCookie string, room []string) {
	pair, _, _ := strings.Cut(setCookie, ";")
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	h := r.Header
	lines := h["Cookie"]
	if len(lines) == 0 {
		h["Cookie"] = append(room, pair)
		return
	}
	kept := make([]string, 0, len(lines)+1)
	for _, line := range lines {
		var parts []string
		for part := range strings.SplitSeq(line, ";") {
			part = strings.Trim(part, " \t")
			if _, ours := c.value(part); ours { // the first becomes ours, the others go
				part = pair
				pair = ""
			}
			if part != "" {
				parts = append(parts, part)
			}
		}
		if len(parts) > 0 {
			kept = append(kept, strings.Join(parts, "; "))
		}
	}
	switch {
	case pair == "":
	case len(kept) == 0:
		kept = append(kept, pair)
	default:
		kept[0] += "; " + pair
	}
	h["Cookie"] = kept
}

// expire tells the browser to delete the cookie.
func (c *cookie) expire(h http.Header) {
	gone := c.cookie("")
	gone.MaxAge = -1
	c.replace(h, gone.String(), nil)
}

// drop takes our Set-Cookie back.
func (c *cookie) drop(h http.Header) {
	kept := slices.DeleteFunc(h["Set-Cookie"], c.isLine)
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// replace makes the line the one that sets our cookie. The list has room for it; it may be nil.
func (c *cookie) replace(h http.Header, line string, room []string) {
	if c.isIn(h) {
		c.drop(h)
	}
	addTo(h, "Set-Cookie", line, room)
}

// addTo adds a line to a header. If the header has none, the line goes into the room.
func addTo(h http.Header, key, line string, room []string) {
	if lines := h[key]; len(lines) > 0 {
		room = lines
	}
	h[key] = append(room, line)
}

// isIn reports whether the response sets the cookie.
func (c *cookie) isIn(h http.Header) bool {
	for _, line := range h["Set-Cookie"] {
		if c.isLine(line) {
			return true
		}
	}
	return false
}

// isLine reports whether the line of a Set-Cookie is ours.
func (c *cookie) isLine(line string) bool {
	return strings.HasPrefix(line, c.head)
}

// sentCookies knows to which IDs cookies with a Max-Age were sent lately. It takes no memory
// before there is one.
type sentCookies struct{ ids atomic.Pointer[recentIDs] }

func (s *sentCookies) addNow(sid string) {
	if s.ids.Load() == nil {
		s.ids.CompareAndSwap(nil, newRecentIDs(recentPlaces))
	}
	s.ids.Load().addNow(sid)
}

func (s *sentCookies) hasSince(sid string, d time.Duration) bool {
	ids := s.ids.Load()
	return ids != nil && ids.hasSince(sid, d)
}

// refreshAfter is how long ago a cookie with a Max-Age, in seconds, must have been sent for it
// to be sent again.
func refreshAfter(maxAge int) time.Duration {
	return min(time.Duration(maxAge)*time.Second/60, time.Minute)
}
