package observe

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
)

// needed are the capabilities without which a place is of no use for new
// blobs, as probe.Result.Needed has them: a recorded status does not say it.
var needed = []string{probe.Put, probe.Head, probe.Get, probe.List, "multipart"}

// proved are those whose working each small probe that is well proves: what a
// full probe found of them before, at a server that was busy, say, is over.
var proved = []string{probe.Put, probe.Get}

// keeps reports whether what is deleted in the place stays, because deleting is denied
// or objects are locked: such a place is probed by reading, and by the full probe.
func keeps(stand []storage.Capability) bool {
	return slices.ContainsFunc(stand, func(c storage.Capability) bool {
		return c.Name == probe.Delete && c.Status == storage.Unsupported
	})
}

// keeps is the function for what is known of the place that config leads to.
func (d *driver) keeps(config backends.Config, sb *v1alpha1.StorageBackend) bool {
	return keeps(standing(d.lastFull(config).capabilities(), sb.Generation, sb.Status))
}

// unproved leaves of capabilities what a small probe does not try.
func unproved(stand []storage.Capability) []storage.Capability {
	return slices.DeleteFunc(slices.Clone(stand), func(c storage.Capability) bool { return slices.Contains(proved, c.Name) })
}

func lacks(c storage.Capability) bool {
	return c.Status == storage.Unsupported && slices.Contains(needed, c.Name)
}

// standing is what is known after found, the last full probe of this process;
// nil for none. Capabilities stand between full probes, also over a restart of
// the manager, and what a place lacks until a full probe finds it working: one
// without an answer takes nothing back. Those of another generation may be of another server.
func standing(found []storage.Capability, generation int64, recorded v1alpha1.StorageBackendStatus) []storage.Capability {
	if recorded.ObservedGeneration != generation {
		return found
	}
	before := status.Capabilities(recorded.Capabilities)
	if found == nil {
		return before
	}
	found = slices.Clone(found)
	for i, c := range found {
		was := slices.IndexFunc(before, func(b storage.Capability) bool { return b.Name == c.Name && lacks(b) })
		if c.Status == storage.SupportUnknown && was >= 0 {
			found[i] = before[was]
		}
	}
	return found
}

// lacking is the first thing that new blobs need and the place cannot do; nil for none.
func lacking(stand []storage.Capability, last *fullProbe, recorded v1alpha1.StorageBackendStatus) *declared.Problem {
	i := slices.IndexFunc(stand, lacks)
	if i < 0 {
		return nil
	}
	name, reason := stand[i].Name, status.ReasonUnsupported
	if c := refusal(recorded); c != nil {
		reason = c.Reason // of a full probe before this process's
	}
	if last != nil {
		for _, one := range last.report.Results {
			if one.Name == name && one.Status == storage.Unsupported && one.Why() != "" {
				reason = one.Why()
			}
		}
	}
	return declared.Problemf(v1alpha1.ConditionWritable, reason, "%s: %s", name, stand[i].Message)
}

// outdated reports whether p is from before the recorded status found something
// lacking: another replica led meanwhile.
func (p *fullProbe) outdated(generation int64, recorded v1alpha1.StorageBackendStatus) bool {
	if p == nil || recorded.ObservedGeneration != generation || slices.ContainsFunc(p.capabilities(), lacks) {
		return false
	}
	c := refusal(recorded)
	return c != nil && p.at.Before(c.LastTransitionTime.Time) && slices.ContainsFunc(status.Capabilities(recorded.Capabilities), lacks)
}

// refusal is the recorded Writable where it is False and not by declaration.
func refusal(recorded v1alpha1.StorageBackendStatus) *metav1.Condition {
	c := meta.FindStatusCondition(recorded.Conditions, v1alpha1.ConditionWritable)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == status.ReasonReadOnly {
		return nil
	}
	return c
}
