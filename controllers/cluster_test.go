package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/controllers/observe/observetest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/servers"
)

// cluster is a running Cluster over a namespace of its own.
type cluster struct {
	t         *testing.T
	client    client.Client
	config    *rest.Config // of the replicas
	namespace string
	registrar *observetest.Registrar
	table     *routing.Table
	root      string            // beneath which local backends lie
	observer  *observe.Observer // of the last replica
	logs      logs
	measured  *prometheus.Registry // metrics of all replicas
	metrics   *observe.Metrics
}

// startCluster runs with the config, nil for the manager's own rights.
func startCluster(t *testing.T, config *rest.Config, leaderElection bool) *cluster {
	t.Helper()
	c := newCluster(t)
	c.start(config, leaderElection)
	return c
}

// newCluster has a namespace and no controllers yet.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, registrar: observetest.NewRegistrar(), table: routing.New(), root: t.TempDir(), measured: prometheus.NewRegistry()}
	c.metrics = observe.NewMetrics(c.measured)
	c.client, c.namespace = apiClient(t)
	return c
}

func (c *cluster) start(config *rest.Config, leaderElection bool) {
	c.t.Helper()
	if config == nil {
		config = c.asManager()
	}
	c.config = config
	c.replica(config, leaderElection, c.table)
}

// asManager gives the rights of config/rbac in the namespace, and no others.
func (c *cluster) asManager() *rest.Config {
	c.t.Helper()
	var role rbacv1.Role
	content, err := os.ReadFile(filepath.Join("..", "config", "rbac", "role.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, document := range strings.Split(string(content), "\n---\n") {
		if strings.Contains(document, "\nkind: Role\n") { // beside it a ClusterRole, for who asks who someone is
			err = yaml.UnmarshalStrict([]byte(document), &role)
		}
	}
	if err != nil || len(role.Rules) == 0 {
		c.t.Fatalf("no Role: %v", err)
	}
	c.create(&role)
	user := envtest.User{Name: "system:serviceaccount:" + c.namespace + ":artifact-store-manager", Groups: []string{"system:authenticated"}}
	c.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user.Name}},
	})
	controlPlane(c.t)
	plane.users.Lock()
	defer plane.users.Unlock()
	added, err := plane.env.AddUser(user, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return added.Config()
}

func (c *cluster) settings() declared.Settings {
	return declared.Settings{LocalRoot: c.root}
}

func (c *cluster) pods() cronjobs.PodSettings {
	return cronjobs.PodSettings{Image: "localhost/artifact-store:dev", Server: "https://artifact-store." + c.namespace + ".svc", Audience: "artifact-store"}
}

// replica runs one more process's worth of controllers over the namespace.
func (c *cluster) replica(config *rest.Config, leaderElection bool, table *routing.Table) {
	observer := observe.New(c.registrar, buffer.New(64<<20, 8<<20), c.settings(), c.metrics)
	c.observer = observer
	run := Cluster{
		Config: config, Namespace: c.namespace, LeaderElection: leaderElection, Settings: c.settings(), Pods: c.pods(), Observer: observer, Registrar: c.registrar,
		Table: table, Logger: slog.New(slog.NewTextHandler(&c.logs, nil)),
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); run.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		<-ended
		if err := observer.Close(); err != nil {
			c.t.Error(err)
		}
		if c.t.Failed() {
			c.t.Log(c.logs.String())
		}
	})
}

// looks is how often the backends were probed so far.
func (c *cluster) looks(name string) (sum int) {
	c.t.Helper()
	families, err := c.measured.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if family.GetName() == "artifactstore_backend_probes_total" && label.GetName() == "backend" && label.GetValue() == name {
					sum += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return sum
}

func (c *cluster) create(o client.Object) {
	c.t.Helper()
	o.SetNamespace(c.namespace)
	if err := c.client.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// edit changes an object as it is now.
func (c *cluster) edit(o client.Object, change func()) {
	c.t.Helper()
	eventually(c.t, func() string {
		if err := c.client.Get(c.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		change()
		if err := c.client.Update(c.t.Context(), o); err != nil {
			return err.Error()
		}
		return ""
	})
}

func (c *cluster) secret(name string, server servers.S3Server) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"access": server.AccessKey, "secret": server.SecretKey}}
	c.create(s)
	return s
}

// s3 declares a bucket, with the keys of the Secret "keys".
func (c *cluster) s3(name string, server servers.S3Server, change func(*v1alpha1.StorageBackendSpec)) *v1alpha1.StorageBackend {
	sb := &v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.StorageBackendSpec{
			S3: &v1alpha1.S3Spec{
				EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
				AccessKeyRef: &v1alpha1.ValueRef{Name: "keys", Key: "access"}, SecretKeyRef: &v1alpha1.ValueRef{Name: "keys", Key: "secret"},
			},
			Probe: v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: 5 * time.Second}, Timeout: &metav1.Duration{Duration: 3 * time.Second}},
		},
	}
	if change != nil {
		change(&sb.Spec)
	}
	c.create(sb)
	return sb
}

func (c *cluster) local(name string) *v1alpha1.StorageBackend {
	path := filepath.Join(c.root, name)
	if err := os.MkdirAll(path, 0o750); err != nil {
		c.t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	c.create(sb)
	return sb
}

// until waits for a condition of a StorageBackend or RoutingPolicy as it is declared now.
func (c *cluster) until(o client.Object, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	c.t.Helper()
	var found metav1.Condition
	eventually(c.t, func() string {
		if err := c.client.Get(c.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		var conditions []metav1.Condition
		switch o := o.(type) {
		case *v1alpha1.StorageBackend:
			conditions = o.Status.Conditions
		case *v1alpha1.RoutingPolicy:
			conditions = o.Status.Conditions
		}
		is := meta.FindStatusCondition(conditions, kind)
		if is == nil || is.Status != status || is.Reason != reason || is.ObservedGeneration != o.GetGeneration() {
			return fmt.Sprintf("%s: %s is %+v; want %s %s", o.GetName(), kind, is, status, reason)
		}
		found = *is
		return ""
	})
	return found
}

func (c *cluster) goesTo(table *routing.Table, class, backend string) {
	c.t.Helper()
	eventually(c.t, func() string {
		explained := table.Explain(placement.Request{Producer: "p", RetentionClass: class})
		if explained.Backend == backend {
			return ""
		}
		return fmt.Sprintf("%s goes to %q and not to %q: %s", class, explained.Backend, backend, explained.Reason)
	})
}
