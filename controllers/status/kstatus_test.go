package status

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// TestStatusIsWhatToolsWaitFor: a new generation is in progress until it was
// looked at, and what does not work never passes for current.
func TestStatusIsWhatToolsWaitFor(t *testing.T) {
	t.Parallel()
	fresh := v1alpha1.StorageBackendStatus{ObservedGeneration: -1}
	well := Observation{Generation: 1, ID: "id", Credentials: ReasonResolved, At: at, Findings: &registrar.Findings{}}
	after := func(previous v1alpha1.StorageBackendStatus, change func(*Observation)) v1alpha1.StorageBackendStatus {
		seen := well
		change(&seen)
		return After(seen, nil, previous)
	}
	first := after(fresh, func(*Observation) {})
	broken := after(first, func(o *Observation) {
		o.Generation, o.LastGood = 2, LastGoodServes
		o.Problem = &declared.Problem{Condition: v1alpha1.ConditionCredentialsResolved, Reason: declared.ReasonSecretNotFound}
	})
	for _, c := range broken.Conditions {
		if c.ObservedGeneration != 2 {
			t.Errorf("%s speaks of generation %d", c.Type, c.ObservedGeneration)
		}
	}
	deleted := metav1.NewTime(at)
	backend := func(generation int64, is v1alpha1.StorageBackendStatus) client.Object {
		return &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "b", Generation: generation}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: "/a"}}, Status: is}
	}
	going := backend(2, first)
	going.SetDeletionTimestamp(&deleted)
	policy := func(generation int64, conflicts []conflict, there targets) *v1alpha1.RoutingPolicy {
		p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"a"}}}}}
		p.Status = Policy(p, conflicts, there, at)
		p.Generation = generation
		return p
	}
	none, taken := []conflict{{}}, targets{"a": {}}
	for _, tt := range []struct {
		name, kind string
		object     client.Object
		want       kstatus.Status
	}{
		{"new", "StorageBackend", backend(1, fresh), kstatus.InProgressStatus},
		{"ready", "StorageBackend", backend(1, first), kstatus.CurrentStatus},
		{"edited", "StorageBackend", backend(2, first), kstatus.InProgressStatus},
		{"broken, though what worked last serves on", "StorageBackend", backend(2, broken), kstatus.InProgressStatus},
		{"refused", "StorageBackend", backend(1, after(first, func(o *Observation) {
			o.Problem = &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonSecretKeyWrong}
		})), kstatus.InProgressStatus},
		{"turned before its first answer", "StorageBackend", backend(1, after(fresh, func(o *Observation) {
			o.Problem = &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonCancelled}
		})), kstatus.InProgressStatus},
		{"one look lost", "StorageBackend", backend(1, after(first, func(o *Observation) {
			o.Stands = &declared.Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonConnectionRefused, Lost: true}
		})), kstatus.CurrentStatus},
		{"read only", "StorageBackend", backend(1, after(fresh, func(o *Observation) { o.ReadOnly = true })), kstatus.CurrentStatus},
		{"suspended while it was well", "StorageBackend", backend(1, after(first, func(o *Observation) { o.Suspended = true })), kstatus.CurrentStatus},
		{"suspended before it was ever tried", "StorageBackend", backend(1, after(fresh, func(o *Observation) { o.Suspended = true })), kstatus.InProgressStatus},
		{"being deleted", "StorageBackend", going, kstatus.TerminatingStatus},
		{"new", "RoutingPolicy", &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: v1alpha1.RoutingPolicyStatus{ObservedGeneration: -1}}, kstatus.InProgressStatus},
		{"ready", "RoutingPolicy", policy(1, none, taken), kstatus.CurrentStatus},
		{"edited", "RoutingPolicy", policy(2, none, taken), kstatus.InProgressStatus},
		{"without its backend", "RoutingPolicy", policy(1, none, targets{}), kstatus.InProgressStatus},
		{"conflicted", "RoutingPolicy", policy(1, []conflict{{covered: "rules[0] of policy \"older\""}}, taken), kstatus.InProgressStatus},
	} {
		t.Run(tt.kind+"/"+tt.name, func(t *testing.T) {
			o := untyped(t, tt.kind, tt.object)
			if got := computed(t, o); got != tt.want {
				t.Errorf("%s, want %s: %v", got, tt.want, o.Object["status"])
			}
			// "Stalled" would end a wait for what mends itself once its cause is gone.
			conditions, err := kstatus.GetObjectWithConditions(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range conditions.Status.Conditions {
				if c.Type == "Reconciling" || c.Type == "Stalled" {
					t.Errorf("%s would change what is made of it", c.Type)
				}
			}
		})
	}
}

// computed is what tools that wait (kpt, Flux, Argo CD's generic check) make of
// an object, by the library that they use.
func computed(t *testing.T, o *unstructured.Unstructured) kstatus.Status {
	t.Helper()
	result, err := kstatus.Compute(o)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// untyped is o as those tools see it.
func untyped(t *testing.T, kind string, o client.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetAPIVersion(v1alpha1.GroupVersion.String())
	u.SetKind(kind)
	return u
}
