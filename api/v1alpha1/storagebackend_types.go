package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition types of a StorageBackend. The first three are stages: the first
// that is not True tells the story, Ready has its reason, and the stages behind
// it are Unknown. Verified stands apart (ADR 0015): what was read and found out
// stays known while the place is away.
const (
	ConditionCredentialsResolved = "CredentialsResolved"
	ConditionReachable           = "Reachable"
	ConditionWritable            = "Writable"
	ConditionVerified            = "Verified"
	ConditionReady               = "Ready"
)

// Finalizer keeps a StorageBackend until the log names no live location in it.
const Finalizer = "artifactstore.dev/live-locations"

// AbandonAnnotation, set to status.id, has the deletion of a StorageBackend give
// up whatever the log names in it. It has no effect before the deletion.
const AbandonAnnotation = "artifactstore.dev/abandon-locations"

// RequestAnnotation has a StorageBackend looked at as soon as its value is
// another, with a full probe. status.lastHandledRequest is the last value that
// was. Its first 128 bytes count.
const RequestAnnotation = "artifactstore.dev/requested-at"

// Access says whether new bytes may be stored.
// +kubebuilder:validation:Enum=ReadWrite;ReadOnly
type Access string

// The two ways of access.
const (
	ReadWrite Access = "ReadWrite"
	ReadOnly  Access = "ReadOnly"
)

// StorageBackend declares one place for bytes: a bucket (or a prefix of one) or a folder.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sb,categories=artifactstore
// +kubebuilder:printcolumn:name="Driver",type=string,JSONPath=`.status.driver`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].reason`
// +kubebuilder:printcolumn:name="Access",type=string,JSONPath=`.spec.access`,priority=1
// +kubebuilder:printcolumn:name="Place",type=string,JSONPath=`.status.place`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be at most 63 characters"
type StorageBackend struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec StorageBackendSpec `json:"spec"`
	// Status is what was found. Until the first look no generation counts as
	// observed: tools that wait (kstatus) do not take what is new for what is well.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status StorageBackendStatus `json:"status,omitempty"`
}

// StorageBackendSpec is what is wanted.
// +kubebuilder:validation:XValidation:rule="has(self.s3) != has(self.local)",message="exactly one of s3 and local must be set"
// +kubebuilder:validation:XValidation:rule="has(self.s3) == has(oldSelf.s3)",message="the kind of storage is immutable: stored bytes stay where they are; declare another StorageBackend"
type StorageBackendSpec struct {
	// S3 is a bucket behind the S3 protocol.
	// +optional
	S3 *S3Spec `json:"s3,omitempty"`
	// Local is a folder.
	// +optional
	Local *LocalSpec `json:"local,omitempty"`
	// Access: a ReadOnly backend serves what it holds and takes no new bytes.
	// +kubebuilder:default=ReadWrite
	// +optional
	Access Access `json:"access,omitempty"`
	// Probe says how often the place is tried.
	// +kubebuilder:default={}
	// +optional
	Probe ProbeSpec `json:"probe,omitempty"`
	// Verification says when what is stored is read again. Without it nobody
	// reads but by hand.
	// +optional
	Verification *VerificationSpec `json:"verification,omitempty"`
}

// ProbeSpec: each probe puts, reads, heads and deletes one object of 1 KiB.
// +kubebuilder:validation:XValidation:rule="!has(self.timeout) || !has(self.interval) || [self.timeout, self.interval].exists(d, !d.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')) || duration(self.timeout) <= duration(self.interval)",message="timeout must not be longer than interval; unset, they are 15s and 1m"
type ProbeSpec struct {
	// Interval between two probes, 5s to 24h. A jitter of 10 % is added.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration, as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be from 5s to 24h"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Timeout of one probe as a whole, 1s to 5m.
	// +kubebuilder:default="15s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration, as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1s') && duration(self) <= duration('5m')",message="must be from 1s to 5m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// FailureThreshold is how many probes in a row must be lost before a
	// backend that was Ready is no longer; it applies where the place did not
	// answer, not where it answered no.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20
	// +optional
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
	// Suspend: nothing is written by probes; the last state of Writable stands.
	// The marker is still read, at each interval: a place that is away is not Ready.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// LocalSpec is a folder that every replica sees.
type LocalSpec struct {
	// Path of the folder. It lies beneath the manager's local root; outside a
	// cluster a relative one is taken from the data directory.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="path is immutable: stored bytes stay where they are; declare another StorageBackend"
	// +kubebuilder:validation:XValidation:rule="!self.split('/').exists(s, s == '..')",message="path must not contain '..'"
	// +required
	Path string `json:"path"`
}

// S3Spec is a bucket and how to reach it. Endpoint, region and credentials may
// change as long as they lead to the same place; bucket and keyPrefix may not.
// +kubebuilder:validation:XValidation:rule="has(self.keyPrefix) == has(oldSelf.keyPrefix)",message="keyPrefix is immutable: stored bytes stay where they are; declare another StorageBackend"
// +kubebuilder:validation:XValidation:rule="has(self.accessKeyRef) == has(self.secretKeyRef)",message="accessKeyRef and secretKeyRef must be set together"
// +kubebuilder:validation:XValidation:rule="!has(self.sessionTokenRef) || has(self.accessKeyRef)",message="sessionTokenRef needs accessKeyRef and secretKeyRef"
type S3Spec struct {
	// EndpointURL of the server, http or https, without path. Default: Amazon's for the region.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^https?://(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?/?$')",message="must be an http or https URL of a host or address, with a port from 1 to 65535 or without, and nothing more"
	// +kubebuilder:validation:XValidation:rule="!self.contains('[') || isIP(self.split('[')[1].split(']')[0]) && ip(self.split('[')[1].split(']')[0]).family() == 6",message="brackets must hold an IPv6 address"
	// +optional
	EndpointURL string `json:"endpointURL,omitempty"`
	// Region to sign for.
	// +kubebuilder:default=us-east-1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[a-z0-9][a-z0-9-]*$')",message="must be at most 64 lower-case letters, digits and hyphens, with no hyphen first"
	// +optional
	Region string `json:"region,omitempty"`
	// Bucket; it is never created.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$') && !self.contains('..')",message="must be 3 to 63 letters, digits, hyphens, underscores and single dots, with a letter or digit at its ends"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="bucket is immutable: stored bytes stay where they are; declare another StorageBackend"
	// +required
	Bucket string `json:"bucket"`
	// KeyPrefix stands before every key, without slash at either end.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*$')",message="must be segments of at most 255 letters, digits, '.', '_' and '-', none of which begins with a dot, with one slash between them and none at the ends"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyPrefix is immutable: stored bytes stay where they are; declare another StorageBackend"
	// +optional
	KeyPrefix string `json:"keyPrefix,omitempty"`
	// AccessKeyRef and SecretKeyRef hold the credentials. Without them the
	// SDK's own chain is used, where the manager allows ambient credentials.
	// +optional
	AccessKeyRef *ValueRef `json:"accessKeyRef,omitempty"`
	// +optional
	SecretKeyRef *ValueRef `json:"secretKeyRef,omitempty"`
	// SessionTokenRef holds the token of temporary credentials.
	// +optional
	SessionTokenRef *ValueRef `json:"sessionTokenRef,omitempty"`
	// StorageClass of new objects. Default: the server's.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, with no underscore first"
	// +optional
	StorageClass string `json:"storageClass,omitempty"`
	// StorageClasses of new objects by the retrieval tier of their package; a
	// tier without one gets storageClass. What is stored keeps its class.
	// +optional
	StorageClasses *StorageClasses `json:"storageClasses,omitempty"`
	// SSE asks the server to encrypt at rest.
	// +kubebuilder:validation:Enum=None;SSE-S3
	// +kubebuilder:default=None
	// +optional
	SSE string `json:"sse,omitempty"`
	// MultipartThresholdBytes is the size above which an object is sent in parts, 5 MiB to 5 GiB.
	// +kubebuilder:default=16777216
	// +kubebuilder:validation:Minimum=5242880
	// +kubebuilder:validation:Maximum=5368709120
	// +optional
	MultipartThresholdBytes int64 `json:"multipartThresholdBytes,omitempty"`
	// MultipartChunkBytes is the size of a part, 5 MiB to 64 MiB. An object
	// has at most 10,000 parts. One whose size is declared gets larger parts
	// where it needs to, each at most the memory for uploads.
	// +kubebuilder:default=8388608
	// +kubebuilder:validation:Minimum=5242880
	// +kubebuilder:validation:Maximum=67108864
	// +optional
	MultipartChunkBytes int64 `json:"multipartChunkBytes,omitempty"`
	// CABundleRef holds PEM certificates that are trusted beside none other.
	// +optional
	CABundleRef *ValueRef `json:"caBundleRef,omitempty"`
	// ForcePathStyle puts the bucket into the path. Default: true where endpointURL is set.
	// +optional
	ForcePathStyle *bool `json:"forcePathStyle,omitempty"`
	// Checksums says what proves a part of a large object on its way: the
	// signed SHA-256 that S3 requires (WhenRequired), or a CRC-32C header that
	// is cheaper and that not every server checks (WhenSupported). Auto is
	// WhenSupported where the driver found that the server checks it, else
	// WhenRequired. Where the server does not check it WhenSupported signs the
	// SHA-256 as well.
	// +kubebuilder:validation:Enum=Auto;WhenRequired;WhenSupported
	// +kubebuilder:default=Auto
	// +optional
	Checksums string `json:"checksums,omitempty"`
	// RequestTimeout is how long a connection may make no progress, 1s to 10m.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration, as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="must be from 1s to 10m"
	// +optional
	RequestTimeout *metav1.Duration `json:"requestTimeout,omitempty"`
	// MaxConnections to the endpoint at once.
	// +kubebuilder:default=512
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +optional
	MaxConnections int32 `json:"maxConnections,omitempty"`
}

// StorageClasses are the server's classes of storage for each retrieval tier.
type StorageClasses struct {
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, with no underscore first"
	// +optional
	Hot string `json:"hot,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, with no underscore first"
	// +optional
	Warm string `json:"warm,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, with no underscore first"
	// +optional
	Cold string `json:"cold,omitempty"`
}

// ValueRef says where a value comes from: a key of a Secret of the same
// namespace in a cluster; an environment variable or a file outside one.
// +kubebuilder:validation:XValidation:rule="[has(self.name) || has(self.key), has(self.env), has(self.file)].filter(x, x).size() == 1 && has(self.name) == has(self.key)",message="exactly one of name with key, env and file must be set"
type ValueRef struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Name string `json:"name,omitempty"`
	// Key in the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Key string `json:"key,omitempty"`
	// Env is the name of an environment variable of the manager.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Env string `json:"env,omitempty"`
	// File is the path of a file that the manager can read.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	File string `json:"file,omitempty"`
}

// StorageBackendStatus is what was found. What changes all the time (latency,
// objects and bytes held) is a metric instead.
type StorageBackendStatus struct {
	// ObservedGeneration is the generation that the conditions speak of; -1
	// until the first look.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ID is the UUID in the place's marker object; events name the backend by it.
	// +optional
	ID string `json:"id,omitempty"`
	// Driver is s3 or local.
	// +optional
	Driver string `json:"driver,omitempty"`
	// Place says where the bytes are, without secrets.
	// +optional
	Place string `json:"place,omitempty"`
	// LastGoodServes: what is declared now does not work, and differs in
	// credentials alone from what worked last, by which bytes are taken and
	// served on. It ends when the server refuses those too.
	// +optional
	LastGoodServes bool `json:"lastGoodServes,omitempty"`
	// LastHandledRequest is the value of the annotation
	// artifactstore.dev/requested-at that the last probe was made for; not of
	// one that waits, as the endpoint does not answer to others.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	LastHandledRequest string `json:"lastHandledRequest,omitempty"`
	// LastVerified is when an object was last re-read and hashed.
	// +optional
	LastVerified *metav1.Time `json:"lastVerified,omitempty"`
	// FailedLocations are the first blobs that verification found corrupt or
	// missing, those that failed last before all; the condition Verified has
	// their number.
	// +listType=map
	// +listMapKey=sha256
	// +kubebuilder:validation:MaxItems=10
	// +optional
	FailedLocations []FailedLocation `json:"failedLocations,omitempty"`
	// Capabilities are what the full probe found the place able to do. They
	// stand until the next one: on a new generation, a changed Secret, after a
	// day, or when asked for.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Capabilities []Capability `json:"capabilities,omitempty"`
	// Conditions: CredentialsResolved, Reachable, Writable, Verified, Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Capability is one verb or feature and what became of trying it.
type Capability struct {
	// Name: put, head, get, range, list, delete; of S3 also multipart,
	// conditionalPut, checksums, storageClass, sse, clockSkew.
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// Status: Unknown is what was not tried, or got no answer.
	// +kubebuilder:validation:Enum=Supported;Unsupported;Unknown
	// +required
	Status string `json:"status"`
	// Message is one sentence.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// StorageBackendList is a list.
// +kubebuilder:object:root=true
type StorageBackendList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []StorageBackend `json:"items"`
}
