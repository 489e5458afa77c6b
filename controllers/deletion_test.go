package controllers

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
)

// TestClusterDeletesByTheLog: what holds a backend is the log, also where the
// status has lost its id.
func TestClusterDeletesByTheLog(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("held")
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	id := sb.Status.ID
	c.holds(sb, 7)
	before := sb.DeepCopy()
	sb.Status = v1alpha1.StorageBackendStatus{} // a backup that was restored has none
	if err := c.client.Status().Patch(t.Context(), sb, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	c.remove(sb)
	if is := c.until(sb, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked); !strings.Contains(is.Message, "names 7 live locations") || sb.Status.ID != id {
		t.Errorf("%q, id %q, want %q", is.Message, sb.Status.ID, id)
	}
	if given := c.registrar.Given(); len(given) > 0 {
		t.Errorf("%v was given up", given)
	}
}

// TestClusterRenames a backend: the same place is declared under another name,
// and then the first name goes, although the log names content there; the last does not.
func TestClusterRenames(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	old := c.local("old")
	c.until(old, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.holds(old, 7)
	renamed := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Spec: v1alpha1.StorageBackendSpec{Local: old.Spec.Local}}
	c.create(renamed)
	c.until(renamed, "Ready", metav1.ConditionTrue, status.ReasonReady)
	if renamed.Status.ID != old.Status.ID {
		t.Fatalf("%s and %s are not one backend", renamed.Status.ID, old.Status.ID)
	}
	c.held(renamed, true)
	c.remove(old)
	c.gone(old)
	c.remove(renamed)
	c.until(renamed, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
}

// gone waits until an object is.
func (c *cluster) gone(o client.Object) {
	c.t.Helper()
	eventually(c.t, func() string {
		if err := c.client.Get(c.t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("%s is still there: %v", o.GetName(), err)
		}
		return ""
	})
}

// event waits for an Event of an object with the reason, and returns it.
func (c *cluster) event(o client.Object, reason string) (found eventsv1.Event) {
	c.t.Helper()
	eventually(c.t, func() string {
		var all eventsv1.EventList
		if err := c.client.List(c.t.Context(), &all, client.InNamespace(c.namespace)); err != nil {
			return err.Error()
		}
		for _, e := range all.Items {
			if e.Regarding.Name == o.GetName() && e.Reason == reason {
				found = e
				return ""
			}
		}
		return fmt.Sprintf("no Event %s tells of %s: %d others", reason, o.GetName(), len(all.Items))
	})
	return found
}

// TestClusterGivesUpLocations where an administrator says so, and only then: by
// the id, at the deletion, and though the place is gone.
func TestClusterGivesUpLocations(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.local("held")
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	id := sb.Status.ID
	c.holds(sb, 7)
	annotate := func(value string) {
		c.edit(sb, func() { sb.Annotations = map[string]string{v1alpha1.AbandonAnnotation: value} })
	}
	// Before the deletion it has no effect.
	annotate(id)
	c.edit(sb, func() { sb.Spec.Access = v1alpha1.ReadOnly })
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReadOnly)
	if given := c.registrar.Given(); len(given) > 0 {
		t.Fatalf("%v was given up without a deletion", given)
	}
	annotate("yes")
	if err := os.RemoveAll(sb.Spec.Local.Path); err != nil {
		t.Fatal(err)
	}
	c.remove(sb)
	is := c.until(sb, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
	for _, says := range []string{"names 7 live locations", v1alpha1.AbandonAnnotation, `is "yes"`, id} {
		if !strings.Contains(is.Message, says) {
			t.Errorf("%q does not say %q", is.Message, says)
		}
	}
	c.edit(sb, func() { sb.Annotations = nil })
	eventually(t, func() string {
		is := c.until(sb, "Ready", metav1.ConditionFalse, status.ReasonDeletionBlocked)
		if !strings.Contains(is.Message, "to abandon them, set the annotation "+v1alpha1.AbandonAnnotation+` to "`+id+`"`) {
			return is.Message
		}
		return ""
	})
	if given := c.registrar.Given(); len(given) > 0 {
		t.Fatalf("%v was given up by a wrong value", given)
	}
	annotate(id)
	c.gone(sb)
	if given := c.registrar.Given(); !slices.Equal(given, []string{id}) {
		t.Errorf("%v was given up", given)
	}
	if e := c.event(sb, ReasonAbandoned); e.Type != corev1.EventTypeWarning || !strings.Contains(e.Note, "7 live locations were abandoned") {
		t.Errorf("%s: %s", e.Type, e.Note)
	}
}
