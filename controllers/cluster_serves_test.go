package controllers

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

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
