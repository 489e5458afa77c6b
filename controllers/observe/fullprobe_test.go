package observe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

func TestFullDue(t *testing.T) {
	t.Parallel()
	config := backends.Config{Local: &local.Config{Path: "/a"}}
	same := backends.Config{Local: &local.Config{Path: "/a"}}
	unanswered := probe.FullReport{Results: []probe.Result{{Capability: storage.Capability{Status: storage.SupportUnknown}, Err: errors.New("timed out")}}}
	lacks := probe.FullReport{Results: []probe.Result{{Capability: storage.Capability{Status: storage.Unsupported}, Needed: true}}}
	refused := &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonInvalidRequest}
	lost := &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonThrottled, Lost: true}
	away := &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonAccessDenied}
	made := func(ago time.Duration, well bool, report probe.FullReport) *fullProbe {
		return &fullProbe{config: same, generation: 1, at: at.Add(-ago), well: well, report: report}
	}
	for _, tt := range []struct {
		name       string
		last       *fullProbe
		generation int64
		wrong      *declared.Problem
		want       bool
		request    string
	}{
		{"someone asks", made(time.Minute, true, probe.FullReport{}), 1, nil, true, "now"},
		{"it was made for who asks", &fullProbe{config: same, generation: 1, at: at, well: true, request: "now"}, 1, nil, false, "now"},
		{"someone asks of what cannot be reached", nil, 1, away, false, "now"},
		{"none was made", nil, 1, nil, true, ""},
		{"just made", made(time.Minute, true, probe.FullReport{}), 1, nil, false, ""},
		{"a day ago", made(24*time.Hour, true, probe.FullReport{}), 1, nil, true, ""},
		{"another generation", made(time.Minute, true, probe.FullReport{}), 2, nil, true, ""},
		{"another config or secret", &fullProbe{generation: 1, at: at, well: true}, 1, nil, true, ""},
		{"something got no answer, just now", made(time.Minute, true, unanswered), 1, nil, false, ""},
		{"something got no answer", made(10*time.Minute, true, unanswered), 1, nil, true, ""},
		{"something needed is lacking, just now", made(time.Minute, true, lacks), 1, nil, false, ""},
		{"something needed is lacking", made(10*time.Minute, true, lacks), 1, nil, true, ""},
		{"it mends", made(time.Minute, false, probe.FullReport{}), 1, nil, true, ""},
		{"puts are refused, first", nil, 1, refused, true, ""},
		{"puts are refused, just looked at", made(time.Minute, false, probe.FullReport{}), 1, refused, false, ""},
		{"puts are refused still", made(10*time.Minute, false, probe.FullReport{}), 1, refused, true, ""},
		{"it gives no answer", nil, 1, lost, false, ""},
		{"it cannot be reached", nil, 1, away, false, ""},
	} {
		if got := fullDue(tt.last, config, terms{generation: tt.generation, request: tt.request}, tt.wrong, at); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestExplained(t *testing.T) {
	t.Parallel()
	refusing := &fullProbe{report: probe.FullReport{Results: []probe.Result{{Reason: storage.ReasonClassRefused, Capability: storage.Capability{Message: "the server refuses storageClass X"}}}}}
	for _, tt := range []struct {
		name  string
		wrong *declared.Problem
		last  *fullProbe
		want  string
	}{
		{"well", nil, refusing, ""},
		{"the cause is known", &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonInvalidRequest}, refusing, storage.ReasonClassRefused},
		{"another cause", &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonFull}, refusing, storage.ReasonFull},
		{"no cause is known", &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonInvalidRequest}, &fullProbe{}, storage.ReasonInvalidRequest},
		{"never tried", &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonInvalidRequest}, nil, storage.ReasonInvalidRequest},
	} {
		got := explained(tt.wrong, tt.last)
		if (got == nil) != (tt.want == "") || got != nil && got.Reason != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestCapabilitiesOfStatus(t *testing.T) {
	t.Parallel()
	found := []storage.Capability{{Name: "put", Status: storage.Supported, Message: "1 KiB was put"}}
	seen := status.Observation{Generation: 1, Credentials: status.ReasonResolved, At: at, Capabilities: found}
	first := status.Backend(seen, nil, v1alpha1.StorageBackendStatus{})
	want := []v1alpha1.Capability{{Name: "put", Status: "Supported", Message: "1 KiB was put"}}
	if diff := cmp.Diff(want, first.Capabilities); diff != "" {
		t.Fatal(diff)
	}
	again := seen
	again.At = at.Add(time.Hour)
	if diff := cmp.Diff(first, status.Backend(again, nil, first)); diff != "" {
		t.Errorf("the same findings changed the status: %s", diff)
	}
	if got := standing(nil, 1, first); len(got) != 1 {
		t.Errorf("what stands was dropped: %v", got)
	}
	if got := standing(nil, 2, first); got != nil {
		t.Errorf("what was found of another declaration stands: %v", got)
	}
}

// bucketOf declares a server's bucket with the keys of keysOf.
func bucketOf(server servers.S3Server) *v1alpha1.StorageBackend {
	ref := func(key string) *v1alpha1.ValueRef { return &v1alpha1.ValueRef{Name: "keys", Key: key} }
	return &v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: "objects", Generation: 1},
		Spec: v1alpha1.StorageBackendSpec{S3: &v1alpha1.S3Spec{
			EndpointURL: server.Endpoint, Bucket: server.Bucket, AccessKeyRef: ref("access"), SecretKeyRef: ref("secret"),
		}},
	}
}

// observeFully looks until no full probe is pending: what it found is in the last look.
func observeFully(t *testing.T, o *Observer, sb *v1alpha1.StorageBackend, lookup declared.Lookup) status.Observation {
	t.Helper()
	for {
		seen := o.Observe(t.Context(), sb, nil, lookup)
		if !seen.Pending || t.Failed() {
			return seen
		}
		o.behind.Wait()
	}
}

// TestNoLookWaitsForTheFullProbe, which a place may keep waiting.
func TestNoLookWaitsForTheFullProbe(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	proxy.Arm(faultproxy.Fault{Kind: faultproxy.CreateMultipartUpload, Where: faultproxy.BeforeRequest, Action: faultproxy.Stall, Always: true})
	server.Endpoint = proxy.URL
	sb := bucketOf(server)
	for range 2 {
		began := time.Now()
		seen := o.Observe(t.Context(), sb, nil, keysOf(&server))
		if took := time.Since(began); seen.Problem != nil || !seen.Pending || took > 3*time.Second {
			t.Fatalf("after %v: %+v", took, seen)
		}
		sb.Status = status.Backend(seen, nil, sb.Status)
		if ready, reason, _ := status.Readiness(sb); !ready {
			t.Fatal(reason)
		}
		for began := time.Now(); proxy.Struck() == 0 && time.Since(began) < 10*time.Second; {
			time.Sleep(10 * time.Millisecond)
		}
		sb.Generation++
	}
	if proxy.Struck() == 0 {
		t.Fatal("nothing stalled")
	}
	// Whoever forgets the backend ends the probe too.
	began := time.Now()
	o.Forget(sb.Name)
	o.behind.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the probe went on for %v", took)
	}
}

// TestRefusedClassIsNotWritable on a server that refuses it, until the
// declaration is mended.
func TestRefusedClassIsNotWritable(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	server := servers.S3On(t, servers.MinIO, false)
	sb := bucketOf(server)
	sb.Spec.S3.StorageClass = "NO_SUCH_CLASS"
	look := func() status.Observation { return observeFully(t, o, sb, keysOf(&server)) }
	for range 2 { // what the full probe found stands
		seen := look()
		if seen.Problem == nil || seen.Problem.Condition != v1alpha1.ConditionWritable || seen.Problem.Reason != storage.ReasonClassRefused {
			t.Fatalf("%+v", seen.Problem)
		}
	}
	sb.Spec.S3.StorageClass, sb.Generation = "", 2
	seen := look()
	if seen.Problem != nil || len(seen.Capabilities) != 14 {
		t.Errorf("%+v, %v", seen.Problem, seen.Capabilities)
	}
}

// TestFullProbeRuns when something changed, and not at each look.
func TestFullProbeRuns(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	now := at
	o.now = func() time.Time { return now }
	server := servers.S3(t)
	sb := bucketOf(server)
	made := func() *fullProbe {
		if seen := observeFully(t, o, sb, keysOf(&server)); seen.Problem != nil || len(seen.Capabilities) != 14 {
			t.Fatalf("%+v, %v", seen.Problem, seen.Capabilities)
		}
		return o.drivers.of(sb.Name).full.last.Load()
	}
	first := made()
	now = now.Add(time.Hour)
	if made() != first {
		t.Error("nothing changed, and it was made again")
	}
	sb.Generation++
	second := made()
	if second == first {
		t.Error("another generation")
	}
	now = now.Add(24 * time.Hour)
	if made() == second {
		t.Error("a day has passed")
	}
	opened := o.Opened()[sb.Name]
	report, err := opened.Prober.Probe(t.Context())
	if err != nil || !report.OK || len(report.Results) != 14 || report.BackendID == "" || report.Configuration != registrar.ConfigurationInService {
		t.Errorf("on demand: %+v, %v", report, err)
	}
}

// TestProbeOnDemand: one at a time, nothing where the place is not ours, nothing written where it is read-only.
func TestProbeOnDemand(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	path := filepath.Join(root, "a")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "a", Generation: 1}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	if seen := observeFully(t, o, sb, HostLookup); seen.Problem != nil || len(seen.Capabilities) != 6 {
		t.Fatalf("%+v, %v", seen.Problem, seen.Capabilities)
	}
	prober := o.Opened()["a"].Prober
	if report, err := prober.Probe(t.Context()); err != nil || !report.OK {
		t.Errorf("%+v, %v", report, err)
	}
	trying := &o.drivers.of("a").full.making
	trying.Lock()
	if _, err := prober.Probe(t.Context()); !errors.Is(err, registrar.ErrProbing) {
		t.Errorf("two at once: %v", err)
	}
	trying.Unlock()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := prober.Probe(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}

	sb.Spec.Access, sb.Generation = v1alpha1.ReadOnly, 2
	o.Observe(t.Context(), sb, nil, HostLookup)
	if report, err := prober.Probe(t.Context()); err != nil || report.OK || report.Results[0].Status != storage.SupportUnknown {
		t.Errorf("read-only: %+v, %v", report, err)
	}

	sb.Spec.Access, sb.Generation = v1alpha1.ReadWrite, 3
	if seen := observeFully(t, o, sb, HostLookup); seen.Problem != nil {
		t.Fatal(seen.Problem)
	}
	foreign := filepath.Join(path, filepath.FromSlash(storage.MarkerKey))
	if err := errors.Join(os.Remove(foreign), os.WriteFile(foreign, []byte("another-log id"), 0o600)); err != nil {
		t.Fatal(err)
	}
	seen := o.Observe(t.Context(), sb, nil, HostLookup)
	if seen.Problem == nil || seen.Problem.Reason != status.ReasonForeignMarker || len(seen.Capabilities) > 0 {
		t.Errorf("%+v", seen)
	}
	if report, err := prober.Probe(t.Context()); err != nil || report.Reason != status.ReasonForeignMarker || len(report.Results) != 0 {
		t.Errorf("another's place: %+v, %v", report, err)
	}
}
