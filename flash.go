package session

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
// It is taken out of the store before the handler runs, so of several requests at once
// only one receives it. A handler that panics before its response has begun gives it
// back. (A store of others may show a flash to several requests.)
type Flash interface{}
