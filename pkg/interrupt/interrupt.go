// Package interrupt lets signals end a program: the first SIGINT or SIGTERM asks it
// to end, the second ends it.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends with the first signal. exit is called at the
// second one, whatever the program waits for, and must not return. It does not rely
// on what a signal does by itself: a shell starts background processes with SIGINT ignored.
func Context(exit func()) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		exit()
	}()
	return ctx
}

// Do runs what cannot be told to end, such as the opening of a named pipe. It returns
// early if ctx ends; do then runs on, and its result is dropped.
func Do[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
