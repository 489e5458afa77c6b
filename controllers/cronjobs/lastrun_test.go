package cronjobs

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

var at = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// The last run of a CronJob, as its status tells it.
func TestLastRun(t *testing.T) {
	t.Parallel()
	sb := &v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{Verification: &v1alpha1.VerificationSpec{Schedule: "0 3 * * *"}}}
	before, after := &metav1.Time{Time: at.Add(-time.Hour)}, &metav1.Time{Time: at}
	active := []corev1.ObjectReference{{Name: "a"}}
	for _, tt := range []struct {
		name   string
		status batchv1.CronJobStatus
		failed bool
	}{
		{"none yet", batchv1.CronJobStatus{}, false},
		{"the first is running", batchv1.CronJobStatus{LastScheduleTime: before, Active: active}, false},
		{"the first failed", batchv1.CronJobStatus{LastScheduleTime: before}, true},
		{"it succeeded", batchv1.CronJobStatus{LastScheduleTime: before, LastSuccessfulTime: after}, false},
		{"another is running", batchv1.CronJobStatus{LastScheduleTime: after, LastSuccessfulTime: before, Active: active}, false},
		{"it failed", batchv1.CronJobStatus{LastScheduleTime: after, LastSuccessfulTime: before}, true},
	} {
		got := scheduled(sb, &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "a-verify"}, Status: tt.status})
		if (got.LastRun != "") != tt.failed {
			t.Errorf("%s: %q", tt.name, got.LastRun)
		}
	}
}
