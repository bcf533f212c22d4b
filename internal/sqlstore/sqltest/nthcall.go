package sqltest

import (
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/backendtest"
)

// NthCallFails is backendtest.NthCallFails on tables of the dialect.
func (env *Env) NthCallFails(t *testing.T) {
	t.Parallel()
	backendtest.NthCallFails(t, func(t testing.TB) session.Backend { return env.New(t).Init().Backend() })
}
