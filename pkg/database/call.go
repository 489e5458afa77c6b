package database

import (
	"context"
	"sync/atomic"
)

// call is one caller's wait for its item in a batch of a queue. The batch's function
// calls begin and, if that returns true, finish once.
type call struct {
	ctx   context.Context
	state atomic.Int32
	done  chan struct{}
	err   error // written before done is closed
}

const (
	callWaiting = iota
	callBegun
	callGone
)

// newCall returns a call for a caller with this context.
func newCall(ctx context.Context) *call {
	return &call{ctx: ctx, done: make(chan struct{})}
}

// begin returns false if the caller's context has ended: then the item must not run.
func (c *call) begin() bool {
	if c.ctx.Err() != nil {
		return false
	}
	return c.state.CompareAndSwap(callWaiting, callBegun)
}

// finish reports the result to the caller.
func (c *call) finish(err error) {
	c.err = err
	close(c.done)
}

// wait returns the error passed to finish. If the context ends before begin, it
// returns the context's error; after begin it waits for the result.
func (c *call) wait() error {
	select {
	case <-c.done:
		return c.err
	case <-c.ctx.Done():
	}
	if c.state.CompareAndSwap(callWaiting, callGone) {
		return c.ctx.Err()
	}
	<-c.done
	return c.err
}
