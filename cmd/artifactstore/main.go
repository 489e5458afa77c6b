// Command artifactstore pushes packages to a registry, pulls them back, and
// asks it what it keeps, where, and whether that is still intact.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 integrity failure (bytes are
// not what their digests say).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	code := run(ctx, os.Args[1:], environment{os.Stdin, os.Stdout, os.Stderr, os.Getenv})
	stop()
	os.Exit(code)
}
