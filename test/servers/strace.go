package servers

import (
	"path/filepath"
	"testing"
)

// Strace returns the path of strace, which records what a program asks of the kernel.
func Strace(tb testing.TB) string {
	tb.Helper()
	folder, err := toolFolder("strace", "strace")
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(folder, "strace")
}
