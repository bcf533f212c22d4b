package session

import (
	"reflect"

	"github.com/flamego/flamego"
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
// It is taken out of the store before the handler runs, so exactly one request
// receives it.
type Flash interface{}

// flashKey is the key under which a session keeps its flash.
const flashKey = "flamego::session::flash"

var (
	flashType = reflect.TypeFor[Flash]()
	noFlash   = reflect.Zero(flashType)
)

// mapFlash makes the flash what handlers receive for a Flash. To map a plain
// nil would make Flamego look for any service that happens to implement the
// empty interface.
func mapFlash(c flamego.Context, flash Flash) {
	if flash == nil {
		c.Set(flashType, noFlash)
		return
	}
	c.Set(flashType, reflect.ValueOf(flash))
}
