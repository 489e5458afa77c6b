package declared

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

func TestPromise(t *testing.T) {
	t.Parallel()
	hours := func(h int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(h) * time.Hour} }
	for _, tt := range []struct {
		spec v1alpha1.VerificationSpec
		want time.Duration
	}{
		{v1alpha1.VerificationSpec{Schedule: "0 3 * * *"}, (24 + 24 + 6) * time.Hour},
		{v1alpha1.VerificationSpec{Schedule: "0 3 * * 0", Deadline: hours(48)}, (168 + 168 + 48) * time.Hour},
		{v1alpha1.VerificationSpec{Schedule: "0 3 * * *", RollingPeriod: hours(720)}, (24 + 24 + 6) * time.Hour},
		{v1alpha1.VerificationSpec{Schedule: "0 3 * * *", Mode: v1alpha1.VerificationRolling}, (720 + 24 + 6) * time.Hour},
		{v1alpha1.VerificationSpec{Schedule: "0 3 1 * *", Mode: v1alpha1.VerificationRolling, RollingPeriod: hours(24)}, (744 + 744 + 6) * time.Hour},
	} {
		plan, err := PlanVerification(&v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{Verification: &tt.spec}})
		if err != nil || plan.Promise() != tt.want {
			t.Errorf("%+v: %s, %v; want %s", tt.spec, plan.Promise(), err, tt.want)
		}
	}
}
