package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionVerificationScheduled says whether spec.verification is followed. It
// stands apart from the others, and is there only where verification is declared.
const ConditionVerificationScheduled = "VerificationScheduled"

// VerificationMode says what a run reads.
// +kubebuilder:validation:Enum=Full;Rolling
type VerificationMode string

// The modes.
const (
	// VerificationFull reads everything at each run.
	VerificationFull VerificationMode = "Full"
	// VerificationRolling reads a share at each run, so that everything is read
	// once in rollingPeriod.
	VerificationRolling VerificationMode = "Rolling"
)

// VerificationSpec has stored objects read again and compared with their
// digests: by a CronJob in a cluster, by the manager itself outside one.
type VerificationSpec struct {
	// Schedule as of cron: minute, hour, day of the month, month, day of the
	// week. In minute and hour H stands for a number made of namespace and
	// name, H(0-5) for one of these, so that many backends do not begin at once.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^((H|H\\([0-9]{1,2}-[0-9]{1,2}\\)|[0-9*,/-]+) ){2}[0-9*,/?-]+ [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/?-]+$')",message="must be five fields of cron with one space between them: minute, hour, day of the month, month, day of the week; minute and hour may be H or as H(0-5)"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]*[,(-])?([6-9][0-9]|[0-9]{3})')",message="the minute must be from 0 to 59"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^[^ ]+ ([^ ]*[,(-])?(2[4-9]|[3-9][0-9]|[0-9]{3})')",message="the hour must be from 0 to 23"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){2}([^ ]*[,(-])?(0+([^0-9]|$)|3[2-9]|[4-9][0-9]|[0-9]{3})')",message="the day of the month must be from 1 to 31"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){3}([^ ]*[,(-])?(0+([^0-9]|$)|1[3-9]|[2-9][0-9]|[0-9]{3})')",message="the month must be from 1 to 12 or JAN to DEC"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){4}([^ ]*[,(-])?(0*[7-9]|[1-9][0-9]|[0-9]{3})')",message="the day of the week must be from 0 (Sunday) to 6 or SUN to SAT"
	// +required
	Schedule string `json:"schedule"`
	// TimeZone of the schedule, as Europe/Berlin.
	// +kubebuilder:default="Etc/UTC"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self != 'Local' && self.matches(r'^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')",message="must be the name of a time zone, as Europe/Berlin, and not Local"
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
	// Mode: Full reads everything at each run. Rolling reads what was never
	// verified, what would be older than rollingPeriod at the next run, and the
	// oldest up to a share of everything.
	// +kubebuilder:default=Full
	// +optional
	Mode VerificationMode `json:"mode,omitempty"`
	// RollingPeriod is in what time everything is read once with mode Rolling,
	// 1h to 87600h (ten years).
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration, as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1h') && duration(self) <= duration('87600h')",message="must be from 1h to 87600h"
	// +optional
	RollingPeriod *metav1.Duration `json:"rollingPeriod,omitempty"`
	// Concurrency is how many objects are read at once.
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	// +optional
	Concurrency int32 `json:"concurrency,omitempty"`
	// Bandwidth bounds what is read, in bytes per second, from 64Ki on. Default: no bound.
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 65536 : (isQuantity(self) && quantity(self).compareTo(quantity('64Ki')) >= 0)",message="must be at least 64Ki bytes per second"
	// +optional
	Bandwidth *resource.Quantity `json:"bandwidth,omitempty"`
	// Deadline of a run, 1m to 168h: then nothing more is begun, and after
	// another 15 minutes what is under way is broken off. The next run goes on there.
	// +kubebuilder:default="6h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration, as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="must be from 1m to 168h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
	// Suspend begins no more runs. So do probe.suspend and the deletion of the
	// backend.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Resources of the pod.
	// +kubebuilder:default={}
	// +optional
	Resources VerificationResources `json:"resources,omitempty"`
}

// VerificationResources are those of the pod that reads: some 8 MiB for each
// object that is read at once.
type VerificationResources struct {
	// Requests of the pod.
	// +kubebuilder:default={cpu: "100m", memory: "64Mi"}
	// +kubebuilder:validation:MaxProperties=3
	// +kubebuilder:validation:XValidation:rule="self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",message="must be of cpu, memory and ephemeral-storage"
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// Limits of the pod.
	// +kubebuilder:default={memory: "256Mi"}
	// +kubebuilder:validation:MaxProperties=3
	// +kubebuilder:validation:XValidation:rule="self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",message="must be of cpu, memory and ephemeral-storage"
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// FailedLocation is a blob that was read from the backend and is not there, or
// not what it should be.
type FailedLocation struct {
	// SHA256 of the blob, sha256:….
	// +kubebuilder:validation:MaxLength=71
	// +required
	SHA256 string `json:"sha256"`
	// Reason is corrupt or missing.
	// +kubebuilder:validation:Enum=corrupt;missing
	// +required
	Reason string `json:"reason"`
}
