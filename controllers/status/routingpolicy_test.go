package status

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// declaredBackend is a backend whose status says reason; "" is Ready.
func declaredBackend(name, reason string) v1alpha1.StorageBackend {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonReady, ObservedGeneration: 1}
	if reason != "" {
		c.Status, c.Reason = metav1.ConditionFalse, reason
	}
	return v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1},
		Spec:       v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: name}},
		Status:     v1alpha1.StorageBackendStatus{ID: "id-" + name, Conditions: []metav1.Condition{c}},
	}
}

func policy(name string, age time.Duration, rules ...v1alpha1.RoutingRule) v1alpha1.RoutingPolicy {
	return v1alpha1.RoutingPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 2, CreationTimestamp: metav1.Time{Time: at.Add(-age)}},
		Spec:       v1alpha1.RoutingPolicySpec{Rules: rules},
	}
}

func producers(globs ...string) *v1alpha1.RoutingMatch {
	return &v1alpha1.RoutingMatch{Producers: globs}
}

func TestPolicyStatus(t *testing.T) {
	t.Parallel()
	readOnly := declaredBackend("archive", "")
	readOnly.Spec.Access = v1alpha1.ReadOnly
	declared := []v1alpha1.StorageBackend{declaredBackend("good", ""), declaredBackend("spare", ""), declaredBackend("broken", "BucketNotFound"), readOnly}
	older := policy("z-older", time.Hour, v1alpha1.RoutingRule{Match: producers("ci-*"), Backends: []string{"good"}})
	tests := []struct {
		name       string
		policy     v1alpha1.RoutingPolicy
		conditions []string
		rules      []v1alpha1.RuleStatus
	}{
		{
			"the first ready one takes it", policy("a", 0, v1alpha1.RoutingRule{Backends: []string{"broken", "archive", "spare", "good"}}),
			[]string{
				`Accepted=True Accepted: every rule takes effect; where an older policy matches too, the older one takes precedence: rules[0] with rules[0] of the older policy "z-older"`,
				"ResolvedRefs=True Resolved: every backend is declared", "Ready=True Ready: every rule has a backend that accepts bytes",
			},
			[]v1alpha1.RuleStatus{{Backend: "spare", Reason: "Resolved", Message: `"broken" is not ready (BucketNotFound), "archive" is read-only`}},
		},
		{
			"one that is not declared", policy("a", 0, v1alpha1.RoutingRule{Match: producers("lab"), Backends: []string{"gone", "good"}}, v1alpha1.RoutingRule{Match: producers("x"), Backends: []string{"gone"}}),
			[]string{
				"Accepted=True Accepted: every rule takes effect",
				`ResolvedRefs=False TargetNotFound: rules[0]: there is no StorageBackend "gone"; rules[1]: there is no StorageBackend "gone"`,
				`Ready=False TargetNotFound: rules[1]: "gone" is not declared`,
			},
			[]v1alpha1.RuleStatus{{Backend: "good", Reason: "Resolved", Message: `"gone" is not declared`}, {Reason: "TargetNotFound", Message: `"gone" is not declared`}},
		},
		{
			"none is ready", policy("a", 0, v1alpha1.RoutingRule{Match: producers("lab"), Backends: []string{"broken", "archive"}}),
			[]string{
				"Accepted=True Accepted: every rule takes effect", "ResolvedRefs=True Resolved: every backend is declared",
				`Ready=False NoReadyBackend: rules[0]: "broken" is not ready (BucketNotFound), "archive" is read-only`,
			},
			[]v1alpha1.RuleStatus{{Reason: "NoReadyBackend", Message: `"broken" is not ready (BucketNotFound), "archive" is read-only`}},
		},
		{
			"the older wins, the younger says so", policy("a", 0, v1alpha1.RoutingRule{Match: producers("ci-7"), Backends: []string{"spare"}}),
			[]string{
				`Accepted=False Conflicted: no rule takes effect; rules[0]: rules[0] of the older policy "z-older" takes precedence and matches everything that this rule matches`,
				"ResolvedRefs=True Resolved: every backend is declared",
				`Ready=False Conflicted: no rule takes effect; rules[0]: rules[0] of the older policy "z-older" takes precedence and matches everything that this rule matches`,
			},
			[]v1alpha1.RuleStatus{{Reason: "Conflicted", Message: `rules[0] of the older policy "z-older" takes precedence and matches everything that this rule matches`}},
		},
		{
			"behind a default of its own", policy("a", 0, v1alpha1.RoutingRule{Match: producers("lab"), Backends: []string{"good"}}, v1alpha1.RoutingRule{Match: producers("lab"), Backends: []string{"spare"}}),
			[]string{
				"Accepted=True PartlyConflicted: rules[1]: rules[0] takes precedence and matches everything that this rule matches",
				"ResolvedRefs=True Resolved: every backend is declared", "Ready=True PartlyConflicted: rules[1]: rules[0] takes precedence and matches everything that this rule matches",
			},
			[]v1alpha1.RuleStatus{{Backend: "good", Reason: "Resolved"}, {Reason: "Conflicted", Message: "rules[0] takes precedence and matches everything that this rule matches"}},
		},
		{
			"an older one does not mind the younger", policy("a", 2*time.Hour, v1alpha1.RoutingRule{Match: producers("ci-7"), Backends: []string{"spare"}}),
			[]string{
				"Accepted=True Accepted: every rule takes effect", "ResolvedRefs=True Resolved: every backend is declared",
				"Ready=True Ready: every rule has a backend that accepts bytes",
			},
			[]v1alpha1.RuleStatus{{Backend: "spare", Reason: "Resolved"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Policy(&tt.policy, ConflictsOf([]v1alpha1.RoutingPolicy{tt.policy, older})[tt.policy.Name], TargetsOf(declared), at)
			var conditions []string
			for _, c := range got.Conditions {
				conditions = append(conditions, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
				if c.ObservedGeneration != 2 {
					t.Errorf("%s speaks of generation %d", c.Type, c.ObservedGeneration)
				}
			}
			if diff := cmp.Diff(tt.conditions, conditions); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.rules, got.Rules); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConflictCache(t *testing.T) {
	t.Parallel()
	var cache ConflictCache
	older := policy("z-older", time.Hour, v1alpha1.RoutingRule{Match: producers("ci-*"), Backends: []string{"good"}})
	younger := policy("a", 0, v1alpha1.RoutingRule{Match: producers("ci-7"), Backends: []string{"good"}})
	all := []v1alpha1.RoutingPolicy{younger, older}
	if found := cache.Of(all); found["a"][0].covered == "" || found["z-older"][0].covered != "" {
		t.Fatalf("%+v", found)
	}
	all[0].Spec.Rules = []v1alpha1.RoutingRule{{Match: producers("lab"), Backends: []string{"good"}}}
	if cache.Of(all)["a"][0].covered == "" {
		t.Error("the same generation was looked at again")
	}
	all[0].Generation++
	if cache.Of(all)["a"][0].covered != "" {
		t.Error("another generation was not looked at")
	}
}

// TestConflictsOfMany: a long list is compared in time, and messages stay short.
func TestConflictsOfMany(t *testing.T) {
	t.Parallel()
	var all []v1alpha1.RoutingPolicy
	for i := range 100 {
		var rules []v1alpha1.RoutingRule
		for j := range 20 {
			rules = append(rules, v1alpha1.RoutingRule{Match: producers(fmt.Sprintf("team-%02d-%02d-*", i, j), fmt.Sprintf("*-lab-%02d-%02d", i, j)), Backends: []string{"good"}})
		}
		all = append(all, policy(fmt.Sprintf("p-%02d", i), 0, rules...))
	}
	all = append(all, policy("q", 0, v1alpha1.RoutingRule{Backends: []string{"good"}}))
	began := time.Now()
	found := ConflictsOf(all)["q"][0]
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if want := `rules[0] of the older policy "p-00", rules[1] of the older policy "p-00", rules[2] of the older policy "p-00" and others`; found.String() != want {
		t.Errorf("%s", found)
	}
}
