package kubernetes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

const audience = "artifact-store"

// plane is one API server for all tests; each has a namespace in it.
var plane struct {
	once       sync.Once
	env        envtest.Environment
	admin      kubernetes.Interface
	kubeconfig []byte
	manager    *rest.Config // with the rights of config/rbac's ClusterRole, and no more
	stranger   *rest.Config // may ask nothing
	err        error
	mu         sync.Mutex
	next       int
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if plane.admin != nil {
		if err := plane.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func startPlane(assets string) error {
	plane.env = envtest.Environment{
		BinaryAssetsDirectory: assets,
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "..", "config", "crd")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := plane.env.Start()
	if err != nil {
		return err
	}
	if plane.admin, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	admin, err := plane.env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return err
	}
	if plane.kubeconfig, err = admin.KubeConfig(); err != nil {
		return err
	}
	// The group is what every ServiceAccount is in.
	user := func(name string) (*rest.Config, error) {
		added, err := plane.env.AddUser(envtest.User{Name: name, Groups: []string{"system:serviceaccounts"}}, nil)
		if err != nil {
			return nil, err
		}
		return added.Config(), nil
	}
	if plane.stranger, err = user("stranger"); err != nil {
		return err
	}
	if plane.manager, err = user("system:serviceaccount:artifact-store:artifact-store-manager"); err != nil {
		return err
	}
	return grantReviews()
}

// grantReviews creates the ClusterRole and its binding as they are shipped.
func grantReviews() error {
	ctx, folder := context.Background(), filepath.Join("..", "..", "..", "config", "rbac")
	roles, err := os.ReadFile(filepath.Join(folder, "role.yaml"))
	if err != nil {
		return err
	}
	for document := range strings.SplitSeq(string(roles), "\n---\n") {
		var role rbacv1.ClusterRole
		if !strings.Contains(document, "kind: ClusterRole\n") {
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
			return err
		}
		if _, err := plane.admin.RbacV1().ClusterRoles().Create(ctx, &role, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	var binding rbacv1.ClusterRoleBinding
	content, err := os.ReadFile(filepath.Join(folder, "cluster_role_binding.yaml"))
	if err == nil {
		err = yaml.UnmarshalStrict(content, &binding)
	}
	if err == nil {
		_, err = plane.admin.RbacV1().ClusterRoleBindings().Create(ctx, &binding, metav1.CreateOptions{})
	}
	return err
}

// gate stands between a Cluster and the API server, counts what passes, and
// can fail instead.
type gate struct {
	inner http.RoundTripper
	mu    sync.Mutex
	fail  func(r *http.Request) (*http.Response, error) // nil passes
	seen  map[string]int                                // by the last part of the path
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	g.seen[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]++
	fail := g.fail
	g.mu.Unlock()
	if fail != nil {
		return fail(r)
	}
	return g.inner.RoundTrip(r)
}

func (g *gate) set(fail func(r *http.Request) (*http.Response, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = fail
}

func (g *gate) count(what string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen[what]
}

// Ways in which an API server is away.
func refusing(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func hanging(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func closing(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func answering(status int) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader("no")), Request: r,
		}, nil
	}
}

// world is a namespace, a Cluster that runs on it, and a clock.
type world struct {
	*testing.T
	ctx       context.Context
	namespace string
	cluster   *Cluster
	gate      *gate

	mu    sync.Mutex
	moved time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldAs(t, func() *rest.Config { return plane.manager })
	w.eventually("the keys are not there", func() bool { return w.cluster.keys.current.Load() != nil })
	return w
}

func newWorldAs(t *testing.T, who func() *rest.Config) *world {
	t.Helper()
	assets := servers.ControlPlaneAssets(t)
	plane.once.Do(func() { plane.err = startPlane(assets) })
	if plane.err != nil {
		t.Fatal(plane.err)
	}
	plane.mu.Lock()
	plane.next++
	w := &world{T: t, ctx: t.Context(), namespace: fmt.Sprintf("access-%d", plane.next), gate: &gate{seen: map[string]int{}}}
	plane.mu.Unlock()
	if _, err := plane.admin.CoreV1().Namespaces().Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(who())
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { w.gate.inner = inner; return w.gate })
	var err error
	if w.cluster, err = New(Config{Rest: config, Namespace: w.namespace, Audience: audience, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); w.cluster.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.moved)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved += d
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) eventually(what string, done func() bool) {
	w.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.Now().Add(30*time.Second)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			w.Fatalf("%s, after 30 s", what)
		}
		<-tick.C
	}
}

// away makes the API server be away, and waits until that is seen: a token of nobody does it.
func (w *world) away(fail func(*http.Request) (*http.Response, error)) {
	w.Helper()
	w.gate.set(fail)
	w.cluster.reach.nudge()
	w.eventually("nobody sees that the API server is away", w.cluster.reach.away.Load)
}

func (w *world) back() {
	w.Helper()
	w.gate.set(nil)
	w.eventually("nobody sees that the API server is back", func() bool { return !w.cluster.reach.away.Load() })
}

// account makes a ServiceAccount.
func (w *world) account(name string) {
	w.Helper()
	_, err := plane.admin.CoreV1().ServiceAccounts(w.namespace).Create(w.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	w.must(err)
}

// token asks for one by the TokenRequest API.
func (w *world) token(account string, audiences ...string) storage.Secret {
	w.Helper()
	seconds := int64(3600)
	answer, err := plane.admin.CoreV1().ServiceAccounts(w.namespace).CreateToken(w.ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	w.must(err)
	return storage.NewSecret(answer.Status.Token)
}

// user is how Kubernetes calls an account of this world.
func (w *world) user(account string) access.Identity {
	return access.Identity{
		Name:   "system:serviceaccount:" + w.namespace + ":" + account,
		Groups: []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + w.namespace},
	}
}

// role gives an account the right to packages.
func (w *world) role(name, account string, verbs []string, producers ...string) {
	w.Helper()
	meta := metav1.ObjectMeta{Name: name}
	_, err := plane.admin.RbacV1().Roles(w.namespace).Create(w.ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{access.Group}, Resources: []string{access.Packages}, Verbs: verbs, ResourceNames: producers},
	}}, metav1.CreateOptions{})
	w.must(err)
	_, err = plane.admin.RbacV1().RoleBindings(w.namespace).Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: account}},
	}, metav1.CreateOptions{})
	w.must(err)
}

// is wants the error to be one of access', or none.
func (w *world) is(what string, err, want error) {
	w.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		w.Errorf("%s: got %v, want %v", what, err, want)
	}
}
