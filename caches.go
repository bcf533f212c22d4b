package session

import (
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a response tells caches (RFC 9111). A response with our cookie is for one visitor
// only: a shared cache that keeps it hands the ID of that visitor to others.

// sharing is what a response says about shared caches.
type sharing struct {
	may     bool // they may keep it
	private bool // Cache-Control says that they must not: by private or no-store
	aged    bool // Cache-Control has a max-age
	edit    bool // there is something that must go from a response for one visitor
	odd     bool // Cache-Control has quotes that caches may read in different ways
}

// sharingOf reads the header of a response. An app may have written the names in any case.
func sharingOf(h http.Header) (s sharing) {
	// Often there are no other headers than these. To go through a map takes longer.
	plain := 0
	for _, name := range [...]string{"Set-Cookie", "Content-Type", "Vary"} {
		if h[name] != nil {
			plain++
		}
	}
	if plain == len(h) {
		return s
	}
	given, expires := false, ""
	for name, lines := range h {
		switch { // most names are told by their length
		case len(name) == len("Expires") && strings.EqualFold(name, "Expires") && len(lines) > 0:
			expires = lines[0]
		case len(name) < len(cacheControl):
		case strings.EqualFold(name, cacheControl):
			given = s.read(lines) || given
			s.edit = s.edit || name != cacheControl
		case isForSharedCaches(name, lines):
			s.edit, s.may = true, true
		}
	}
	if expires != "" && !s.aged { // max-age overrules it
		at, err := http.ParseTime(expires)
		given = given || err == nil && at.After(time.Now())
	}
	s.may = s.may || s.odd || given && !s.private
	return s
}

const cacheControl = "Cache-Control"

// isForSharedCaches reports whether a header lets some shared caches keep the response,
// whatever Cache-Control says: those that are for a CDN (RFC 9213) and their like.
func isForSharedCaches(name string, lines []string) bool {
	const suffix = "-Cache-Control"
	n := len(name) - len(suffix)
	switch {
	case n > 0 && strings.EqualFold(name[n:], suffix), strings.EqualFold(name, "Surrogate-Control"):
		var s sharing
		return s.read(lines) && !s.private || s.odd
	case strings.EqualFold(name, "X-Accel-Expires"):
		return len(lines) > 0 && lines[0] != "0" && lines[0] != "off"
	}
	return false
}

// read reads the lines of Cache-Control. It reports whether they permit caches to keep the
// response: by public, s-maxage, or a max-age that is not over at once. What permits is read in a
// generous way, and what forbids only to the letter.
func (s *sharing) read(lines []string) (given bool) {
	for _, line := range lines {
		if strings.Count(line, `"`)%2 != 0 || strings.Contains(line, `\`) {
			s.odd, s.edit = true, true
		}
		for d := range directives(line) {
			switch name, value := nameOf(d); name {
			case "no-store", "private": // with a value, private is about some headers only
				s.private = s.private || len(d) == len(name)
			case "public", "s-maxage":
				s.edit, given = true, true
			case "max-age":
				seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 64) // the most, if it is too large
				valid := !errors.Is(err, strconv.ErrSyntax)
				s.aged = s.aged || valid
				given = given || valid && seconds > 0
			}
		}
	}
	return given
}

// directives yields the directives of a line: what is between commas that are not
// between quotes.
func directives(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		quoted, start := false, 0
		for i := range len(line) + 1 {
			switch {
			case i < len(line) && line[i] == '"':
				quoted = !quoted
			case i == len(line) || line[i] == ',' && !quoted:
				if d := strings.Trim(line[start:i], " \t"); d != "" && !yield(d) {
					return
				}
				start = i + 1
			}
		}
	}
}

// nameOf returns the name of a directive, in lower case, and what it is set to.
func nameOf(directive string) (name, value string) {
	name, value, _ = strings.Cut(directive, "=")
	return strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
}

// keepPrivate forbids shared caches to keep the response. The room is for a value of a
// header.
func (s sharing) keepPrivate(h http.Header, room []string) {
	if s.private && !s.edit {
		return
	}
	var lines []string
	if s.edit {
		for name := range h {
			if strings.EqualFold(name, cacheControl) {
				lines = append(lines, h[name]...)
				delete(h, name)
			} else if isForSharedCaches(name, h[name]) {
				delete(h, name)
			}
		}
	} else {
		lines = h[cacheControl]
	}
	if len(lines) == 0 || s.odd {
		h[cacheControl] = append(room, "no-store")
		return
	}
	var kept []string
	for _, line := range lines {
		for d := range directives(line) {
			if name, _ := nameOf(d); name != "public" && name != "s-maxage" {
				kept = append(kept, d)
			}
		}
	}
	if !s.private {
		kept = append(kept, "private")
	}
	h[cacheControl] = append(room, strings.Join(kept, ", "))
}

// variesByCookie reports whether the response tells caches that it depends on the
// cookie.
func variesByCookie(h http.Header) bool {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Cookie") {
				return true
			}
		}
	}
	return false
}
