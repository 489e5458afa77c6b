package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// ControlPlaneAssets returns the folder with etcd and kube-apiserver: what
// envtest calls its assets. KUBEBUILDER_ASSETS, where set, says where they are.
// envtest stops them only when a test run ends in order; these here end with
// this process however it ends.
func ControlPlaneAssets(tb testing.TB) string {
	tb.Helper()
	folder, err := controlPlaneAssets()
	if err != nil {
		tb.Fatal(err)
	}
	return folder
}

var controlPlaneAssets = sync.OnceValues(func() (string, error) {
	programs := []string{"etcd", "kube-apiserver"}
	folder, err := kubernetesFolder(programs...)
	if err != nil {
		return "", err
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return folder, nil // not Debian; they are left behind if this process is killed
	}
	wrapped, err := Folder("control-plane")
	if err != nil {
		return "", err
	}
	for _, program := range programs {
		script := fmt.Sprintf("#!/bin/sh\n%s exec '%s' --pdeathsig KILL '%s' \"$@\"\n", seldom, setpriv, filepath.Join(folder, program))
		if err := os.WriteFile(filepath.Join(wrapped, program), []byte(script), 0o755); err != nil { //nolint:gosec // a program
			return "", err
		}
	}
	return wrapped, nil
})

// kubernetesFolder is where Kubernetes' programs are.
func kubernetesFolder(programs ...string) (string, error) {
	folder := os.Getenv("KUBEBUILDER_ASSETS")
	if folder == "" {
		return toolFolder("kubernetes", programs...)
	}
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(folder, program)); err != nil {
			return "", fmt.Errorf("KUBEBUILDER_ASSETS has no %s: unset it and run make tools, or have it name a folder with all of %q", program, programs)
		}
	}
	return folder, nil
}

// ControllerManager starts a kube-controller-manager for the API server of a
// kubeconfig (whose user may do everything), until the test ends: CronJobs make
// Jobs, Jobs make Pods, and what belongs to something that is gone is
// collected. It makes no more of Kubernetes than that, and nobody runs the Pods.
// If controllers are named, it runs those instead.
func ControllerManager(tb testing.TB, kubeconfig []byte, controllers ...string) {
	tb.Helper()
	if len(controllers) == 0 {
		controllers = []string{"cronjob-controller", "job-controller", "garbage-collector-controller"}
	}
	const program = "kube-controller-manager"
	bin, err := kubernetesFolder(program)
	if err != nil {
		tb.Fatal(err)
	}
	folder := tb.TempDir()
	file := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		tb.Fatal(err)
	}
	command := exec.Command(filepath.Join(bin, program),
		"--kubeconfig="+file, "--authentication-kubeconfig="+file, "--authorization-kubeconfig="+file,
		"--leader-elect=false", "--use-service-account-credentials=false",
		"--secure-port=0", "--cert-dir="+folder, // it serves nothing
		"--concurrent-gc-syncs=5", // of 20, for a small machine
		"--controllers="+strings.Join(controllers, ","))
	output := filepath.Join(folder, "log")
	exited, err := launch(command, syscall.SIGKILL, output)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		select {
		case <-exited:
			tb.Errorf("%s ended by itself", program)
		default:
			_ = command.Process.Kill() // it holds nothing
			<-exited
		}
		if tb.Failed() {
			tb.Logf("the end of the log of %s:\n%s", program, tailOf(output))
		}
	})
}

// Kubectl returns the program kubectl: that in PATH, or the one that is built where there is none.
func Kubectl(tb testing.TB) string {
	tb.Helper()
	folder, err := toolFolder("kubectl", "kubectl")
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(folder, "kubectl")
}
