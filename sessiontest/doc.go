// Package sessiontest is for the tests of apps: it gives a handler a visitor with a session.
//
//	func TestProfile(t *testing.T) {
//		v := sessiontest.New(t, sessions, session.Data{"user_id": 123})
//		w := v.Do(app, httptest.NewRequest(http.MethodGet, "/profile", nil))
//		if w.Code != http.StatusOK || v.Get("visits") != 1 {
//			t.Errorf("status %d, visits %v", w.Code, v.Get("visits"))
//		}
//	}
//
// Here app is the app as it is in production, and sessions is its [session.Manager]: what
// [session.New] returned, and whose Handler the app uses.
//
// # Model
//
// A [Visitor] is a browser without a network. [Visitor.Do] calls the app, with the cookies of the
// visitor, and keeps those of the response. The middleware and the store are those of the app, so the
// name of the cookie, the lifetimes, the types of values and all other options count as in production.
//
// New, Change, Get, Flash and ID reach the session by a request of their own. The middleware of the
// Manager serves it, and the other handlers of the app do not see it. It is "HEAD /", with the cookies
// of all paths. Functions in the options, such as TouchFor, may be called with it. Get and ID only
// look: they leave the session, its expiry and its flash as they are.
//
// The app sees the request that the test has made, and the cookies. RemoteAddr, Origin and the
// Sec-Fetch headers of a browser are there if the test sets them. http.CrossOriginProtection lets
// a request pass that has none. For flamego/csrf, let the visitor GET the form, and send the token
// that is in it: the app keeps it in the session.
//
// # Cookies
//
// Path, Max-Age and Expires count. Domain, Secure and SameSite do not: the requests of package httptest
// are for http://example.com, and get all cookies as if that were the app's own domain, with HTTPS.
// [Visitor.Cookies] shows the attributes that the app has set.
//
// # Session IDs in a header
//
// With Options.ReadIDFunc and Options.WriteIDFunc, Do sends the session ID in the headers that it
// came in, such as "X-Session-ID: ID", and as "Authorization: Bearer ID". If the app reads it
// elsewhere, the test puts it there:
//
//	r := httptest.NewRequest(http.MethodGet, "/profile?token="+v.ID(), nil)
//
// ID is up to date also when the app hands out the ID in the body of a response.
//
// # Time
//
// Within a bubble of package testing/synctest, sessions expire in no time. Make the Manager inside
// of the bubble, with the memory store, and close it there: it runs a goroutine.
//
// # Limits
//
// A handler that takes over the connection, as for a WebSocket, cannot do so in Do. It needs the
// server of package httptest, and Cookies has what its client must send. Of a handler that panics,
// Do keeps no cookie. The sessions of the visitors stay in the store until they expire.
//
// With ID functions of the app, a new ID is not noticed if the app calls RegenerateID without the
// request, or if the handler of Do is a proxy that makes another request of it.
package sessiontest
