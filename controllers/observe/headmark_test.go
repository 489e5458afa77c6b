package observe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/observe/observetest"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Each probe compares the head mark and writes it, where writing is allowed; a
// log that is older shows as a condition and a metric, and takes nothing out of service.
func TestHeadMark(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	o, root := newObserver(t, NewMetrics(registry))
	path := filepath.Join(root, "volume")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "volume", Generation: 1}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	sb.Spec.Probe.Suspend = true
	look := func() *metav1.Condition {
		t.Helper()
		sb.Status = status.Backend(o.Observe(t.Context(), sb, nil, HostLookup), nil, sb.Status)
		ready, reason, _ := status.Readiness(sb)
		if !ready && !sb.Spec.Probe.Suspend && reason != status.ReasonUnsupported { // until the full probe behind the look has ended
			t.Errorf("it is not ready: %s", reason)
		}
		return meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionLogCurrent)
	}
	mark := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(path, storage.HeadMarkKey))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(data)
	}
	if c := look(); c != nil || mark() != "" {
		t.Errorf("while probes are suspended: %+v, the mark is %q", c, mark())
	}
	sb.Spec.Probe.Suspend = false
	sb.Generation++
	if c := look(); c != nil || mark() != "5m0s" {
		t.Errorf("a probe: %+v, the mark is %q", c, mark())
	}
	registrar := o.registrar.(*observetest.Registrar)
	registrar.RefuseHeadMarks(fmt.Errorf("reading the head mark of volume: %w", storage.ErrDenied))
	if c := look(); c == nil || c.Status != metav1.ConditionUnknown || c.Reason != storage.ReasonAccessDenied || !strings.Contains(c.Message, "head mark") {
		t.Errorf("a mark that may not be read: %+v", c)
	}
	registrar.RefuseHeadMarks(storage.ErrUnreachable)
	if c := look(); c == nil || c.Status != metav1.ConditionUnknown {
		t.Errorf("a look without an answer changes the condition: %+v", c)
	}
	registrar.RefuseHeadMarks(nil)
	if c := look(); c != nil {
		t.Errorf("it can be read again: %+v", c)
	}
	registrar.Age(sb.Status.ID, true)
	for range 2 {
		if c := look(); c == nil || c.Status != metav1.ConditionFalse || c.Reason != status.ReasonOlderLog || c.Message == "" {
			t.Errorf("an older log: %+v", c)
		}
		if got := gauge(t, registry, "artifactstore_backend_log_older"); got != 1 {
			t.Errorf("the metric is %v", got)
		}
	}
	registrar.Age(sb.Status.ID, false)
	sb.Status.Capabilities = []v1alpha1.Capability{{Name: "delete", Status: string(storage.Unsupported)}}
	if c := look(); c != nil || mark() != (24*time.Hour).String() || gauge(t, registry, "artifactstore_backend_log_older") != 0 {
		t.Errorf("it is current again: %+v, the mark is %q", c, mark())
	}
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name && len(family.GetMetric()) == 1 {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
