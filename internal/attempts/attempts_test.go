package attempts_test

import (
	"context"
	"testing"

	"github.com/flamego/session/internal/attempts"
)

func TestCount(t *testing.T) {
	t.Parallel()
	attempts.Again(t.Context()) // nobody counts
	outer, all := attempts.Count(t.Context())
	inner, some := attempts.Count(outer)
	if all.N() != 1 || some.N() != 1 {
		t.Error(all.N(), some.N())
	}
	ctx, cancel := context.WithCancel(inner)
	cancel()
	attempts.Again(ctx)
	attempts.Again(ctx)
	attempts.Again(outer)
	if all.N() != 2 || some.N() != 3 {
		t.Error(all.N(), some.N())
	}
}
