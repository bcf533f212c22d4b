package bench

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/mapbackend"
)

// BenchmarkKeys has one visitor read or set one key, with Options.Keys (keys=1) and without
// (keys=0). The map is a backend that costs next to nothing, so what is between the two rows is the
// cipher, with all that the store does for it. SQLite shows what part of a whole request that is.
func BenchmarkKeys(b *testing.B) {
	for _, st := range []struct {
		name string
		opts func() session.Options
	}{
		{"map", inMap},
		{"sqlite", func() session.Options { return sqliteDB.options(sqliteDB.dsn(b), "keys") }},
	} {
		plain, sealed := st.opts(), st.opts()
		sealed.Keys = [][]byte{bytes.Repeat([]byte("k"), 32)}
		apps := map[int]*app{0: oursApp(b, plain), 1: oursApp(b, sealed)}
		for _, c := range []string{caseRead, caseSet} {
			for _, keys := range shuffled([]int{0, 1}) {
				workers(b, fmt.Sprintf("store=%s/case=%s/keys=%d", st.name, c, keys), c, 1, apps[keys], six)
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
