package controllers

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
)

// younger makes a policy that is younger than another by the API server's clock, which counts seconds.
func (c *cluster) younger(than *v1alpha1.RoutingPolicy, name string, rules ...v1alpha1.RoutingRule) *v1alpha1.RoutingPolicy {
	c.t.Helper()
	p := &v1alpha1.RoutingPolicy{}
	eventually(c.t, func() string {
		*p = v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RoutingPolicySpec{Rules: rules}}
		c.create(p)
		if p.CreationTimestamp.After(than.CreationTimestamp.Time) {
			return ""
		}
		if err := c.client.Delete(c.t.Context(), p); err != nil {
			c.t.Fatal(err)
		}
		return "made within the same second"
	})
	return p
}

// TestClusterReportsConflictsOnTheYounger, whatever their names, and until the older one goes.
func TestClusterReportsConflictsOnTheYounger(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	one, two := c.local("one"), c.local("two")
	c.until(one, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(two, "Ready", metav1.ConditionTrue, status.ReasonReady)
	older := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "z"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{
		{Match: &v1alpha1.RoutingMatch{RetentionClasses: []string{"evidence"}}, Backends: []string{"one"}},
	}}}
	c.create(older)
	younger := c.younger(older, "a",
		v1alpha1.RoutingRule{Match: &v1alpha1.RoutingMatch{Producers: []string{"lab"}, RetentionClasses: []string{"evidence"}}, Backends: []string{"two"}})
	is := c.until(younger, v1alpha1.ConditionAccepted, metav1.ConditionFalse, status.ReasonConflicted)
	if !strings.Contains(is.Message, `rules[0] of the older policy "z"`) {
		t.Errorf("%q", is.Message)
	}
	c.until(younger, v1alpha1.ConditionReady, metav1.ConditionFalse, status.ReasonConflicted)
	c.until(older, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	c.goesTo(c.table, "evidence", "one")

	// A second rule that takes effect.
	c.edit(younger, func() {
		younger.Spec.Rules = append(younger.Spec.Rules, v1alpha1.RoutingRule{Backends: []string{"gone", "two"}})
	})
	c.until(younger, v1alpha1.ConditionAccepted, metav1.ConditionTrue, status.ReasonPartlyConflicted)
	c.until(younger, v1alpha1.ConditionResolvedRefs, metav1.ConditionFalse, status.ReasonTargetNotFound)
	c.until(younger, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonPartlyConflicted)
	rules := []v1alpha1.RuleStatus{
		{Reason: status.ReasonConflicted, Message: `rules[0] of the older policy "z" takes precedence and matches everything that this rule matches`},
		{Backend: "two", Reason: status.ReasonResolved, Message: `"gone" is not declared`},
	}
	if fmt.Sprint(younger.Status.Rules) != fmt.Sprint(rules) {
		t.Errorf("%+v", younger.Status.Rules)
	}
	c.goesTo(c.table, "other", "two")

	c.edit(younger, func() { younger.Spec.Rules = []v1alpha1.RoutingRule{{Backends: []string{"gone"}}} })
	c.until(younger, v1alpha1.ConditionReady, metav1.ConditionFalse, status.ReasonTargetNotFound)
	c.edit(younger, func() {
		younger.Spec.Rules[0] = v1alpha1.RoutingRule{Match: &v1alpha1.RoutingMatch{RetentionClasses: []string{"evidence"}}, Backends: []string{"two"}}
	})
	c.until(younger, v1alpha1.ConditionReady, metav1.ConditionFalse, status.ReasonConflicted)
	if err := c.client.Delete(t.Context(), older); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	c.until(younger, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	c.goesTo(c.table, "evidence", "two")
}
