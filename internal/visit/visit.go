// Package visit lets package sessiontest see the session IDs of an app that carries them in a
// way of its own. A program that does not import sessiontest has nothing of it.
package visit

import "net/http"

// ReadID is the type of session.Options.ReadIDFunc.
type ReadID = func(r *http.Request) string

// WriteID is the type of session.Options.WriteIDFunc.
type WriteID = func(w http.ResponseWriter, r *http.Request, sid string, created bool)

// IDFuncs is called for a new Manager that has both functions. What it returns is used in their place.
// It is set once, by an init, and nil outside of tests.
var IDFuncs func(manager any, read ReadID, write WriteID) (ReadID, WriteID)
