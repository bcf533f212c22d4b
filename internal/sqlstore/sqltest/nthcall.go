package sqltest

import (
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
)

// NthCallFails is backendtest.NthCallFails on tables of the dialect, and its short form on a server.
func (env *Env) NthCallFails(t *testing.T) {
	t.Parallel()
	test := backendtest.NthCallFails
	if env.Dialect.Remote {
		test = backendtest.NthCallFailsShortly
	}
	test(t, func(t testing.TB) session.Backend { return env.New(t).Init().Backend() })
}
