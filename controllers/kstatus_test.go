package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// computed is what tools that wait (kpt, Flux, Argo CD's generic check) make of
// an object, by the library that they use.
func computed(t *testing.T, o *unstructured.Unstructured) status.Status {
	t.Helper()
	result, err := status.Compute(o)
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

// TestNewObjectsAreInProgress: what was applied and that nobody has looked at
// yet is not taken for well.
func TestNewObjectsAreInProgress(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	for kind, spec := range map[string]string{"StorageBackend": "{local: {path: /a}}", "RoutingPolicy": "{rules: [{backends: [a]}]}"} {
		o := object(t, ns, kind, "new", spec)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got := computed(t, o); got != status.InProgressStatus {
			t.Errorf("%s, as its creation was answered: %s", kind, got)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if got := computed(t, o); got != status.InProgressStatus {
			t.Errorf("%s, as it is read: %s", kind, got)
		}
	}
	// The typed client sends an empty status, which must not count as one.
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "typed"}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: "/b"}}}
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "typed"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"a"}}}}}
	for kind, o := range map[string]client.Object{"StorageBackend": sb, "RoutingPolicy": p} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if got := computed(t, untyped(t, kind, o)); got != status.InProgressStatus {
			t.Errorf("%s of the typed client: %s", kind, got)
		}
	}
	// A status that says what became of the schedule alone is of no look either.
	before := sb.DeepCopy()
	sb.Status = statusAfter(Observation{Generation: sb.Generation, Away: &turnedAway{}, At: at, Scheduled: &Scheduled{}}, sb.Status)
	if err := c.Status().Patch(t.Context(), sb, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	if got := computed(t, untyped(t, "StorageBackend", sb)); got != status.InProgressStatus {
		t.Errorf("StorageBackend that was not looked at: %s", got)
	}
}

// TestStatusIsWhatToolsWaitFor: a new generation is in progress until it was
// looked at, and what does not work never passes for current.
func TestStatusIsWhatToolsWaitFor(t *testing.T) {
	t.Parallel()
	fresh := v1alpha1.StorageBackendStatus{ObservedGeneration: -1}
	well := Observation{Generation: 1, ID: "id", Credentials: ReasonResolved, At: at, Findings: &registrar.Findings{}}
	after := func(previous v1alpha1.StorageBackendStatus, change func(*Observation)) v1alpha1.StorageBackendStatus {
		seen := well
		change(&seen)
		return statusAfter(seen, previous)
	}
	first := after(fresh, func(*Observation) {})
	broken := after(first, func(o *Observation) {
		o.Generation, o.LastGood = 2, LastGoodServes
		o.Problem = &Problem{Condition: v1alpha1.ConditionCredentialsResolved, Reason: ReasonSecretNotFound}
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
		p.Status = policyStatus(p, conflicts, there, at)
		p.Generation = generation
		return p
	}
	none, taken := []conflict{{}}, targets{"a": {}}
	for _, tt := range []struct {
		name, kind string
		object     client.Object
		want       status.Status
	}{
		{"new", "StorageBackend", backend(1, fresh), status.InProgressStatus},
		{"ready", "StorageBackend", backend(1, first), status.CurrentStatus},
		{"edited", "StorageBackend", backend(2, first), status.InProgressStatus},
		{"broken, though what worked last serves on", "StorageBackend", backend(2, broken), status.InProgressStatus},
		{"refused", "StorageBackend", backend(1, after(first, func(o *Observation) {
			o.Problem = &Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonSecretKeyWrong}
		})), status.InProgressStatus},
		{"turned before its first answer", "StorageBackend", backend(1, after(fresh, func(o *Observation) {
			o.Problem = &Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonCancelled}
		})), status.InProgressStatus},
		{"one look lost", "StorageBackend", backend(1, after(first, func(o *Observation) {
			o.Stands = &Problem{Condition: v1alpha1.ConditionReachable, Reason: storage.ReasonConnectionRefused, Lost: true}
		})), status.CurrentStatus},
		{"read only", "StorageBackend", backend(1, after(fresh, func(o *Observation) { o.ReadOnly = true })), status.CurrentStatus},
		{"suspended while it was well", "StorageBackend", backend(1, after(first, func(o *Observation) { o.Suspended = true })), status.CurrentStatus},
		{"suspended before it was ever tried", "StorageBackend", backend(1, after(fresh, func(o *Observation) { o.Suspended = true })), status.InProgressStatus},
		{"being deleted", "StorageBackend", going, status.TerminatingStatus},
		{"new", "RoutingPolicy", &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: v1alpha1.RoutingPolicyStatus{ObservedGeneration: -1}}, status.InProgressStatus},
		{"ready", "RoutingPolicy", policy(1, none, taken), status.CurrentStatus},
		{"edited", "RoutingPolicy", policy(2, none, taken), status.InProgressStatus},
		{"without its backend", "RoutingPolicy", policy(1, none, targets{}), status.InProgressStatus},
		{"conflicted", "RoutingPolicy", policy(1, []conflict{{covered: "rule 0 of policy \"older\""}}, taken), status.InProgressStatus},
	} {
		t.Run(tt.kind+"/"+tt.name, func(t *testing.T) {
			o := untyped(t, tt.kind, tt.object)
			if got := computed(t, o); got != tt.want {
				t.Errorf("%s, want %s: %v", got, tt.want, o.Object["status"])
			}
			// "Stalled" would end a wait for what mends itself once its cause is gone.
			conditions, err := status.GetObjectWithConditions(o.Object)
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
