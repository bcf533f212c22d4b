// Package session is session management for the Flamego web framework.
//
// [Sessioner] is a middleware: every handler after it may ask for a [Session]
// (the data of one visitor), a [Flash] (a value handed from one request to the
// next) and the [Store] that keeps them.
//
//	f := flamego.Classic()
//	f.Use(session.Sessioner())
//	f.Get("/", func(s session.Session) string {
//		n, _ := session.Value[int](s, "visits")
//		s.Set("visits", n+1)
//		return fmt.Sprintf("visit number %d", n+1)
//	})
//
// # Model
//
// A request works on its own view of the session: what was stored when it was
// read, and the log of what this request changed since. The log is committed
// before the first byte of the response leaves, and once more at the end when
// something changed after that. Where another request was faster, the log is
// applied to what that one left behind, so two requests that change different
// keys never undo each other, and a request changes no key that it did not
// set, delete or flush. Changing a value in place (an element of a map or a
// slice that Get returned) is not seen as a change: call Set. A value that is computed
// from the one before, such as a counter, is for [Update].
//
// A session ends when it was not used for the Lifetime of the Config ([SetLifetime] gives one
// session another lifetime), and at the latest after Options.MaxLifetime. With Options.OwnerKey
// the sessions of a user can be listed and ended: [Owned], [End], [EndOwned].
//
// Data lives in memory ([MemoryIniter]), in files ([FileIniter]) or in one of the
// databases of the subpackages postgres, mysql, sqlite, redis and mongo.
//
// There are two ways to a store of your own. One is a [Backend]: a few atomic
// operations on records. [NewStore] makes a store of it that keeps all rules of this
// package, and package storetest proves it. The other is an implementation of [Store]
// with sessions that embed [BaseSession]. Such a store is sent whole sessions, so the
// last request to save one wins; storetest tells which rules it keeps.
//
// # Errors and limits
//
// [New] and [Sessioner] refuse a bad configuration at start. A request whose
// session cannot be read or written is answered with status 500 and a generic
// body; the error goes to Options.ErrorFunc and holds no session ID, no
// connection string and no data. Absence is not an error: a request with an unknown or
// expired ID has a new session.
//
// Everywhere but in memory, data is encoded with [GobEncoder] unless the
// Config says otherwise, and may take up to MaxDataSize bytes (default 1 MiB).
package session
