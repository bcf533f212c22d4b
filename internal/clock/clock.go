// Package clock tells the time by the clock of a server. Instances of an app that share a
// server share that clock, whatever their own clocks say.
package clock

import (
	"sync/atomic"
	"time"
)

// Local is the clock of this process, which a Clock takes when it is made. Only a test may set it,
// to have a wrong clock, and only while no other goroutine makes a Clock: nothing guards it.
var Local = time.Now

// Clock tells the time of a server. Before the first Learn, and while the two agree, that is the
// time of this process. The methods of a Clock may be called in parallel.
type Clock struct {
	local func() time.Time
	ahead atomic.Int64 // by how much the local clock is ahead of that of the server
}

// New returns a clock that knows of no server.
func New() *Clock { return &Clock{local: Local} }

// Now returns the time.
func (c *Clock) Now() time.Time { return c.local().Add(-time.Duration(c.ahead.Load())) }

// agree is how far two clocks may differ that count as the same. What is known of the clock of a
// server is less exact than two clocks that are set by the network.
const agree = time.Second

// Learn asks for the time of the server, which is taken to be that in the middle of the
// question. It returns by how much the clock of this process is ahead, zero if the two agree as far
// as can be known. After an error the clock goes on as before.
func (c *Clock) Learn(ask func() (time.Time, error)) (ahead time.Duration, err error) {
	begun := time.Now()
	server, err := ask()
	if err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if ahead = c.local().Sub(server.Add(took / 2)); ahead.Abs() <= agree+took {
		ahead = 0
	}
	c.ahead.Store(int64(ahead))
	return ahead, nil
}
