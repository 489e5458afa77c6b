package status

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// Snapshot translates what is declared, as the statuses and this process's
// drivers have it, into a routing table. Objects come from one namespace.
func Snapshot(declared []v1alpha1.StorageBackend, policies []v1alpha1.RoutingPolicy, opened map[string]Opened) routing.Snapshot {
	var s routing.Snapshot
	for i := range declared {
		s.Backends = append(s.Backends, tableEntry(&declared[i], opened[declared[i].Name]))
	}
	for _, p := range byAge(policies) {
		s.Rules = append(s.Rules, policyRules(&p)...)
	}
	return s
}

// tableEntry joins a backend's recorded status with this process's own driver. The
// backend accepts bytes only if both agree on the place.
func tableEntry(sb *v1alpha1.StorageBackend, opened Opened) placement.Backend {
	b := placement.Backend{Name: sb.Name, ID: opened.ID, Driver: declared.Driver(sb), ReadOnly: sb.Spec.Access == v1alpha1.ReadOnly, LastProbe: opened.At}
	if opened.Store != nil {
		b.Store, b.Place = opened.Store, opened.Place
	}
	b.Prober, b.Capabilities = opened.Prober, Capabilities(sb.Status.Capabilities)
	b.Ready, b.Reason, b.Message = Readiness(sb)
	switch {
	case !b.Ready && (opened.Problem == nil || b.Reason != ReasonNotObserved):
		// The status knows best, unless it knows nothing yet.
	case opened.Problem != nil && !(opened.ID != "" && (opened.Problem.Lost || opened.LastGood == LastGoodServes)):
		// One lost look at a place that was known does not outweigh the status, which counts them,
		// nor do new credentials that do not work from here yet: the last that did serve on.
		b.Ready, b.Reason, b.Message = false, opened.Problem.Reason, opened.Problem.Message
	case opened.Store == nil:
		b.Ready, b.Reason, b.Message = false, ReasonNotObserved, "this replica has not opened it yet"
	case opened.ID != sb.Status.ID:
		// The same declaration leads elsewhere from here: a folder that is not shared, a name that resolves differently.
		b.Ready, b.Reason, b.Message = false, ReasonForeignMarker, "this replica reaches a different place than the one in the status"
	}
	return b
}

// Readiness reads a backend's status as routing does.
func Readiness(sb *v1alpha1.StorageBackend) (ready bool, reason, message string) {
	if !sb.DeletionTimestamp.IsZero() {
		return false, ReasonTerminating, "it is being deleted"
	}
	c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case c == nil:
		return false, ReasonNotObserved, "the current declaration has not been probed yet"
	case c.Status == metav1.ConditionTrue:
		// Also while an edit was not probed yet: the driver that was tried stays in use until then.
		return true, "", ""
	case sb.Status.LastGoodServes:
		return true, c.Reason, c.Message
	case c.ObservedGeneration != sb.Generation:
		return false, ReasonNotObserved, "the current declaration has not been probed yet"
	}
	return false, c.Reason, c.Message
}

// byAge orders policies by precedence: the oldest first, by name where they are
// equally old (as all are that come from files).
func byAge(policies []v1alpha1.RoutingPolicy) []v1alpha1.RoutingPolicy {
	sorted := slices.Clone(policies)
	slices.SortStableFunc(sorted, func(a, b v1alpha1.RoutingPolicy) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return sorted
}

func policyRules(p *v1alpha1.RoutingPolicy) []routing.Rule {
	var rules []routing.Rule
	for i, r := range p.Spec.Rules {
		rule := routing.Rule{Policy: p.Name, Index: i, Backends: r.Backends}
		if r.Match != nil {
			rule.Producers, rule.RetentionClasses = r.Match.Producers, r.Match.RetentionClasses
		}
		rules = append(rules, rule)
	}
	return rules
}

// AllTried reports whether every declared backend was tried once: only then is
// the first table a picture of what is there, and the replica ready.
func AllTried(declared []v1alpha1.StorageBackend, opened map[string]Opened) bool {
	return !slices.ContainsFunc(declared, func(sb v1alpha1.StorageBackend) bool {
		_, tried := opened[sb.Name]
		return !tried
	})
}
