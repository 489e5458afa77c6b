package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Condition types of a RoutingPolicy, beside Ready.
const (
	// ConditionAccepted: at least one rule takes effect.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs: every backend that a rule names is declared.
	ConditionResolvedRefs = "ResolvedRefs"
)

// RoutingPolicy says which backend stores which packages. All policies of the
// namespace form one list of rules, the oldest policy first.
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
	// Status is the observed state. Until the first observation the observed
	// generation is -1, so that tools that wait (kstatus) do not take a new object for a ready one.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status RoutingPolicyStatus `json:"status,omitempty"`
}

// RoutingPolicySpec is the desired state.
type RoutingPolicySpec struct {
	// Rules in order of precedence: the first match decides.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +required
	Rules []RoutingRule `json:"rules"`
}

// RoutingRule sends the packages it matches to the first ready backend in its list.
type RoutingRule struct {
	// Match restricts the rule. Without it the rule matches everything.
	// +optional
	Match *RoutingMatch `json:"match,omitempty"`
	// Backends are names of StorageBackends of the namespace, in order of preference.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches(r'^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a StorageBackend: at most 63 lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	// +listType=atomic
	// +required
	Backends []string `json:"backends"`
}

// RoutingMatch matches if all parts that are set match.
// +kubebuilder:validation:XValidation:rule="has(self.producers) || has(self.retentionClasses)",message="match must name producers or retentionClasses; omit match to match everything"
type RoutingMatch struct {
	// Producers are globs: "*" matches any run of characters, "?" one character.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches(r'^[A-Za-z0-9_.*?-]+$')",message="must be 1 to 128 letters, digits, '_', '.', '-' and the wildcards '*' and '?'"
	// +listType=atomic
	// +optional
	Producers []string `json:"producers,omitempty"`
	// RetentionClasses are compared literally.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule="self.matches(r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')",message="must be 1 to 128 letters, digits, '_', '.' and '-', starting with a letter or digit"
	// +listType=atomic
	// +optional
	RetentionClasses []string `json:"retentionClasses,omitempty"`
}

// RoutingPolicyStatus is the observed state.
type RoutingPolicyStatus struct {
	// ObservedGeneration is the generation that the conditions describe; -1
	// until the first observation.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Rules has one entry for each rule of spec, in the same order.
	// +listType=atomic
	// +optional
	Rules []RuleStatus `json:"rules,omitempty"`
	// Conditions are Accepted, ResolvedRefs and Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RuleStatus is the current effect of one rule.
type RuleStatus struct {
	// Backend that new packages of this rule go to now; empty if there is none.
	// +optional
	Backend string `json:"backend,omitempty"`
	// Reason is Resolved, NoReadyBackend, TargetNotFound or Conflicted.
	Reason string `json:"reason"`
	// Message describes it in one sentence.
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
