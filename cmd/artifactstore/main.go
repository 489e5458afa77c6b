// Command artifactstore pushes packages to a registry, pulls them back, and
// reports what the registry stores, where, and whether it is still intact.
//
// Exit codes: 0 success, 1 failure, 2 wrong usage, 3 integrity failure (bytes do
// not match their digests), 130 interrupted.
package main

import (
	"fmt"
	"os"

	"github.com/coulomb/artifact-store/pkg/interrupt"
)

func main() {
	ctx := interrupt.Context(func() {
		fmt.Fprintln(os.Stderr, "artifactstore: interrupted")
		os.Exit(exitInterrupted)
	})
	os.Exit(run(ctx, os.Args[1:], environment{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}
