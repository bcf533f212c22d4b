//go:build !linux

package bench

import (
	"testing"
	"time"
)

// What the processors spend is told on Linux only.

type threadsCPU struct{}

func ownCPU(testing.TB) time.Duration { return 0 }

func serversCPU(testing.TB) threadsCPU { return threadsCPU{} }

func (threadsCPU) since(threadsCPU) time.Duration { return 0 }
