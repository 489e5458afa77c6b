package status

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

var at = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

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

// TestInUse: a yes counts at once, a no only of a look that knows its log and place.
func TestInUse(t *testing.T) {
	t.Parallel()
	none, some := &registrar.Findings{Failed: 2, Abandoned: 3}, &registrar.Findings{Live: 1}
	wrong := declared.Problemf(v1alpha1.ConditionReachable, ReasonForeignMarker, "of another log")
	for _, tt := range []struct {
		name      string
		seen      Observation
		was, want bool
	}{
		{"something is stored", Observation{Findings: some}, false, true},
		{"something is stored in a place that is away", Observation{Findings: some, Problem: wrong}, false, true},
		{"nothing is", Observation{Findings: none}, true, false},
		{"the log does not answer", Observation{}, true, true},
		{"the log does not answer, and there was nothing", Observation{}, false, false},
		{"the log is another one", Observation{Findings: none, Problem: wrong}, true, true},
		{"a look was lost", Observation{Findings: none, Stands: wrong}, true, true},
		{"the log is older than the place", Observation{Findings: none, Head: &HeadMark{Older: "it had come to event 7"}}, true, true},
		{"never anything, and the place is away", Observation{Findings: none, Problem: wrong}, false, false},
	} {
		if got := Backend(tt.seen, nil, v1alpha1.StorageBackendStatus{InUse: tt.was}).InUse; got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestBackendStatus(t *testing.T) {
	t.Parallel()
	well := Observation{Generation: 3, Driver: "s3", Place: "s3://b", ID: "id-1", Credentials: ReasonResolved, Findings: &registrar.Findings{}, At: at}
	with := func(change func(*Observation)) Observation { o := well; change(&o); return o }
	broken := func(p *declared.Problem) Observation { return with(func(o *Observation) { o.Problem = p }) }
	tests := []struct {
		name string
		seen Observation
		want []string
	}{
		{"all is well", well, []string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=True Probed", "Verified=Unknown NothingStored", "Ready=True Ready"}},
		{
			"the first stage tells the story", broken(declared.Problemf(v1alpha1.ConditionCredentialsResolved, declared.ReasonSecretNotFound, "there is no Secret")),
			[]string{"CredentialsResolved=False SecretNotFound", "Reachable=Unknown NotTried", "Writable=Unknown NotTried", "Verified=Unknown NothingStored", "Ready=False SecretNotFound"},
		},
		{
			"the second stage", broken(&declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonBucketNotFound}),
			[]string{"CredentialsResolved=True Resolved", "Reachable=False BucketNotFound", "Writable=Unknown NotTried", "Verified=Unknown NothingStored", "Ready=False BucketNotFound"},
		},
		{
			"the third stage", broken(&declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonAccessDenied}),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=False AccessDenied", "Verified=Unknown NothingStored", "Ready=False AccessDenied"},
		},
		{
			"what could not be tried is Unknown", broken(&declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonThrottled}),
			[]string{"CredentialsResolved=True Resolved", "Reachable=Unknown Throttled", "Writable=Unknown NotTried", "Verified=Unknown NothingStored", "Ready=Unknown Throttled"},
		},
		{
			"read-only is ready without being writable", with(func(o *Observation) { o.ReadOnly = true }),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=False ReadOnly", "Verified=Unknown NothingStored", "Ready=True ReadOnly"},
		},
		{
			"a read-only place that denies is not", with(func(o *Observation) {
				o.ReadOnly, o.Problem = true, &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonAccessDenied}
			}),
			[]string{"CredentialsResolved=True Resolved", "Reachable=False AccessDenied", "Writable=Unknown NotTried", "Verified=Unknown NothingStored", "Ready=False AccessDenied"},
		},
		{
			"never verified is not verified", with(func(o *Observation) { o.Findings = &registrar.Findings{Live: 4} }),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=True Probed", "Verified=Unknown NeverVerified", "Ready=True Ready"},
		},
		{
			"verified", with(func(o *Observation) { o.Findings = &registrar.Findings{Live: 4, OldestVerified: at, LastVerified: at} }),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=True Probed", "Verified=True Intact", "Ready=True Ready"},
		},
		{
			"corrupt", with(func(o *Observation) {
				o.Findings = &registrar.Findings{Live: 4, Failed: 2, Corrupt: 1, Missing: 1, LastVerified: at}
			}),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=True Probed", "Verified=False CorruptLocations", "Ready=True ReadyWithFailedLocations"},
		},
		{
			"missing, and away", with(func(o *Observation) {
				o.Findings = &registrar.Findings{Live: 4, Failed: 1, Missing: 1, LastVerified: at}
				o.Problem = &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonTimedOut}
			}),
			[]string{"CredentialsResolved=True Resolved", "Reachable=False TimedOut", "Writable=Unknown NotTried", "Verified=False MissingLocations", "Ready=False TimedOut"},
		},
		{
			"the log cannot be asked", with(func(o *Observation) { o.Findings = nil }),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=True Probed", "Verified=Unknown FindingsNotRead", "Ready=True Ready"},
		},
		{
			"suspended before the first probe", with(func(o *Observation) { o.Suspended = true }),
			[]string{"CredentialsResolved=True Resolved", "Reachable=True Reached", "Writable=Unknown ProbeSuspended", "Verified=Unknown NothingStored", "Ready=Unknown ProbeSuspended"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Backend(tt.seen, nil, v1alpha1.StorageBackendStatus{})
			if diff := cmp.Diff(tt.want, told(got.Conditions)); diff != "" {
				t.Error(diff)
			}
			if got.ObservedGeneration != 3 {
				t.Errorf("observedGeneration %d", got.ObservedGeneration)
			}
			for _, c := range got.Conditions {
				if c.ObservedGeneration != 3 || c.Message == "" && tt.seen.Problem == nil || !c.LastTransitionTime.Time.Equal(at) {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

func TestBackendStatusKeepsWhatStands(t *testing.T) {
	t.Parallel()
	well := Observation{Generation: 1, ID: "id-1", Credentials: ReasonResolved, Findings: &registrar.Findings{Live: 1, LastVerified: at}, At: at}
	first := Backend(well, nil, v1alpha1.StorageBackendStatus{})

	later := well
	later.At = at.Add(time.Hour)
	if again := Backend(later, nil, first); !cmp.Equal(again, first) {
		t.Errorf("the same finding changed the status:\n%s", cmp.Diff(first, again))
	}
	suspended := later
	suspended.Suspended, suspended.Generation = true, 2
	if got := told(Backend(suspended, nil, first).Conditions); got[4] != "Ready=True Ready" {
		t.Errorf("suspending took away what stood: %v", got)
	}
	away := later
	away.ID, away.Findings, away.Problem = "", nil, &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonTimedOut}
	got := Backend(away, nil, first)
	if got.ID != "id-1" || got.LastVerified == nil {
		t.Errorf("a place that is away lost its id or verification: %+v", got)
	}
	if c := meta.FindStatusCondition(got.Conditions, "Ready"); !c.LastTransitionTime.Time.Equal(later.At) {
		t.Errorf("the transition is at %v", c.LastTransitionTime)
	}
	if c := meta.FindStatusCondition(got.Conditions, "CredentialsResolved"); !c.LastTransitionTime.Time.Equal(at) {
		t.Errorf("what did not change has a new transition: %v", c.LastTransitionTime)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	lost := &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonTimedOut, Lost: true}
	denied := &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonAccessDenied}
	throttled := &declared.Problem{Condition: v1alpha1.ConditionWritable, Reason: storage.ReasonThrottled, Lost: true}
	idle := &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonThrottled, Lost: true} // nothing but throttled
	times := func(n int, p *declared.Problem) []*declared.Problem { return slices.Repeat([]*declared.Problem{p}, n) }
	recorded := func(generation int64) v1alpha1.StorageBackendStatus {
		return Backend(Observation{Generation: generation, ID: "id-1", Credentials: ReasonResolved, At: at}, nil, v1alpha1.StorageBackendStatus{})
	}
	none, unknown := v1alpha1.StorageBackendStatus{}, recorded(1)
	unknown.ID = ""
	for _, tt := range []struct {
		name      string
		recorded  v1alpha1.StorageBackendStatus
		threshold int
		seen      []*declared.Problem
		ready     string // one letter for each: r ready, n not
	}{
		{"lost probes below the threshold", none, 3, []*declared.Problem{nil, lost, lost, nil, lost, lost}, "rrrrrr"},
		{"the third in a row counts", none, 3, []*declared.Problem{nil, lost, lost, lost, lost, nil, lost}, "rrrnnrr"},
		{"a threshold of one", none, 1, []*declared.Problem{nil, lost}, "rn"},
		{"an answer of no counts at once", none, 3, []*declared.Problem{nil, denied, lost, nil}, "rnnr"},
		{"nothing known is not ready", none, 3, []*declared.Problem{lost, lost, nil}, "nnr"},
		{"slow down is not away", none, 2, []*declared.Problem{nil, throttled, throttled, throttled, lost, lost}, "rrrrrn"},
		{"slow down first, after another leader", recorded(1), 3, []*declared.Problem{throttled, throttled, throttled, throttled}, "rrrr"},
		{"slow down for ever", none, 2, times(3*throttledProbes, throttled), strings.Repeat("n", 3*throttledProbes)},
		{"slow down for ever, and it was good", recorded(1), 2, times(3*throttledProbes, throttled), strings.Repeat("r", 3*throttledProbes)},
		{"nothing else for ever", none, 2, append(append([]*declared.Problem{nil}, times(2*throttledProbes+1, idle)...), nil, idle), strings.Repeat("r", 2*throttledProbes) + "nnrr"},
		{"nothing else, and now and then something", recorded(1), 1, append(append(times(throttledProbes-1, idle), throttled), times(throttledProbes-1, idle)...), strings.Repeat("r", 2*throttledProbes-1)},
		{"lost first, after another leader", recorded(1), 3, []*declared.Problem{lost, throttled, lost, lost}, "rrrn"},
		{"an answer of no, after another leader", recorded(1), 3, []*declared.Problem{denied}, "n"},
		{"slow down after an edit", recorded(0), 3, []*declared.Problem{throttled, throttled}, "rr"},
		{"lost after an edit", recorded(0), 3, []*declared.Problem{lost}, "n"},
		{"recorded without an id", unknown, 3, []*declared.Problem{throttled}, "n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var h History
			var got strings.Builder
			for i, p := range tt.seen {
				var settled Observation
				when := at.Add(time.Duration(i) * time.Minute)
				h, settled = h.Settle(Observation{Generation: 1, Problem: p, At: when}, tt.recorded, tt.threshold)
				if settled.At != when {
					t.Errorf("observation %d is dated %v", i, settled.At)
				}
				if settled.Problem == nil {
					got.WriteString("r")
				} else {
					got.WriteString("n")
				}
			}
			if got.String() != tt.ready {
				t.Errorf("ready: %s, want %s", got.String(), tt.ready)
			}
		})
	}
	h, _ := History{}.Settle(Observation{Generation: 1, At: at}, recorded(1), 3)
	if _, settled := h.Settle(Observation{Generation: 2, Problem: lost, At: at}, recorded(1), 3); settled.Problem == nil {
		t.Error("what was good as declared before says nothing about another declaration")
	}
	if _, settled := h.Settle(Observation{Generation: 2, Problem: throttled, At: at}, recorded(1), 3); settled.Problem != nil {
		t.Error("slow down after an edit is not away")
	}
}
