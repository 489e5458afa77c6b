package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
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
		{"what cannot be read", with(func(f *registrar.Findings) { f.Unreadable = 2 }), daily, "Verified=Unknown UnreadableLocations; VerificationScheduled=True Scheduled"},
		{"what cannot be read, and late", with(func(f *registrar.Findings) { f.WaitingSince, f.Unreadable = late.WaitingSince, 2 }), daily, "Verified=Unknown UnreadableLocations; VerificationScheduled=True Scheduled"},
		{"damage outweighs what cannot be read", with(func(f *registrar.Findings) { f.Unreadable, f.Failed, f.Corrupt = 2, 1, 1 }), nil, "Verified=False CorruptLocations"},
		{"damage outweighs", with(func(f *registrar.Findings) { f.WaitingSince, f.Failed, f.Corrupt = late.WaitingSince, 1, 1 }), daily, "Verified=False CorruptLocations; VerificationScheduled=True Scheduled"},
		{"a new schedule has the time that it takes", late, scheduled(func(s *Scheduled) { s.Since = at.Add(-53 * time.Hour) }), "Verified=True Intact; VerificationScheduled=True Scheduled"},
		{"what waits since before it", late, scheduled(func(s *Scheduled) { s.Since = at.Add(-55 * time.Hour) }), "Verified=Unknown VerificationOverdue; VerificationScheduled=True Scheduled"},
		{"nothing is stored", &registrar.Findings{}, daily, "Verified=Unknown NothingStored; VerificationScheduled=True Scheduled"},
		{"never verified, and stored not long ago", &registrar.Findings{Live: 5, WaitingSince: at.Add(-time.Hour)}, daily, "Verified=Unknown NeverVerified; VerificationScheduled=True Scheduled"},
		{"never verified for too long", &registrar.Findings{Live: 5, WaitingSince: at.Add(-100 * time.Hour)}, daily, "Verified=Unknown VerificationOverdue; VerificationScheduled=True Scheduled"},
		{"suspended promises nothing", late, scheduled(func(s *Scheduled) { s.Suspended = "spec.verification.suspend is set" }), "Verified=True Intact; VerificationScheduled=False VerificationSuspended"},
		{"not followed promises nothing", late, &Scheduled{Problem: declared.Problemf("", "CronJobTaken", "taken")}, "Verified=True Intact; VerificationScheduled=False CronJobTaken"},
		{"the API server does not answer", intact, &Scheduled{Problem: &declared.Problem{Reason: "CronJobRefused", Lost: true}}, "Verified=True Intact; VerificationScheduled=Unknown CronJobRefused"},
		{"the last run failed", intact, scheduled(func(s *Scheduled) { s.LastRun = "look at its Jobs" }), "Verified=True Intact; VerificationScheduled=True LastRunFailed"},
		{"it failed because it found damage", with(func(f *registrar.Findings) { f.Failed, f.Missing = 1, 1 }), scheduled(func(s *Scheduled) { s.LastRun = "look at its Jobs" }), "Verified=False MissingLocations; VerificationScheduled=True Scheduled"},
		{"findings are not known", nil, daily, "Verified=Unknown FindingsNotRead; VerificationScheduled=True Scheduled"},
	} {
		seen := Observation{Generation: 3, Driver: "s3", ID: "id", Credentials: ReasonResolved, Findings: tt.findings, At: at}
		status := Backend(seen, tt.scheduled, v1alpha1.StorageBackendStatus{})
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
		if again := Backend(seen, tt.scheduled, status); !slices.Equal(again.Conditions, status.Conditions) {
			t.Errorf("%s: a second look changes %+v to %+v", tt.name, status.Conditions, again.Conditions)
		}
		// Without a schedule the condition goes; where nothing was found out it stands.
		if stands := Backend(seen, &Scheduled{Stands: true}, status); tt.scheduled != nil && !slices.Equal(told(stands.Conditions)[5:], told(status.Conditions)[5:]) {
			t.Errorf("%s: %v does not stand", tt.name, told(stands.Conditions))
		}
		if gone := Backend(seen, nil, status); meta.FindStatusCondition(gone.Conditions, v1alpha1.ConditionVerificationScheduled) != nil {
			t.Errorf("%s: the condition stays", tt.name)
		}
	}
}

func TestStatusNamesFailedLocations(t *testing.T) {
	t.Parallel()
	a, b := digest.Of([]byte("a")).SHA256, digest.Of([]byte("b")).SHA256
	seen := Observation{Findings: &registrar.Findings{Failed: 2, Corrupt: 1, Missing: 1, Failures: []verify.FailedLocation{{SHA256: b, Reason: "missing"}, {SHA256: a, Reason: "corrupt"}}}, At: at}
	status := Backend(seen, nil, v1alpha1.StorageBackendStatus{})
	want := []v1alpha1.FailedLocation{{SHA256: b.String(), Reason: "missing"}, {SHA256: a.String(), Reason: "corrupt"}}
	if !slices.Equal(status.FailedLocations, want) {
		t.Errorf("%+v", status.FailedLocations)
	}
	seen.Findings = nil
	if stands := Backend(seen, nil, status); !slices.Equal(stands.FailedLocations, want) {
		t.Errorf("while findings are not known: %+v", stands.FailedLocations)
	}
	seen.Findings = &registrar.Findings{}
	if healed := Backend(seen, nil, status); healed.FailedLocations != nil {
		t.Errorf("healed: %+v", healed.FailedLocations)
	}
}
