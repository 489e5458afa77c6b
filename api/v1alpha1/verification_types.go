package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionVerificationScheduled says whether runs start as spec.verification
// schedules them. It is independent of the other conditions, and absent unless
// verification is declared.
const ConditionVerificationScheduled = "VerificationScheduled"

// VerificationMode says which objects a run reads.
// +kubebuilder:validation:Enum=Full;Rolling
type VerificationMode string

// The verification modes.
const (
	// VerificationFull reads every object in each run.
	VerificationFull VerificationMode = "Full"
	// VerificationRolling reads a share in each run, so that every object is
	// read once per rollingPeriod.
	VerificationRolling VerificationMode = "Rolling"
)

// VerificationSpec schedules the rereading of stored objects, which compares them
// with their digests: by a CronJob in a cluster, by the manager itself outside one.
type VerificationSpec struct {
	// Schedule in cron format: minute, hour, day of the month, month, day of the
	// week. In minute and hour, H stands for a number derived from namespace and
	// name, H(0-5) for one in that range, so that backends start at different times.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^((H|H\\([0-9]{1,2}-[0-9]{1,2}\\)|[0-9*,/-]+) ){2}[0-9*,/?-]+ [0-9A-Za-z*,/-]+ [0-9A-Za-z*,/?-]+$')",message="must be five cron fields separated by single spaces: minute, hour, day of the month, month, day of the week; minute and hour may be H or a range such as H(0-5)"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]*[,(-])?([6-9][0-9]|[0-9]{3})')",message="the minute must be from 0 to 59"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^[^ ]+ ([^ ]*[,(-])?(2[4-9]|[3-9][0-9]|[0-9]{3})')",message="the hour must be from 0 to 23"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){2}([^ ]*[,(-])?(0+([^0-9]|$)|3[2-9]|[4-9][0-9]|[0-9]{3})')",message="the day of the month must be from 1 to 31"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){3}([^ ]*[,(-])?(0+([^0-9]|$)|1[3-9]|[2-9][0-9]|[0-9]{3})')",message="the month must be from 1 to 12 or JAN to DEC"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){4}([^ ]*[,(-])?(0*[7-9]|[1-9][0-9]|[0-9]{3})')",message="the day of the week must be from 0 (Sunday) to 6 or SUN to SAT"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([^ ]+ ){2}(3[01](-31)?(/[0-9]+)?)(,(3[01](-31)?(/[0-9]+)?))* (?i:(0*2|FEB)(,(0*2|FEB))*) [*?](/0*1)?$') && !self.matches(r'^([^ ]+ ){2}(31(-31)?(/[0-9]+)?)(,(31(-31)?(/[0-9]+)?))* (?i:(0*[2469]|11|FEB|APR|JUN|SEP|NOV)(,(0*[2469]|11|FEB|APR|JUN|SEP|NOV))*) [*?](/0*1)?$')",message="must occur: none of its months has such a day"
	// +required
	Schedule string `json:"schedule"`
	// TimeZone of the schedule, for example Europe/Berlin.
	// +kubebuilder:default="Etc/UTC"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self != 'Local' && self.matches(r'^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')",message="must be the name of a time zone such as Europe/Berlin, but not Local"
	// +kubebuilder:validation:XValidation:rule="oldSelf.orValue('') == self || self == 'Local' || !self.matches(r'^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$') || timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",message="must be the name of a time zone such as Europe/Berlin, but not Local",optionalOldSelf=true
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
	// Mode: Full reads every object in each run. Rolling reads objects never
	// verified, objects whose last verification would be older than
	// rollingPeriod at the next run, and then the oldest, up to a share of all.
	// +kubebuilder:default=Full
	// +optional
	Mode VerificationMode `json:"mode,omitempty"`
	// RollingPeriod is the period in which mode Rolling reads every object once,
	// 1h to 87600h (ten years).
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration such as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1h') && duration(self) <= duration('87600h')",message="must be from 1h to 87600h"
	// +optional
	RollingPeriod *metav1.Duration `json:"rollingPeriod,omitempty"`
	// Concurrency is the number of objects read in parallel.
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	// +optional
	Concurrency int32 `json:"concurrency,omitempty"`
	// Bandwidth limits reading, in bytes per second, at least 64Ki. Default: no limit.
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 65536 : (isQuantity(self) && quantity(self).compareTo(quantity('64Ki')) >= 0)",message="must be at least 64Ki bytes per second"
	// +optional
	Bandwidth *resource.Quantity `json:"bandwidth,omitempty"`
	// Deadline of a run, 1m to 168h. After it, no further object is started; 15
	// minutes later objects still being read are aborted. The next run continues there.
	// +kubebuilder:default="6h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration such as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="must be from 1m to 168h"
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
	// Suspend starts no more runs. So does probe.suspend, and so does the deletion
	// of the backend.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Resources of the pod.
	// +kubebuilder:default={}
	// +optional
	Resources VerificationResources `json:"resources,omitempty"`
}

// VerificationResources are the resources of the pod that reads. It needs about
// 8 MiB of memory for each object read in parallel.
type VerificationResources struct {
	// Requests of the pod.
	// +kubebuilder:default={cpu: "100m", memory: "64Mi"}
	// +kubebuilder:validation:MaxProperties=3
	// +kubebuilder:validation:XValidation:rule="self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",message="must be limited to cpu, memory and ephemeral-storage"
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// Limits of the pod.
	// +kubebuilder:default={memory: "256Mi"}
	// +kubebuilder:validation:MaxProperties=3
	// +kubebuilder:validation:XValidation:rule="self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",message="must be limited to cpu, memory and ephemeral-storage"
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// FailedLocation is a blob that verification found missing or corrupt.
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
