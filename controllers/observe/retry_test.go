package observe

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
)

func TestNextLook(t *testing.T) {
	t.Parallel()
	every := func(interval time.Duration) *v1alpha1.StorageBackend {
		return &v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{Probe: v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: interval}}}}
	}
	lost, refused := &declared.Problem{Lost: true}, &declared.Problem{}
	for _, tt := range []struct {
		name string
		sb   *v1alpha1.StorageBackend
		seen status.Observation
		want time.Duration
	}{
		{"well", every(time.Hour), status.Observation{}, time.Hour},
		{"well, by default", &v1alpha1.StorageBackend{}, status.Observation{}, time.Minute},
		{"no answer", every(time.Hour), status.Observation{Problem: lost}, 15 * time.Second},
		{"no answer, again and again", every(time.Hour), status.Observation{Problem: lost, Again: 7}, 15 * time.Second},
		{"no answer, with a short interval", every(5 * time.Second), status.Observation{Problem: lost}, 5 * time.Second},
		{"refused", every(time.Hour), status.Observation{Problem: refused}, 15 * time.Second},
		{"refused again", every(time.Hour), status.Observation{Problem: refused, Again: 1}, 30 * time.Second},
		{"refused often", every(time.Hour), status.Observation{Problem: refused, Again: 100}, 5 * time.Minute},
		{"refused often, by default", &v1alpha1.StorageBackend{}, status.Observation{Problem: refused, Again: 100}, time.Minute},
		{"refused, and the last credentials serve on", every(time.Hour), status.Observation{Problem: refused, LastGood: status.LastGoodServes}, time.Hour},
		{"refused, and they do not", every(time.Hour), status.Observation{Problem: refused, LastGood: status.LastGoodFailed}, 15 * time.Second},
		{"its endpoint is busy", every(time.Hour), status.Observation{Away: &status.Away{After: 30 * time.Second}}, 30 * time.Second},
		{"its endpoint does not answer, which does not count yet", every(time.Hour), status.Observation{Away: &status.Away{Problem: lost}}, time.Hour},
		{"its endpoint does not answer", every(time.Hour), status.Observation{Problem: lost, Away: &status.Away{Problem: lost}}, 15 * time.Second},
	} {
		if got := waitAfter(tt.sb, tt.seen); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	for range 100 {
		if got := jitter(time.Minute); got < time.Minute || got > 66*time.Second {
			t.Fatalf("jitter made %v of a minute", got)
		}
	}
}
