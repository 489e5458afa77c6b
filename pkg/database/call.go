package database

import (
	"context"
	"sync/atomic"
)

// Call is one caller's wait for its item in a batch of a Queue. The batch's function
// calls Begin, and if that says true, Finish once.
type Call struct {
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

// NewCall makes one for a caller with this context.
func NewCall(ctx context.Context) *Call {
	return &Call{ctx: ctx, done: make(chan struct{})}
}

// Context is the caller's.
func (c *Call) Context() context.Context { return c.ctx }

// Begin is false if the caller's context has ended: then it must not be run.
func (c *Call) Begin() bool {
	if c.ctx.Err() != nil {
		return false
	}
	return c.state.CompareAndSwap(callWaiting, callBegun)
}

// Finish answers the caller.
func (c *Call) Finish(err error) {
	c.err = err
	close(c.done)
}

// Wait returns what Finish was given. If the context ends before Begin it
// returns the context's error; once begun, the caller waits for the outcome.
func (c *Call) Wait() error {
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
