package observe

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestWhenItWasTakenUp: by this metric an administrator sees of each replica
// that it does not use the old credentials any more.
func TestWhenItWasTakenUp(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	o, _ := newObserver(t, NewMetrics(registry))
	clock := moved(o)
	server := servers.S3(t)
	sb := &v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: "objects", Generation: 1},
		Spec: v1alpha1.StorageBackendSpec{S3: &v1alpha1.S3Spec{
			EndpointURL: server.Endpoint, Bucket: server.Bucket, AccessKeyRef: &v1alpha1.ValueRef{Name: "keys", Key: "access"}, SecretKeyRef: &v1alpha1.ValueRef{Name: "keys", Key: "secret"},
		}},
	}
	takenUp := func() (at float64, there bool) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "artifactstore_backend_taken_up_timestamp_seconds" {
				return family.GetMetric()[0].GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	look := func(keys *servers.S3Server, wants string) {
		t.Helper()
		clock.add(time.Minute)
		reason := ""
		if seen := o.Observe(t.Context(), sb, nil, keysOf(keys)); seen.Problem != nil {
			reason = seen.Problem.Reason
		}
		if reason != wants {
			t.Fatalf("it is found %q, want %q", reason, wants)
		}
	}
	if _, there := takenUp(); there {
		t.Error("it is said of a backend that was not opened")
	}
	look(&server, "")
	first, _ := takenUp()
	if want := float64(clock.Now().UnixMilli()) / 1000; first != want {
		t.Fatalf("taken up at %f, want %f", first, want)
	}
	wrong := server
	wrong.SecretKey = "of-somebody-else"
	look(&server, "")
	look(&wrong, storage.ReasonSecretKeyWrong)
	o.StandDown() // whoever leads, this replica serves by what it has
	if at, _ := takenUp(); at != first {
		t.Errorf("nothing else was taken up, and it is said at %f, %f before", at, first)
	}
	sb.Generation, sb.Spec.S3.RequestTimeout = 2, &metav1.Duration{Duration: 30 * time.Second}
	look(&server, "")
	if at, _ := takenUp(); at <= first {
		t.Errorf("another declaration was taken up, and it is said at %f, %f before", at, first)
	}
	o.Forget(sb.Name)
	if _, there := takenUp(); there {
		t.Error("it is said of a backend that is gone")
	}
}
