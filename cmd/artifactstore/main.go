// Command artifactstore pushes packages to a registry, pulls them back, and
// reports what the registry stores, where, and whether it is still intact.
//
// Exit codes: 0 success, 1 failure, 2 wrong usage, 3 integrity failure (bytes do
// not match their digests).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program immediately
	code := run(ctx, os.Args[1:], environment{os.Stdin, os.Stdout, os.Stderr, os.Getenv})
	stop()
	os.Exit(code)
}
