package servers

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/coulomb/artifact-store/test/built"
)

// Start starts a command that the kernel kills when this process ends, however
// it ends. Waiting for it is the caller's.
func Start(command *exec.Cmd) error {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return start(command)
}

// Folder makes a temporary folder that is removed when this process ends: for
// what all tests of a process share, which no test's end may remove.
func Folder(name string) (string, error) {
	return folderIn("", name)
}

func folderIn(parent, name string) (string, error) {
	folder, err := os.MkdirTemp(parent, "artifactstore-"+name+"-")
	if err != nil {
		return "", err
	}
	// Again if it fails: what this process started may be dying and writing yet.
	const script = `read -r _; n=0; until rm -rf -- "$1" 2>/dev/null || [ $n -ge 100 ]; do n=$((n + 1)); sleep 0.05; done`
	return folder, keepPipeOf(exec.Command("/bin/sh", "-c", script, "watchdog", folder))
}

// Root is the repository's root: the nearest folder above the working
// directory with a go.mod.
func Root() (string, error) { return built.Root() }
