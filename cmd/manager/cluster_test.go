package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestRunInACluster starts the manager against a real API server and takes it
// through its life: not ready, an object declared, bytes placed, the end.
func TestRunInACluster(t *testing.T) { // not parallel: it sets the process's loggers
	env := envtest.Environment{
		BinaryAssetsDirectory: servers.ControlPlaneAssets(t),
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	user, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file, root := filepath.Join(t.TempDir(), "kubeconfig"), t.TempDir()
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"--kubeconfig", file, "--namespace", "default", "--local-root", root, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0"}, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	logged := &output{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, logged) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(logged.String())
		}
	})

	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "a")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: "volume", Namespace: "default"},
		Spec:       v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}},
	}
	if err := c.Create(t.Context(), sb); err != nil {
		t.Fatal(err)
	}
	var url string
	eventually(t, func() string {
		found := servingAt.FindStringSubmatch(logged.String())
		if found == nil {
			return "it does not say where it serves"
		}
		url = found[1]
		return get(url + "/readyz")
	})
	eventually(t, func() string {
		answer, err := http.Post(url+"/v1/uploads", "application/json", strings.NewReader(`{"producer":"p","name":"n","version":"1","retentionClass":"x"}`))
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusCreated || !strings.Contains(string(content), `"backend":"volume"`) {
			return answer.Status + ": " + string(content)
		}
		return ""
	})
}
