// Package bench measures this library and its peers side by side. It is a module
// of its own, so that the library depends on no peer; `make bench` runs it and
// writes docs/benchmarks.md, `make bench-once` runs each benchmark once so that
// it cannot rot.
//
// # Model
//
// The same requests go through the http.Handler of an app of each subject:
//
//	ours         this library, in Flamego
//	scs          alexedwards/scs as it comes: a session ends a fixed time after login
//	scs-sliding  scs with an IdleTimeout: it ends after a time without access, as ours
//	gorilla      gorilla/sessions, on the two stores it has: cookie and files
//	bare         the driver alone, the same GET and SET of bytes; where there is no
//	             driver (memory), Flamego alone
//	nethttp      in memory: net/http alone, which scs is measured with
//
// They run in one process on the same servers, one after the other for each case,
// so that noise hits all alike. Each subject has a pool of its own of the same
// size, with the same settings, and storage of its own. The stores of scs are
// ours, on the drivers of this library: its own ones are on other drivers or
// without prepared statements, which would compare drivers, not libraries.
//
// A session holds six small values, 234 bytes of gob, unless the benchmark is one of
// sizes. Requests do not pass a network: what is measured is the session and its store.
//
// # Checks
//
// Each response is compared with the one that is due. Sessions that were written
// to are read again afterwards. How many of 8 parallel writers a session keeps is
// reported (kept/8); from this library it must be all, or the benchmark fails.
//
// # Processor time
//
// The servers are children of this process, so what they take of the processors can be
// seen, on Linux. Of a server that is named by the environment (PGHOST and so on) it
// cannot.
//
// # Sizes
//
// With BENCH_FULL=1 the benchmarks of garbage collection, of many sessions, rows and
// goroutines, and of load run at the sizes that are of interest, else at ones that take
// a second.
//
// # Commands
//
// Command rounds runs all of this, again and again, and with the commit before in turns.
// Command report makes tables, pictures and marks of what it prints. Command profile shows
// where the time goes.
package bench
