// Package deadline has contexts that end without anybody being told.
package deadline

import "context"

// only is a context whose Done channel is nil.
type only struct{ context.Context }

// Only returns a context with the deadline and the values of ctx that is never
// done. Drivers start a goroutine or two for each operation to watch a context that
// can be done, which costs more than the rest of a short operation. For a
// connection that is given the deadline itself that is a waste.
func Only(ctx context.Context) context.Context { return only{ctx} }

func (only) Done() <-chan struct{} { return nil }
func (only) Err() error            { return nil }
