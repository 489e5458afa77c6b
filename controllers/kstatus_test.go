package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
)

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
		if got := computed(t, o); got != kstatus.InProgressStatus {
			t.Errorf("%s, as its creation was answered: %s", kind, got)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if got := computed(t, o); got != kstatus.InProgressStatus {
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
		if got := computed(t, untyped(t, kind, o)); got != kstatus.InProgressStatus {
			t.Errorf("%s of the typed client: %s", kind, got)
		}
	}
	// A status that says what became of the schedule alone is of no look either.
	before := sb.DeepCopy()
	sb.Status = status.After(status.Observation{Generation: sb.Generation, Away: &status.Away{}, At: at}, &status.Scheduled{}, sb.Status)
	if err := c.Status().Patch(t.Context(), sb, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	if got := computed(t, untyped(t, "StorageBackend", sb)); got != kstatus.InProgressStatus {
		t.Errorf("StorageBackend that was not looked at: %s", got)
	}
}
