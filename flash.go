package session

import (
	"net/http"
	"strings"
)

// Flash is the value that the request before set with SetFlash, of whatever
// type it was set; nil when there is none. A handler asks for it by this type:
//
//	f.Get("/", func(flash session.Flash) string {
//		if s, ok := flash.(string); ok {
//			return s
//		}
//		return "nothing new"
//	})
//
// It is taken out of the store before the handler runs, so of several requests at once only one
// receives it. A handler that panics before its response has begun gives it back. Requests that
// show nothing do not take it: see Options.FlashFor. (With a store of another make, several
// requests at once may receive it.)
type Flash interface{}

// canShowFlash is the default of Options.FlashFor. It rests on what browsers say of
// their requests (Fetch Metadata).
func canShowFlash(r *http.Request) bool {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return false
	}
	if purpose := r.Header["Sec-Purpose"]; len(purpose) > 0 && strings.Contains(purpose[0], "prefetch") {
		return false
	}
	dest := r.Header["Sec-Fetch-Dest"]
	if len(dest) == 0 {
		return true
	}
	switch dest[0] {
	case "audio", "audioworklet", "font", "image", "json", "manifest", "paintworklet", "report", "script",
		"serviceworker", "sharedworker", "style", "track", "video", "worker", "xslt":
		return false
	}
	return true
}
