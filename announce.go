package session

import (
	"net/http"
	"time"
)

// What the client is told of its session: by the cookie, in the header of the response,
// which also tells caches whose response it is.
//
// The cookie of one response may replace, in the browser, what another response has just
// set. So a request that stores nothing sends a cookie only where nobody can have a
// better one, and what is sent is settled as late as possible.

// announcement is what one request tells its client.
type announcement struct {
	clientID string // the ID that the client has: it came with it, or a header has left with it
	offered  bool   // the client is sent its ID though nothing is stored under it
	refresh  bool   // the session lives longer now, and so should the cookie
	expires  bool   // our cookie in the response is one that expires
	sealed   bool   // it is too late for another header

	// clientCustom is the custom lifetime that the session had when the client was sent the
	// cookie, as far as is known. It is in seconds, which fit beside the others.
	clientCustom int32

	// Room for values of headers, which saves allocations.
	cookieRoom, setRoom, varyRoom, cacheRoom [1]string
}

// introduce tells the client the ID of its session, before the handlers. A new ID comes with
// its line of Set-Cookie.
func (rq *request) introduce(r *http.Request, line string) {
	m, w := rq.m, rq.Context.ResponseWriter()
	if rq.created {
		m.issued.add(rq.lastID)
	}
	switch {
	case !m.writesCookie:
		m.opts.WriteIDFunc(w, r, rq.lastID, rq.created)
	case !rq.created:
		rq.clientID = rq.lastID
		rq.clientCustom = seconds(rq.customLifetime())
	default:
		m.cookie.putInRequest(r, line, rq.cookieRoom[:0])
		switch {
		case m.cookie.WhenStored:
		case rq.unknown != nil:
			rq.offered = isPage(r) // of many requests for its parts none must replace what the page got
		default:
			rq.offered = !m.readsCookie || !m.cookie.isHeldBack(r)
		}
		if rq.offered {
			m.cookie.replace(w.Header(), line, rq.setRoom[:0])
		}
	}
}

// isPage reports whether the request is for a page, rather than for a part of one. A
// client that does not say is taken to ask for a page.
func isPage(r *http.Request) bool {
	mode := r.Header["Sec-Fetch-Mode"]
	return len(mode) == 0 || mode[0] == "navigate"
}

// isHeldBack reports whether the browser may have the cookie and not have sent it, because
// the request comes from another site (RFC 6265bis, section 5.8.3; Fetch Metadata). Such
// a request looks like that of a new visitor.
func (c *cookie) isHeldBack(r *http.Request) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) == 0 || site[0] != "cross-site" {
		return false
	}
	switch c.SameSite {
	case http.SameSiteNoneMode:
		return false
	case http.SameSiteStrictMode:
		return true
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
	default:
		return true
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "fencedframe", "embed", "object":
		return true
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// isKnown reports whether the client has the ID of the session, or may still be sent it.
func (rq *request) isKnown(now view) bool {
	return !rq.sealed || now.ended || !rq.m.writesCookie || rq.clientID == now.sid
}

// announce sets the cookie in the response as the session now is. It is called by those
// who write the response, with the lock of the request.
func (rq *request) announce(now view) {
	m := rq.m
	if !m.writesCookie || rq.sealed {
		return
	}
	hasCookie := now.sid == rq.clientID && seconds(now.custom) == rq.clientCustom
	if told := hasCookie || rq.offered && !rq.stored(); told && !rq.refresh && !now.destroyed {
		return // there is nothing new
	}
	h := rq.Context.ResponseWriter().Header()
	switch {
	case now.destroyed && rq.created && !rq.offered:
		m.cookie.drop(h) // the browser may have the cookie of a session that this is not
	case now.destroyed:
		m.cookie.expire(h)
		rq.expires = true
	case !rq.stored():
		// An ID with nothing under it must not replace that of a session. It is taken
		// back, unless the client is new.
		if now.sid != rq.clientID && !rq.offered {
			m.cookie.drop(h)
		}
	case !hasCookie:
		m.cookie.write(h, now.sid, now.custom)
	case rq.refresh && m.isRefreshDue(now):
		// Since the session was read others may have ended it, or given it another ID or lifetime.
		custom, live := now.custom, now.changed // a change has just been saved
		if !live {
			custom, live = m.adapter.lookUp(rq.uncancelled(), now.sid)
		}
		if live {
			m.cookie.write(h, now.sid, custom)
		}
	}
	rq.refresh = false
}

// isRefreshDue reports whether the cookie has a Max-Age that is to be counted anew.
func (m *Manager) isRefreshDue(now view) bool {
	age := m.cookie.maxAge(now.custom)
	return age > 0 && !m.sent.hasSince(now.sid, refreshAfter(age))
}

func seconds(d time.Duration) int32 { return int32(d / time.Second) }

// withdraw takes back a new ID that is undone. The caller has the lock of the request.
func (rq *request) withdraw(begun bool) {
	m := rq.m
	if begun || !m.writesCookie || rq.sess.ID() == rq.lastID {
		return
	}
	h := rq.Context.ResponseWriter().Header()
	m.cookie.drop(h)
	line := m.cookie.line(rq.lastID, 0)
	m.cookie.putInRequest(rq.Request().Request, line, nil)
	if rq.offered {
		m.cookie.replace(h, line, nil)
	}
}

// seal settles the header of the response, as late as possible: only now is it known
// what the app says to caches.
func (rq *request) seal() {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	h := rq.Context.ResponseWriter().Header()
	if rq.refresh && !rq.closed && !rq.failed { // a goroutine has saved since the commit
		rq.announce(rq.m.adapter.view(&rq.requestSession))
	}
	rq.sealCookie(h)
	if rq.m.readsCookie && !variesByCookie(h) {
		addTo(h, "Vary", "Cookie", rq.varyRoom[:0])
	}
	rq.sealed = true
}

// sealCookie sees to it that no cache hands the cookie to somebody else: a response with
// it is for one visitor only, and no shared cache may keep it (RFC 9111, section 7.3). A
// cookie with nothing behind it gives way to the cache.
func (rq *request) sealCookie(h http.Header) {
	m := rq.m
	if !m.writesCookie || !m.cookie.isIn(h) {
		return
	}
	sharing := sharingOf(h)
	gone := rq.sess == nil || rq.expires
	if sharing.may && !rq.stored() && !gone {
		m.cookie.drop(h)
		return
	}
	sharing.keepPrivate(h, rq.cacheRoom[:0])
	if gone {
		return
	}
	rq.clientID = rq.sess.ID()
	if m.cookie.maxAge(rq.customLifetime()) > 0 {
		m.sent.addNow(rq.clientID)
	}
}
