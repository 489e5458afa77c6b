package controllers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
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

func TestClusterServesAnS3Bucket(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	keys := c.secret("keys", server)
	sb := c.s3("objects", server, nil)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	if got := told(sb.Status.Conditions); strings.Join(got, "; ") != "CredentialsResolved=True Resolved; Reachable=True Reached; Writable=True Probed; Verified=Unknown NothingStored; Ready=True Ready" {
		t.Errorf("%v", got)
	}
	if s := sb.Status; s.ID == "" || s.Driver != "s3" || !strings.HasPrefix(s.Place, "s3://"+server.Bucket) || s.ObservedGeneration != sb.Generation {
		t.Errorf("%+v", s)
	}
	c.goesTo(c.table, "x", "objects")
	b, err := c.table.Place(placement.Request{Producer: "p", RetentionClass: "x"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Store.Put(t.Context(), storage.Source{Reader: strings.NewReader("hello"), Size: 5})
	if err != nil {
		t.Fatal(err)
	}

	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: 3, Failed: 1, Missing: 1, LastVerified: time.Now()})
	c.until(sb, "Verified", metav1.ConditionFalse, status.ReasonMissing)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonFailedLocations)
	eventually(t, func() string {
		var told eventsv1.EventList
		if err := c.client.List(t.Context(), &told, client.InNamespace(c.namespace)); err != nil {
			return err.Error()
		}
		for _, e := range told.Items {
			if e.Regarding.Name == "objects" && e.Reason == status.ReasonMissing && e.Type == corev1.EventTypeWarning {
				return ""
			}
		}
		return fmt.Sprintf("no Event tells of it: %+v", told.Items)
	})
	c.registrar.Find(sb.Status.ID, registrar.Findings{})
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)

	// A Secret that changes is noticed at once, and back again: not at the next hour's probe.
	c.edit(sb, func() { sb.Spec.Probe.Interval = &metav1.Duration{Duration: time.Hour} })
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.edit(keys, func() { keys.Data["secret"] = []byte("of-somebody-else") })
	c.until(sb, "Reachable", metav1.ConditionFalse, storage.ReasonSecretKeyWrong)
	if !sb.Status.LastGoodServes {
		t.Error("the secret that worked last serves on")
	}
	c.goesTo(c.table, "x", "objects")
	c.edit(keys, func() { keys.Data["secret"] = []byte(server.SecretKey) })
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.goesTo(c.table, "x", "objects")
	again, err := c.table.Open(b.ID)
	if err != nil {
		t.Fatal(err)
	}
	reader, _, err := again.Store.Get(t.Context(), info.Digests.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if content, err := io.ReadAll(reader); string(content) != "hello" || err != nil {
		t.Errorf("%q, %v", content, err)
	}
}

func TestClusterTellsApartWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	server := servers.S3(t)
	c.secret("keys", server)
	c.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "wrong"}, StringData: map[string]string{"access": "AKNOBODYKNOWS", "secret": "VALUE-OF-A-SECRET"}})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + closed.Addr().String()
	closed.Close()
	foreign := servers.S3(t)
	other := startCluster(t, nil, false) // another log
	other.secret("keys", foreign)
	other.until(other.s3("first", foreign, nil), "Ready", metav1.ConditionTrue, status.ReasonReady)

	// Beside those below, which lie elsewhere: whose place overlaps another's depends on the second it was made in.
	good := c.s3("good", server, func(spec *v1alpha1.StorageBackendSpec) { spec.S3.KeyPrefix = "good" })
	use := func(change func(*v1alpha1.S3Spec)) func(*v1alpha1.StorageBackendSpec) {
		return func(spec *v1alpha1.StorageBackendSpec) { change(spec.S3) }
	}
	prefixed := func(s *v1alpha1.S3Spec) { s.KeyPrefix = "elsewhere" }
	for _, tt := range []struct {
		name      string
		change    func(*v1alpha1.StorageBackendSpec)
		condition string
		reason    string
		says      string
	}{
		{"no-secret", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.AccessKeyRef.Name = "gone" }), "CredentialsResolved", declared.ReasonSecretNotFound, `spec.s3.accessKeyRef: there is no Secret "gone"`},
		{"no-key", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.SecretKeyRef.Key = "gone" }), "CredentialsResolved", declared.ReasonKeyNotFound, `spec.s3.secretKeyRef: the Secret "keys" has no key "gone"`},
		{"env", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.SecretKeyRef = &v1alpha1.ValueRef{Env: "HOME"} }), "CredentialsResolved", declared.ReasonRefRefused, "in a cluster values come from a Secret"},
		{"ambient", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.AccessKeyRef, s.SecretKeyRef = nil, nil }), "CredentialsResolved", declared.ReasonAmbientRefused, "--allow-ambient-credentials"},
		{"access-key", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.AccessKeyRef.Name = "wrong" }), "Reachable", storage.ReasonAccessKeyUnknown, ""},
		{"secret-key", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.SecretKeyRef.Name = "wrong" }), "Reachable", storage.ReasonSecretKeyWrong, ""},
		{"bucket", use(func(s *v1alpha1.S3Spec) { s.Bucket = "no-such-bucket" }), "Reachable", storage.ReasonBucketNotFound, ""},
		{"refused", use(func(s *v1alpha1.S3Spec) { prefixed(s); s.EndpointURL = refusing }), "Reachable", storage.ReasonConnectionRefused, ""},
		{"foreign", use(func(s *v1alpha1.S3Spec) { s.Bucket = foreign.Bucket }), "Writable", status.ReasonForeignMarker, ""},
		{"folder", func(spec *v1alpha1.StorageBackendSpec) {
			spec.S3, spec.Local = nil, &v1alpha1.LocalSpec{Path: filepath.Join(c.root, "gone")}
		}, "Reachable", storage.ReasonFolderNotFound, ""},
		{"outside", func(spec *v1alpha1.StorageBackendSpec) {
			spec.S3, spec.Local = nil, &v1alpha1.LocalSpec{Path: "/etc"}
		}, "Reachable", declared.ReasonPathRefused, "--local-root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sb := c.s3(tt.name, server, tt.change)
			is := c.until(sb, tt.condition, metav1.ConditionFalse, tt.reason)
			if !strings.Contains(is.Message, tt.says) || is.Message == "" || strings.Contains(is.Message, "VALUE-OF-A-SECRET") {
				t.Errorf("it says %q, want %q", is.Message, tt.says)
			}
			if ready := c.until(sb, "Ready", metav1.ConditionFalse, tt.reason); ready.Message != is.Message {
				t.Errorf("Ready tells another story: %q", ready.Message)
			}
			broken := false
			for _, kind := range []string{"CredentialsResolved", "Reachable", "Writable"} {
				stage := meta.FindStatusCondition(sb.Status.Conditions, kind)
				if broken && (stage.Status != metav1.ConditionUnknown || stage.Reason != status.ReasonNotTried) {
					t.Errorf("behind the broken one: %+v", stage)
				}
				broken = broken || kind == tt.condition
			}
		})
	}

	// Everything else is served.
	c.until(good, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.create(&v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"secret-key", "foreign", "good"}}}}})
	c.goesTo(c.table, "x", "good")
	c.holdsNoSecret(server.SecretKey, foreign.SecretKey, "VALUE-OF-A-SECRET")
}

func TestClusterFollowsPolicies(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, true)
	// A second replica, which is not the leader, swaps a table of its own.
	second := routing.New()
	c.replica(c.config, true, second)
	eventually(t, func() string {
		if !c.table.Loaded() || !second.Loaded() {
			return "an empty namespace is a table too"
		}
		return ""
	})
	one, two := c.local("one"), c.local("two")
	c.until(one, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(two, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.goesTo(c.table, "evidence", "")
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{
		{Match: &v1alpha1.RoutingMatch{RetentionClasses: []string{"evidence"}}, Backends: []string{"two"}},
		{Backends: []string{"one"}},
	}}}
	c.create(p)
	c.until(p, "Ready", metav1.ConditionTrue, status.ReasonReady)
	for _, table := range []*routing.Table{c.table, second} {
		c.goesTo(table, "evidence", "two")
		c.goesTo(table, "other", "one")
	}
	c.edit(p, func() { p.Spec.Rules[0].Backends = []string{"gone", "one"}; p.Spec.Rules[1].Backends = []string{"two"} })
	c.until(p, "ResolvedRefs", metav1.ConditionFalse, status.ReasonTargetNotFound)
	c.until(p, "Ready", metav1.ConditionTrue, status.ReasonReady)
	for _, table := range []*routing.Table{c.table, second} {
		c.goesTo(table, "evidence", "one")
		c.goesTo(table, "other", "two")
	}
	c.edit(two, func() { two.Spec.Access = v1alpha1.ReadOnly })
	c.until(two, "Ready", metav1.ConditionTrue, status.ReasonReadOnly)
	c.until(p, "Ready", metav1.ConditionFalse, status.ReasonNoReadyBackend)
	c.goesTo(second, "other", "")
}

func TestClusterKeepsABackendWithLiveLocations(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("held")
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.holds(sb, 7)
	c.remove(sb)
	is := c.until(sb, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
	if !strings.Contains(is.Message, "7 live locations") {
		t.Errorf("%q", is.Message)
	}
	c.goesTo(c.table, "x", "")
	if _, err := c.table.Open(sb.Status.ID); err != nil {
		t.Errorf("what it holds is not served while deletion waits: %v", err)
	}
	c.registrar.Find(sb.Status.ID, registrar.Findings{})
	eventually(t, func() string {
		if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(sb), sb); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("still there: %v", err)
		}
		return ""
	})
	eventually(t, func() string {
		if left := c.table.Backends(); len(left) > 0 {
			return fmt.Sprintf("still in the table: %+v", left)
		}
		return ""
	})
}

func TestClusterOutlivesTheAPIServer(t *testing.T) {
	t.Parallel()
	config, wire := cutConfig(t)
	c := startCluster(t, config, true)
	one := c.local("one")
	c.local("two")
	c.until(one, "Ready", metav1.ConditionTrue, status.ReasonReady)
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"one"}}}}}
	c.create(p)
	c.goesTo(c.table, "x", "one")

	wire.Set(true)
	eventually(t, func() string { // the lease cannot be renewed for 10 s
		if !strings.Contains(c.logs.String(), "the controllers ended and restart") {
			return "the controllers have not ended"
		}
		b, err := c.table.Place(placement.Request{Producer: "p", RetentionClass: "x"})
		if err != nil || b.Name != "one" {
			t.Fatalf("placed on %q, %v", b.Name, err)
		}
		if _, err := b.Store.Put(t.Context(), storage.Source{Reader: strings.NewReader("x"), Size: 1}); err != nil {
			t.Fatal(err)
		}
		return ""
	})
	wire.Set(false)
	c.edit(p, func() { p.Spec.Rules[0].Backends = []string{"two"} })
	c.goesTo(c.table, "x", "two")
}

// told writes conditions as lines, in the order of the stages.
func told(conditions []metav1.Condition) []string {
	var lines []string
	for _, kind := range []string{"CredentialsResolved", "Reachable", "Writable", "Verified", "Ready", "VerificationScheduled"} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			lines = append(lines, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		}
	}
	return lines
}
