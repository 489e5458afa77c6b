package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/routing"
)

// Reasons of a RoutingPolicy's conditions and rules.
const (
	ReasonAccepted        = "Accepted"
	ReasonConflicted      = "Conflicted"
	ReasonPartlyShadowed  = "PartlyShadowed"
	ReasonBackendNotFound = "BackendNotFound"
	ReasonNoReadyBackend  = "NoReadyBackend"
	ReasonShadowed        = "Shadowed"
)

// policyStatus says what becomes of one policy among all of its namespace.
// previous gives the times of transition.
func policyStatus(p *v1alpha1.RoutingPolicy, all []v1alpha1.RoutingPolicy, declared []v1alpha1.StorageBackend, now time.Time) v1alpha1.RoutingPolicyStatus {
	status := v1alpha1.RoutingPolicyStatus{ObservedGeneration: p.Generation, Conditions: slices.Clone(p.Status.Conditions)}
	before := rulesBefore(p, all)
	var shadowed, unknown, unready, overlaps []string
	for _, rule := range policyRules(p) {
		rs, missing := ruleStatus(rule, declared)
		unknown = append(unknown, missing...)
		for _, earlier := range before {
			if earlier.Covers(rule) {
				rs = v1alpha1.RuleStatus{Reason: ReasonShadowed, Message: fmt.Sprintf("%s comes first and takes all that it matches", ruleName(earlier, p.Name))}
				break
			}
			if earlier.Policy != p.Name && earlier.Overlaps(rule) {
				overlaps = append(overlaps, fmt.Sprintf("rule %d with %s", rule.Index, ruleName(earlier, p.Name)))
			}
		}
		switch {
		case rs.Reason == ReasonShadowed:
			shadowed = append(shadowed, fmt.Sprintf("rule %d: %s", rule.Index, rs.Message))
		case rs.Backend == "":
			unready = append(unready, fmt.Sprintf("rule %d: %s", rule.Index, rs.Message))
		}
		status.Rules = append(status.Rules, rs)
		before = append(before, rule)
	}

	accepted := condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, ReasonAccepted, "every rule takes effect")
	switch {
	case len(shadowed) == len(p.Spec.Rules):
		accepted = condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, ReasonConflicted, "no rule takes effect; "+strings.Join(shadowed, "; "))
	case len(shadowed) > 0:
		accepted.Reason, accepted.Message = ReasonPartlyShadowed, strings.Join(shadowed, "; ")
	case len(overlaps) > 0:
		accepted.Message = "every rule takes effect; what an older policy matches too is the older one's: " + strings.Join(overlaps, "; ")
	}
	resolved := condition(v1alpha1.ConditionResolvedRefs, metav1.ConditionTrue, ReasonResolved, "every backend is declared")
	if len(unknown) > 0 {
		resolved = condition(v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, ReasonBackendNotFound, strings.Join(unknown, "; "))
	}
	ready := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonReady, "every rule has a backend that takes bytes now")
	switch {
	case accepted.Status != metav1.ConditionTrue:
		ready = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, accepted.Reason, accepted.Message)
	case len(unready) > 0:
		ready = condition(v1alpha1.ConditionReady, metav1.ConditionFalse, ReasonNoReadyBackend, strings.Join(unready, "; "))
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

// rulesBefore lists the rules of every policy that has precedence over p.
func rulesBefore(p *v1alpha1.RoutingPolicy, all []v1alpha1.RoutingPolicy) []routing.Rule {
	var before []routing.Rule
	for _, other := range byAge(all) {
		if other.Name == p.Name {
			break
		}
		before = append(before, policyRules(&other)...)
	}
	return before
}

// ruleStatus resolves one rule against the declared backends, and lists those that are not.
func ruleStatus(rule routing.Rule, declared []v1alpha1.StorageBackend) (rs v1alpha1.RuleStatus, missing []string) {
	var passed []string
	for _, name := range rule.Backends {
		at := slices.IndexFunc(declared, func(sb v1alpha1.StorageBackend) bool { return sb.Name == name })
		if at < 0 {
			missing = append(missing, fmt.Sprintf("rule %d: there is no StorageBackend %q", rule.Index, name))
			passed = append(passed, fmt.Sprintf("%q is not declared", name))
			continue
		}
		ready, reason, _ := readiness(&declared[at])
		switch {
		case declared[at].Spec.Access == v1alpha1.ReadOnly:
			passed = append(passed, fmt.Sprintf("%q is read-only", name))
		case !ready:
			passed = append(passed, fmt.Sprintf("%q is not ready (%s)", name, reason))
		case rs.Backend == "":
			rs.Backend = name
		}
	}
	rs.Message = strings.Join(passed, ", ")
	switch {
	case rs.Backend != "":
		rs.Reason = ReasonResolved
	case len(missing) == len(rule.Backends):
		rs.Reason = ReasonBackendNotFound
	default:
		rs.Reason = ReasonNoReadyBackend
	}
	return rs, missing
}

func ruleName(rule routing.Rule, own string) string {
	if rule.Policy == own {
		return fmt.Sprintf("rule %d", rule.Index)
	}
	return fmt.Sprintf("rule %d of the older policy %q", rule.Index, rule.Policy)
}

// shortened keeps a message within what the API server takes (32,768 bytes), and readable.
func shortened(message string) string {
	const most = 2000
	if len(message) <= most {
		return message
	}
	return message[:most] + "…"
}
