package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// Reasons of a RoutingPolicy's conditions and rules.
const (
	ReasonAccepted         = "Accepted"
	ReasonConflicted       = "Conflicted"
	ReasonPartlyConflicted = "PartlyConflicted"
	ReasonTargetNotFound   = "TargetNotFound"
	ReasonNoReadyBackend   = "NoReadyBackend"
)

// targets are the declared backends, by name, as rules see them.
type targets map[string]Target

// Target is whether a backend takes bytes now; passed says why not.
type Target struct{ passed string }

func TargetsOf(declared []v1alpha1.StorageBackend) targets {
	all := make(targets, len(declared))
	for i := range declared {
		sb := &declared[i]
		ready, reason, _ := Readiness(sb)
		switch {
		case sb.Spec.Access == v1alpha1.ReadOnly:
			all[sb.Name] = Target{"is read-only"}
		case !ready:
			all[sb.Name] = Target{"is not ready (" + reason + ")"}
		default:
			all[sb.Name] = Target{}
		}
	}
	return all
}

// Policy says what becomes of one policy, whose rules have the conflicts
// and may send bytes to the targets. p's own status gives the times of transition.
func Policy(p *v1alpha1.RoutingPolicy, conflicts []conflict, backends targets, now time.Time) v1alpha1.RoutingPolicyStatus {
	status := v1alpha1.RoutingPolicyStatus{ObservedGeneration: p.Generation, Conditions: slices.Clone(p.Status.Conditions)}
	var covered, unknown, unready, overlaps []string
	reason := "" // why the first rule that has no backend has none
	for i, rule := range p.Spec.Rules {
		rs, missing := ruleStatus(rule, backends)
		for _, name := range missing {
			unknown = append(unknown, fmt.Sprintf("rules[%d]: there is no StorageBackend %q", i, name))
		}
		found := conflicts[i]
		switch {
		case found.covered != "":
			rs = v1alpha1.RuleStatus{Reason: ReasonConflicted, Message: shortened(found.covered + " takes precedence and matches everything that this rule matches")}
			covered = append(covered, fmt.Sprintf("rules[%d]: %s", i, rs.Message))
		case rs.Backend == "":
			if reason == "" {
				reason = rs.Reason
			}
			unready = append(unready, fmt.Sprintf("rules[%d]: %s", i, rs.Message))
		}
		if len(found.overlaps) > 0 {
			overlaps = append(overlaps, fmt.Sprintf("rules[%d] with %s", i, found))
		}
		status.Rules = append(status.Rules, rs)
	}

	accepted := condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonAccepted, "every rule takes effect")
	switch {
	case len(covered) == len(p.Spec.Rules):
		accepted = condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonConflicted, "no rule takes effect; "+strings.Join(covered, "; "))
	case len(covered) > 0:
		accepted.Reason, accepted.Message = ReasonPartlyConflicted, strings.Join(covered, "; ")
	case len(overlaps) > 0:
		accepted.Message = "every rule takes effect; where an older policy matches too, the older one takes precedence: " + strings.Join(overlaps, "; ")
	}
	resolved := condition(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, ReasonResolved, "every backend is declared")
	if len(unknown) > 0 {
		resolved = condition(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, ReasonTargetNotFound, strings.Join(unknown, "; "))
	}
	ready := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, "every rule has a backend that accepts bytes")
	switch {
	case accepted.Status != metav1.ConditionTrue:
		ready = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, accepted.Reason, accepted.Message)
	case len(unready) > 0:
		ready = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, strings.Join(unready, "; "))
	case len(covered) > 0:
		// What takes effect works; who looks at Ready alone sees that not all does.
		ready.Reason, ready.Message = accepted.Reason, accepted.Message
	}
	for _, c := range []metav1.Condition{accepted, resolved, ready} {
		c.ObservedGeneration = p.Generation
		c.Message = shortened(c.Message)
		if old := meta.FindStatusCondition(status.Conditions, c.Type); old == nil || old.Status != c.Status {
			c.LastTransitionTime = metav1.Time{Time: now}
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
	return status
}

// ruleStatus resolves one rule against the declared backends, and names those that are not.
func ruleStatus(rule v1alpha1.RoutingRule, backends targets) (rs v1alpha1.RuleStatus, missing []string) {
	var passed []string
	for _, name := range rule.Backends {
		found, declared := backends[name]
		switch {
		case !declared:
			missing = append(missing, name)
			passed = append(passed, fmt.Sprintf("%q is not declared", name))
		case found.passed != "":
			passed = append(passed, fmt.Sprintf("%q %s", name, found.passed))
		case rs.Backend == "":
			rs.Backend = name
		}
	}
	rs.Message = shortened(strings.Join(passed, ", "))
	switch {
	case rs.Backend != "":
		rs.Reason = ReasonResolved
	case len(missing) == len(rule.Backends):
		rs.Reason = ReasonTargetNotFound
	default:
		rs.Reason = ReasonNoReadyBackend
	}
	return rs, missing
}

// shortened keeps a message within what the API server takes (32,768 bytes), and readable.
func shortened(message string) string {
	const most = 2000
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "…"
}
