package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

func TestVerificationStatus(t *testing.T) {
	t.Parallel()
	intact := &registrar.Findings{Live: 5, LastVerified: at.Add(-time.Hour), OldestVerified: at.Add(-20 * time.Hour), WaitingSince: at.Add(-20 * time.Hour)}
	with := func(change func(*registrar.Findings)) *registrar.Findings { f := *intact; change(&f); return &f }
	late := with(func(f *registrar.Findings) { f.WaitingSince = at.Add(-55 * time.Hour) })
	daily := &Scheduled{Message: "the CronJob a begins a run", Promise: 54 * time.Hour, Since: at.Add(-1000 * time.Hour)}
	scheduled := func(change func(*Scheduled)) *Scheduled { s := *daily; change(&s); return &s }
	for _, tt := range []struct {
		name      string
		findings  *registrar.Findings
		scheduled *Scheduled
		want      string // Verified; VerificationScheduled
	}{
		{"no schedule", intact, nil, "Verified=True Intact"},
		{"no schedule is never late", late, nil, "Verified=True Intact"},
		{"in time", intact, daily, "Verified=True Intact; VerificationScheduled=True Scheduled"},
		{"late", late, daily, "Verified=Unknown VerificationOverdue; VerificationScheduled=True Scheduled"},
		{"damage outweighs", with(func(f *registrar.Findings) { f.WaitingSince, f.Failed, f.Corrupt = late.WaitingSince, 1, 1 }), daily, "Verified=False CorruptLocations; VerificationScheduled=True Scheduled"},
		{"a new schedule has the time that it takes", late, scheduled(func(s *Scheduled) { s.Since = at.Add(-53 * time.Hour) }), "Verified=True Intact; VerificationScheduled=True Scheduled"},
		{"what waits since before it", late, scheduled(func(s *Scheduled) { s.Since = at.Add(-55 * time.Hour) }), "Verified=Unknown VerificationOverdue; VerificationScheduled=True Scheduled"},
		{"nothing is stored", &registrar.Findings{}, daily, "Verified=Unknown NothingStored; VerificationScheduled=True Scheduled"},
		{"never verified, and stored not long ago", &registrar.Findings{Live: 5, WaitingSince: at.Add(-time.Hour)}, daily, "Verified=Unknown NeverVerified; VerificationScheduled=True Scheduled"},
		{"never verified for too long", &registrar.Findings{Live: 5, WaitingSince: at.Add(-100 * time.Hour)}, daily, "Verified=Unknown VerificationOverdue; VerificationScheduled=True Scheduled"},
		{"suspended promises nothing", late, scheduled(func(s *Scheduled) { s.Suspended = "spec.verification.suspend is set" }), "Verified=True Intact; VerificationScheduled=False VerificationSuspended"},
		{"not followed promises nothing", late, &Scheduled{Problem: problem("", ReasonCronJobTaken, "taken")}, "Verified=True Intact; VerificationScheduled=False CronJobTaken"},
		{"the API server does not answer", intact, &Scheduled{Problem: &Problem{Reason: ReasonCronJobRefused, Lost: true}}, "Verified=True Intact; VerificationScheduled=Unknown CronJobRefused"},
		{"the last run failed", intact, scheduled(func(s *Scheduled) { s.LastRun = "look at its Jobs" }), "Verified=True Intact; VerificationScheduled=True LastRunFailed"},
		{"it failed because it found damage", with(func(f *registrar.Findings) { f.Failed, f.Missing = 1, 1 }), scheduled(func(s *Scheduled) { s.LastRun = "look at its Jobs" }), "Verified=False MissingLocations; VerificationScheduled=True Scheduled"},
		{"findings are not known", nil, daily, "Verified=Unknown FindingsNotRead; VerificationScheduled=True Scheduled"},
	} {
		seen := Observation{Generation: 3, Driver: "s3", ID: "id", Credentials: ReasonResolved, Findings: tt.findings, Scheduled: tt.scheduled, At: at}
		status := backendStatus(seen, v1alpha1.StorageBackendStatus{})
		lines := told(status.Conditions)
		got := strings.Join(slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "Verifi") }), "; ")
		if got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
		if !meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) {
			t.Errorf("%s: it is not Ready", tt.name)
		}
		// The same again changes nothing.
		seen.At = seen.At.Add(time.Minute)
		if again := backendStatus(seen, status); !slices.Equal(again.Conditions, status.Conditions) {
			t.Errorf("%s: a second look changes %+v to %+v", tt.name, status.Conditions, again.Conditions)
		}
		// Without a schedule the condition goes; where nothing was found out it stands.
		seen.Scheduled = &Scheduled{Stands: true}
		if stands := backendStatus(seen, status); tt.scheduled != nil && !slices.Equal(told(stands.Conditions)[5:], told(status.Conditions)[5:]) {
			t.Errorf("%s: %v does not stand", tt.name, told(stands.Conditions))
		}
		seen.Scheduled = nil
		if gone := backendStatus(seen, status); meta.FindStatusCondition(gone.Conditions, v1alpha1.ConditionVerificationScheduled) != nil {
			t.Errorf("%s: the condition stays", tt.name)
		}
	}
}

func TestStatusNamesFailedLocations(t *testing.T) {
	t.Parallel()
	a, b := digest.Of([]byte("a")).SHA256, digest.Of([]byte("b")).SHA256
	seen := Observation{Findings: &registrar.Findings{Failed: 2, Corrupt: 1, Missing: 1, Failures: []verify.FailedLocation{{SHA256: b, Reason: "missing"}, {SHA256: a, Reason: "corrupt"}}}, At: at}
	status := backendStatus(seen, v1alpha1.StorageBackendStatus{})
	want := []v1alpha1.FailedLocation{{SHA256: b.String(), Reason: "missing"}, {SHA256: a.String(), Reason: "corrupt"}}
	if !slices.Equal(status.FailedLocations, want) {
		t.Errorf("%+v", status.FailedLocations)
	}
	seen.Findings = nil
	if stands := backendStatus(seen, status); !slices.Equal(stands.FailedLocations, want) {
		t.Errorf("while findings are not known: %+v", stands.FailedLocations)
	}
	seen.Findings = &registrar.Findings{}
	if healed := backendStatus(seen, status); healed.FailedLocations != nil {
		t.Errorf("healed: %+v", healed.FailedLocations)
	}
}

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
		plan, err := planVerification(&v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{Verification: &tt.spec}})
		if err != nil || plan.promise() != tt.want {
			t.Errorf("%+v: %s, %v; want %s", tt.spec, plan.promise(), err, tt.want)
		}
	}
}

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
