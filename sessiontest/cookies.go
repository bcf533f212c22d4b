package sessiontest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// jar holds the cookies of one visitor of one site. Unlike net/http/cookiejar it looks at the path
// and the expiry only: a test has neither the domain of the app nor HTTPS.
type jar []stored

type stored struct {
	http.Cookie
	ends time.Time // zero for at the end of the test
}

// keep takes the cookies of a response to a request for the path.
func (j *jar) keep(cookies []*http.Cookie, path string) {
	for _, c := range cookies {
		s := stored{Cookie: *c, ends: c.Expires}
		if !strings.HasPrefix(s.Path, "/") {
			s.Path = "/"
			if i := strings.LastIndexByte(path, '/'); i > 0 {
				s.Path = path[:i]
			}
		}
		if c.MaxAge != 0 {
			s.ends = time.Now().Add(time.Duration(min(c.MaxAge, 1<<30)) * time.Second)
		}
		same := func(old stored) bool {
			return old.Name == s.Name && old.Path == s.Path && old.Domain == s.Domain
		}
		*j = append(slices.DeleteFunc(*j, same), s)
	}
}

// all returns the cookies that have not expired.
func (j *jar) all() (cookies []*http.Cookie) {
	now := time.Now()
	*j = slices.DeleteFunc(*j, func(s stored) bool { return !s.ends.IsZero() && !now.Before(s.ends) })
	for _, s := range *j {
		cookies = append(cookies, &s.Cookie)
	}
	return cookies
}

// addTo adds the cookies to a request that are for its path, or all of them, those with longer paths
// first. A cookie that the request has itself stays the only one of its name.
func (j *jar) addTo(r *http.Request, all bool) {
	cookies, own := j.all(), r.Cookies()
	slices.SortStableFunc(cookies, func(a, b *http.Cookie) int { return len(b.Path) - len(a.Path) })
	for _, c := range cookies {
		hasOwn := slices.ContainsFunc(own, func(o *http.Cookie) bool { return o.Name == c.Name })
		if !hasOwn && (all || isBelow(c.Path, r.URL.Path)) {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value, Quoted: c.Quoted})
		}
	}
}

// isBelow reports whether a cookie with the first path is sent to the second one, as RFC 6265 has it in
// section 5.1.4.
func isBelow(folder, path string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(folder, "/"))
}
