package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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
	folder := os.Getenv("KUBEBUILDER_ASSETS")
	if folder == "" {
		var err error
		if folder, err = toolFolder("kubernetes", programs...); err != nil {
			return "", err
		}
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
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' --pdeathsig KILL '%s' \"$@\"\n", setpriv, filepath.Join(folder, program))
		if err := os.WriteFile(filepath.Join(wrapped, program), []byte(script), 0o755); err != nil { //nolint:gosec // a program
			return "", err
		}
	}
	return wrapped, nil
})

// Kubectl returns the program kubectl: that in PATH, or the one that is built where there is none.
func Kubectl(tb testing.TB) string {
	tb.Helper()
	folder, err := toolFolder("kubectl", "kubectl")
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(folder, "kubectl")
}
