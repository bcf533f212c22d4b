// Package with holds examples of sessions beside other libraries. It is a module of its own, so
// that the go.mod of the library names none of them:
//
//	with/csrf       flamego/csrf: forms with a token
//	with/scs        from alexedwards/scs: visitors stay logged in
//	with/gorilla    from gorilla/sessions: the same
//	with/websocket  coder/websocket: a connection that ends with its session
//	with/bolt       etcd-io/bbolt: a store of one's own
//
// Run one by "go run ./csrf" in this folder. It prints its address.
package with
