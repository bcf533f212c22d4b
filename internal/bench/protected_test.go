package bench

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// protections are what an app may ask for beyond the default.
var protections = map[string]func(*session.Options){
	"nothing": func(*session.Options) {},
	"keys":    func(o *session.Options) { o.Keys = [][]byte{bytes.Repeat([]byte("k"), 32)} },
	"hashes":  func(o *session.Options) { o.HashIDs = session.HashOnly },
	"observe": func(o *session.Options) { o.Observe = func(context.Context, session.Event) {} },
}

// BenchmarkProtected has one visitor read or set one key, with Options.Keys, HashIDs or Observe and without
// them. The map is a backend that costs next to nothing, so what is between the rows is what the option
// costs. SQLite shows what part of a whole request that is.
func BenchmarkProtected(b *testing.B) {
	for _, st := range []struct {
		name string
		opts func(name string) session.Options
	}{
		{"map", func(string) session.Options { return inMap() }},
		{"sqlite", func(name string) session.Options { return sqliteDB.options(sqliteDB.dsn(b), name) }},
	} {
		apps := make(map[string]*app)
		names := make([]string, 0, len(protections))
		for name, protect := range protections {
			opts := st.opts("with_" + name)
			protect(&opts)
			apps[name] = oursApp(b, opts)
			names = append(names, name)
		}
		for _, c := range []string{caseRead, caseSet} {
			for _, name := range shuffled(names) {
				workers(b, fmt.Sprintf("store=%s/case=%s/with=%s", st.name, c, name), c, 1, apps[name], six)
			}
		}
	}
}

// inMap are the options of an app with a map of records.
func inMap() session.Options {
	backend := mapbackend.New()
	return session.Options{Config: struct{}{}, Initer: session.NewIniter(func(context.Context, struct{}) (session.Backend, session.StoreConfig, error) {
		return backend, session.StoreConfig{}, nil
	})}
}
