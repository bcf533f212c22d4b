package anydriver_test

import (
	"testing"

	"github.com/flamego/session"
	"github.com/flamego/session/internal/testing/testserver"
	"github.com/flamego/session/postgres"
	"github.com/flamego/session/postgres/anydriver"
)

// The suite runs on other drivers in internal/testing/drivers.

func TestMain(m *testing.M) { testserver.Main(m) }

func TestEmptyDB(t *testing.T) {
	for want, config := range map[string]interface{}{
		"postgres/anydriver: empty DB": anydriver.Config{},
		"unexpected argument of type postgres.Config, want a config of type anydriver.Config and an IDWriter: do Options.Initer and Options.Config belong together?": postgres.Config{},
	} {
		if _, err := session.New(session.Options{Initer: anydriver.Initer(), Config: config}); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
