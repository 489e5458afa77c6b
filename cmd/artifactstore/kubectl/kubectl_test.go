package kubectl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

func TestServiceOf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]Service{
		"artifact-store.registry.svc":               {"registry", "artifact-store", "443"},
		"artifact-store.registry.svc.cluster.local": {"registry", "artifact-store", "443"},
		"Artifact-Store.Registry.SVC":               {"registry", "artifact-store", "443"},
		"artifact-store.registry":                   {}, "svc": {}, "a.svc": {}, "..svc": {}, "registry.example.com": {}, "127.0.0.1": {},
	} {
		if got, is := ServiceOf(host, "443"); is != (want != Service{}) || is && got != want {
			t.Errorf("%s: got %+v, %v", host, got, is)
		}
	}
}

// TestWithoutKubectl: the error says what else there is. It changes PATH, and so is
// not parallel.
func TestWithoutKubectl(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Cluster{}.Token(t.Context(), Account{Namespace: "a", Name: "b", Audience: "c"})
	const want = "kubectl is not in PATH: install it, or log in with --token-file or --token-command"
	if err == nil || err.Error() != want {
		t.Errorf("a token: got %v, want %s", err, want)
	}
	tunnel := Cluster{}.Tunnel(Service{"a", "b", "443"})
	defer tunnel.Close()
	if _, err := tunnel.Dial(t.Context(), "tcp", "x"); err == nil || err.Error() != want {
		t.Errorf("a tunnel: got %v, want %s", err, want)
	}
}

// TestRealKubectl makes tokens on a real API server.
func TestRealKubectl(t *testing.T) {
	program := servers.Kubectl(t)
	t.Setenv("PATH", filepath.Dir(program)+":"+os.Getenv("PATH"))
	env := envtest.Environment{
		BinaryAssetsDirectory: servers.ControlPlaneAssets(t),
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "..", "config", "crd")},
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
	admin, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	api := kubernetes.NewForConfigOrDie(config)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "builder", Namespace: "default"}}
	if _, err := api.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	namespace, err := Cluster{}.Namespace(t.Context())
	if err != nil || namespace != "default" {
		t.Errorf("namespace %q, %v", namespace, err)
	}
	token, err := Cluster{}.Token(t.Context(), Account{Namespace: "default", Name: "builder", Audience: "artifact-store", Duration: "30m"})
	if err != nil {
		t.Fatal(err)
	}
	times, known := credentials.TimesOf(token)
	if left := time.Until(times.Expires); !known || left < 20*time.Minute || left > 31*time.Minute {
		t.Errorf("the token is valid for %s (%v)", left, known)
	}
	for what, account := range map[string]Account{
		`serviceaccounts "nobody" not found`: {Namespace: "default", Name: "nobody", Audience: "artifact-store"},
		"not found":                          {Namespace: "nowhere", Name: "builder", Audience: "artifact-store"},
	} {
		if _, err := (Cluster{}).Token(t.Context(), account); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%+v: %v", account, err)
		}
	}
	if _, err := (Cluster{Context: "none"}).Token(t.Context(), Account{Namespace: "default", Name: "builder", Audience: "a"}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a context that is not there: %v", err)
	}
	// The Service is not there either.
	tunnel := Cluster{}.Tunnel(Service{"default", "artifact-store", "443"})
	defer tunnel.Close()
	if _, err := tunnel.Dial(t.Context(), "tcp", "x"); err == nil || !strings.Contains(err.Error(), `services "artifact-store" not found`) {
		t.Errorf("a tunnel to nothing: %v", err)
	}
	t.Run("login", func(t *testing.T) { logIn(t, api, file) })
}

// logIn logs in to a manager that asks the API server who its callers are.
func logIn(t *testing.T, api kubernetes.Interface, kubeconfig string) {
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "read"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{access.Group}, Resources: []string{access.Packages}, Verbs: []string{access.Get, access.List}, ResourceNames: []string{"team-a"}},
	}}
	if _, err := api.RbacV1().Roles("default").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "read"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "builder"}}}
	if _, err := api.RbacV1().RoleBindings("default").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	manager := programs.StartManager(t, []string{"--kubeconfig", kubeconfig, "--namespace", "default", "--local-root", t.TempDir(), "--data-dir", t.TempDir()}, nil)
	variables := []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + kubeconfig}
	run := func(args ...string) programs.Result {
		return programs.Execute(t.Context(), t, variables, args...)
	}
	const name = "system:serviceaccount:default:builder"
	if done := run("login", manager.URL, "--kubernetes", "--service-account", "default/builder"); done.Code != 0 || !strings.Contains(done.Stdout, name) || !strings.Contains(done.Stdout, "expires ") {
		t.Fatal(done)
	}
	programs.Eventually(t, func() error { // the API server learns of a Role soon, and a "no" is kept for a while
		done := run("whoami", "--producer", "team-a")
		if done.Code != 0 || !strings.Contains(done.Stdout, "packages  get,list  team-a") {
			return errors.New(done.String())
		}
		return nil
	})
	if done := run("whoami", "-o", "json"); done.Code != 0 || !strings.Contains(done.Stdout, `"system:authenticated"`) || !strings.Contains(done.Stdout, `"permissions": []`) || !strings.Contains(done.Stdout, `"complete": false`) {
		t.Error(done) // nobody has named team-a, which has no packages
	}
	if done := run("list", "--producer", "team-a"); done.Code != 0 {
		t.Error(done)
	}
	if done := run("login", manager.URL, "--kubernetes", "--service-account", "default/builder", "--audience", "another"); done.Code != 1 || !strings.Contains(done.Stderr, "does not accept the token (made by kubectl)") {
		t.Error(done)
	}
}
