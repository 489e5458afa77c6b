package servers

import (
	"os"
	"testing"
)

// ControlPlaneAssets returns the folder with etcd and kube-apiserver: what
// envtest calls its assets. KUBEBUILDER_ASSETS, where set, says where.
func ControlPlaneAssets(tb testing.TB) string {
	tb.Helper()
	if folder := os.Getenv("KUBEBUILDER_ASSETS"); folder != "" {
		return folder
	}
	folder, err := toolFolder("kubernetes", "etcd", "kube-apiserver")
	if err != nil {
		tb.Fatal(err)
	}
	return folder
}
