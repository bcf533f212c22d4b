package mapbackend_test

import (
	"testing"

	"github.com/flamego/session/internal/testing/backendtest"
	"github.com/flamego/session/internal/testing/mapbackend"
)

func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	backendtest.UnknownTypes(t, mapbackend.New(), "unknown")
}

func TestTimesToLive(t *testing.T) {
	t.Parallel()
	backendtest.TimesToLive(t, mapbackend.New(), "ttl")
}
