//go:build !linux

package kubectl

import "os/exec"

// detach does nothing where a program cannot be made to end with this one:
// Ctrl-C then ends both.
func detach(*exec.Cmd) {}
