// Package size tells a test in which of two sizes it runs: the short form in
// make test, which must be able to fail, or the full one in make soak. A test
// that uses it is run by make soak.
package size

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

const (
	// fullVariable is set by make soak.
	fullVariable = "ARTIFACTSTORE_SOAK"
	// seedVariable repeats a run: make soak sets it, and prints it first.
	seedVariable = "ARTIFACTSTORE_SEED"
)

// Of returns the figure of the form in which tests run.
func Of[T any](short, full T) T {
	if os.Getenv(fullVariable) == "" {
		return short
	}
	return full
}

// Seed returns what a test's random numbers begin with, and logs how to get the
// same ones again.
func Seed(tb testing.TB) uint64 {
	tb.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("%s: %v", seedVariable, err)
		}
	}
	tb.Logf("%s=%d", seedVariable, seed)
	return seed
}
