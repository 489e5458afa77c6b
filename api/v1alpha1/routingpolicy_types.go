package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Condition types of a RoutingPolicy, beside Ready.
const (
	// ConditionAccepted: at least one rule takes effect.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs: every backend that a rule names is declared.
	ConditionResolvedRefs = "ResolvedRefs"
)

// RoutingPolicy says which packages go to which backend. All policies of the
// namespace make one list, the oldest policy first.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rp,categories=artifactstore
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Resolved",type=string,JSONPath=`.status.conditions[?(@.type=="ResolvedRefs")].status`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RoutingPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec RoutingPolicySpec `json:"spec"`
	// Status is what became of it. Until the first look no generation counts as
	// observed: tools that wait (kstatus) do not take what is new for what is well.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status RoutingPolicyStatus `json:"status,omitempty"`
}

// RoutingPolicySpec is what is wanted.
type RoutingPolicySpec struct {
	// Rules: the first that matches decides.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +required
	Rules []RoutingRule `json:"rules"`
}

// RoutingRule sends what it matches to the first ready one of its backends.
type RoutingRule struct {
	// Match narrows the rule; without it the rule takes everything.
	// +optional
	Match *RoutingMatch `json:"match,omitempty"`
	// Backends names StorageBackends of the namespace in order of preference.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches(r'^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a StorageBackend: at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at its ends"
	// +listType=atomic
	// +required
	Backends []string `json:"backends"`
}

// RoutingMatch holds where both parts hold; a part that is not set holds always.
// +kubebuilder:validation:XValidation:rule="has(self.producers) || has(self.retentionClasses)",message="match must name producers or retentionClasses; leave match out to take everything"
type RoutingMatch struct {
	// Producers are globs: "*" is any run of characters, "?" one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches(r'^[A-Za-z0-9_.*?-]+$')",message="must be 1 to 128 letters, digits, '_', '.' and '-', and '*' and '?' for any"
	// +listType=atomic
	// +optional
	Producers []string `json:"producers,omitempty"`
	// RetentionClasses are compared as they are.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches(r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')",message="must be 1 to 128 letters, digits, '_', '.' and '-', with a letter or digit first"
	// +listType=atomic
	// +optional
	RetentionClasses []string `json:"retentionClasses,omitempty"`
}

// RoutingPolicyStatus is what became of it.
type RoutingPolicyStatus struct {
	// ObservedGeneration is the generation that the conditions speak of; -1
	// until the first look.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Rules, one for each of spec, in the same order.
	// +listType=atomic
	// +optional
	Rules []RuleStatus `json:"rules,omitempty"`
	// Conditions: Accepted, ResolvedRefs, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RuleStatus is what one rule does now.
type RuleStatus struct {
	// Backend that takes the bytes of this rule now; empty if none would.
	// +optional
	Backend string `json:"backend,omitempty"`
	// Reason is Resolved, NoReadyBackend, TargetNotFound or Conflicted.
	Reason string `json:"reason"`
	// Message says it in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
}

// RoutingPolicyList is a list.
// +kubebuilder:object:root=true
type RoutingPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RoutingPolicy `json:"items"`
}
