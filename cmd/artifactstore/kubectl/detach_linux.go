package kubectl

import (
	"os/exec"
	"syscall"
)

// detach keeps Ctrl-C from a tunnel that is still needed to end in order, and
// ends it with this program, however that ends.
func detach(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
