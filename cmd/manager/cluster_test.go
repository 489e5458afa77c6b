package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestRunInACluster starts the manager against a real API server and takes it
// through its life: not ready, an object declared, bytes placed by a
// ServiceAccount that may, the end.
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
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
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
	token := pusher(t, c)
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
		body := `{"producer":"p","name":"n","version":"1","retentionClass":"x"}`
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/uploads", strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		request.Header.Set("Content-Type", "application/json")
		nobody, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error()
		}
		nobody.Body.Close()
		if nobody.StatusCode != http.StatusUnauthorized {
			return "without a token: " + nobody.Status
		}
		request, err = http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/uploads", strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		request.Header.Set("Content-Type", "application/json")
		request.SetBasicAuth("anybody", token)
		answer, err := http.DefaultClient.Do(request)
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
	// The usual series of a Go program with controllers.
	answer, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metrics, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s, %v\n%s", answer.Status, err, metrics)
	}
	for _, series := range []string{
		`controller_runtime_reconcile_total{controller="storagebackend",result="`, `controller_runtime_active_workers{`, `workqueue_depth{`, `workqueue_queue_duration_seconds_count{`,
		`rest_client_requests_total{`, `artifactstore_build_info{goversion="go`, `go_build_info{`, "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(string(metrics), "\n"+series) {
			t.Errorf("/metrics has no %s", series)
		}
	}
	if n := strings.Count(logged.String(), sqliteWarning); n != 1 {
		t.Errorf("it says %d times that SQLite serves one replica", n)
	}
}

// sqliteWarning is for those alone who may have several replicas.
const sqliteWarning = `level=WARN msg="SQLite serves only this replica: several replicas need PostgreSQL and --leader-elect"`

// pusher makes a ServiceAccount that may push packages of the producer p, and
// returns a token of it.
func pusher(t *testing.T, c client.Client) string {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "pusher", Namespace: "default"}
	account := &corev1.ServiceAccount{ObjectMeta: meta}
	for _, object := range []client.Object{
		account,
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"artifactstore.dev"}, Resources: []string{"packages"}, Verbs: []string{"create"}, ResourceNames: []string{"p"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "pusher"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "pusher"}},
		},
	} {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{defaultAudience}}}
	if err := c.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}
