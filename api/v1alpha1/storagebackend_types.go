package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition types of a StorageBackend. The first three are stages: Ready repeats
// the reason of the first one that is not True, and the later stages are then
// Unknown. Verified is independent of them (ADR 0015): results of verification
// stay known while the place is unavailable.
const (
	ConditionCredentialsResolved = "CredentialsResolved"
	ConditionReachable           = "Reachable"
	ConditionWritable            = "Writable"
	ConditionVerified            = "Verified"
	ConditionReady               = "Ready"
	// ConditionLogCurrent is False if the event log is older than the head mark
	// in the place says, and absent otherwise. Nothing is removed from the place then.
	ConditionLogCurrent = "LogCurrent"
)

// Finalizer keeps a StorageBackend until the log names no live location in it. It
// is there only while status.inUse is true.
const Finalizer = "artifactstore.dev/live-locations"

// ConfirmAnnotation, set to the name of a StorageBackend, has its deletion admitted
// while status.inUse is true (see config/admission). It gives nothing up.
const ConfirmAnnotation = "artifactstore.dev/confirm-deletion"

// AbandonAnnotation, set to status.id, makes the deletion of a StorageBackend
// abandon the locations that the log names in it. Before the deletion it has no effect.
const AbandonAnnotation = "artifactstore.dev/abandon-locations"

// RequestAnnotation requests an immediate full probe of a StorageBackend whenever
// its value changes. status.lastHandledRequest is the last value handled. Only its
// first 128 bytes count.
const RequestAnnotation = "artifactstore.dev/requested-at"

// Access says whether new bytes can be stored.
// +kubebuilder:validation:Enum=ReadWrite;ReadOnly
type Access string

// The access modes.
const (
	ReadWrite Access = "ReadWrite"
	ReadOnly  Access = "ReadOnly"
)

// StorageBackend declares a place for bytes: a bucket, a prefix of a bucket, or a
// folder. Once the place was marked (status.id is set), it is immutable.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sb,categories=artifactstore
// +kubebuilder:selectablefield:JSONPath=`.spec.access`
// +kubebuilder:selectablefield:JSONPath=`.spec.s3.bucket`
// +kubebuilder:selectablefield:JSONPath=`.status.id`
// +kubebuilder:selectablefield:JSONPath=`.status.driver`
// +kubebuilder:printcolumn:name="Driver",type=string,JSONPath=`.status.driver`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].reason`
// +kubebuilder:printcolumn:name="Scheduled",type=string,JSONPath=`.status.conditions[?(@.type=="VerificationScheduled")].status`
// +kubebuilder:printcolumn:name="Access",type=string,JSONPath=`.spec.access`,priority=1
// +kubebuilder:printcolumn:name="In use",type=boolean,JSONPath=`.status.inUse`,priority=1
// +kubebuilder:printcolumn:name="Place",type=string,JSONPath=`.status.place`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be at most 63 characters"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.id) || has(self.spec.s3) == has(oldSelf.spec.s3)",message="the kind of storage is immutable: stored bytes stay where they are; declare another StorageBackend",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.id) || !has(self.spec.local) || !has(oldSelf.spec.local) || self.spec.local.path == oldSelf.spec.local.path",message="path is immutable: stored bytes stay where they are; declare another StorageBackend",fieldPath=".spec.local.path"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.id) || !has(self.spec.s3) || !has(oldSelf.spec.s3) || self.spec.s3.bucket == oldSelf.spec.s3.bucket",message="bucket is immutable: stored bytes stay where they are; declare another StorageBackend",fieldPath=".spec.s3.bucket"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.id) || !has(self.spec.s3) || !has(oldSelf.spec.s3) || has(self.spec.s3.keyPrefix) == has(oldSelf.spec.s3.keyPrefix)",message="keyPrefix is immutable: stored bytes stay where they are; declare another StorageBackend",fieldPath=".spec.s3"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.id) || !has(self.spec.s3) || !has(oldSelf.spec.s3) || !has(self.spec.s3.keyPrefix) || !has(oldSelf.spec.s3.keyPrefix) || self.spec.s3.keyPrefix == oldSelf.spec.s3.keyPrefix",message="keyPrefix is immutable: stored bytes stay where they are; declare another StorageBackend",fieldPath=".spec.s3.keyPrefix"
type StorageBackend struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec StorageBackendSpec `json:"spec"`
	// Status is the observed state. Until the first observation the observed
	// generation is -1, so that tools that wait (kstatus) do not take a new object for a ready one.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status StorageBackendStatus `json:"status,omitempty"`
}

// StorageBackendSpec is the desired state.
// +kubebuilder:validation:XValidation:rule="has(self.s3) != has(self.local)",message="exactly one of s3 and local must be set"
type StorageBackendSpec struct {
	// S3 is a bucket that is accessed by the S3 protocol.
	// +optional
	S3 *S3Spec `json:"s3,omitempty"`
	// Local is a folder.
	// +optional
	Local *LocalSpec `json:"local,omitempty"`
	// Access: a ReadOnly backend serves its content and accepts no new bytes.
	// +kubebuilder:default=ReadWrite
	// +optional
	Access Access `json:"access,omitempty"`
	// Probe says how often the place is probed.
	// +kubebuilder:default={}
	// +optional
	Probe ProbeSpec `json:"probe,omitempty"`
	// Verification schedules the rereading of stored objects. Without it they are
	// verified only on request.
	// +optional
	Verification *VerificationSpec `json:"verification,omitempty"`
}

// ProbeSpec configures the probe, which puts, reads, heads and deletes one object of 1 KiB.
// +kubebuilder:validation:XValidation:rule="!has(self.timeout) || !has(self.interval) || [self.timeout, self.interval].exists(d, !d.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')) || duration(self.timeout) <= duration(self.interval)",message="timeout must not be longer than interval; the defaults are 15s and 1m"
type ProbeSpec struct {
	// Interval between two probes, 5s to 24h. A jitter of up to 10 % is added.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration such as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be from 5s to 24h"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`
	// Timeout of a whole probe, 1s to 5m.
	// +kubebuilder:default="15s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration such as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1s') && duration(self) <= duration('5m')",message="must be from 1s to 5m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// FailureThreshold is the number of consecutive unanswered probes after
	// which a Ready backend is no longer Ready. A refusal by the place counts
	// immediately.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20
	// +optional
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
	// Suspend stops writes by probes; the last state of Writable is kept. Each
	// interval still reads the marker: a place that is unavailable is not Ready.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// LocalSpec is a folder that every replica can access.
type LocalSpec struct {
	// Path of the folder. It must be below the manager's local root. Outside a
	// cluster a relative path is relative to the data directory.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.split('/').exists(s, s == '..')",message="path must not contain '..'"
	// +required
	Path string `json:"path"`
}

// S3Spec is a bucket and how to access it. Endpoint, region and credentials may
// change as long as they lead to the same place; bucket and keyPrefix are
// immutable once the place was marked.
// +kubebuilder:validation:XValidation:rule="has(self.accessKeyRef) == has(self.secretKeyRef)",message="accessKeyRef and secretKeyRef must be set together"
// +kubebuilder:validation:XValidation:rule="!has(self.sessionTokenRef) || has(self.accessKeyRef)",message="sessionTokenRef requires accessKeyRef and secretKeyRef"
type S3Spec struct {
	// EndpointURL of the server, http or https, without path. Default: Amazon S3 in the region.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.contains('@')",message="must not contain a user or password"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[?#]')",message="must not contain a query or fragment"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/?#]+/[^?#]')",message="must not contain a path: the bucket and keyPrefix have fields of their own"
	// +kubebuilder:validation:XValidation:rule="self.contains('@') || self.matches('[?#]') || self.matches('^https?://[^/?#]+/[^?#]') || self.matches(r'^https?://(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?/?$')",message="must be an http or https URL with only a host or address and an optional port from 1 to 65535"
	// +kubebuilder:validation:XValidation:rule="!self.contains('[') || isIP(self.split('[')[1].split(']')[0]) && ip(self.split('[')[1].split(']')[0]).family() == 6",message="brackets must contain an IPv6 address"
	// +optional
	EndpointURL string `json:"endpointURL,omitempty"`
	// Region used in signatures.
	// +kubebuilder:default=us-east-1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[a-z0-9][a-z0-9-]*$')",message="must be at most 64 lower-case letters, digits and hyphens, not starting with a hyphen"
	// +optional
	Region string `json:"region,omitempty"`
	// Bucket must exist; it is never created.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$') && !self.contains('..')",message="must be 3 to 63 letters, digits, hyphens, underscores and single dots, starting and ending with a letter or digit"
	// +required
	Bucket string `json:"bucket"`
	// KeyPrefix is prepended to every key. It has no slash at either end.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*$')",message="must be segments of at most 255 letters, digits, '.', '_' and '-', separated by single slashes; no segment starts with a dot"
	// +optional
	KeyPrefix string `json:"keyPrefix,omitempty"`
	// AccessKeyRef and SecretKeyRef reference the credentials. Without them the
	// SDK's credential chain is used, if the manager allows ambient credentials.
	// +optional
	AccessKeyRef *ValueRef `json:"accessKeyRef,omitempty"`
	// +optional
	SecretKeyRef *ValueRef `json:"secretKeyRef,omitempty"`
	// SessionTokenRef references the token of temporary credentials.
	// +optional
	SessionTokenRef *ValueRef `json:"sessionTokenRef,omitempty"`
	// StorageClass of new objects. Default: the server's default.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, not starting with an underscore"
	// +optional
	StorageClass string `json:"storageClass,omitempty"`
	// StorageClasses of new objects by the retrieval tier of their package. A
	// tier without a class uses storageClass. Stored objects keep their class.
	// +optional
	StorageClasses *StorageClasses `json:"storageClasses,omitempty"`
	// SSE requests encryption at rest by the server.
	// +kubebuilder:validation:Enum=None;SSE-S3
	// +kubebuilder:default=None
	// +optional
	SSE string `json:"sse,omitempty"`
	// MultipartThresholdBytes is the size above which an object is uploaded in parts, 5 MiB to 5 GiB.
	// +kubebuilder:default=16777216
	// +kubebuilder:validation:Minimum=5242880
	// +kubebuilder:validation:Maximum=5368709120
	// +optional
	MultipartThresholdBytes int64 `json:"multipartThresholdBytes,omitempty"`
	// MultipartChunkBytes is the size of a part, 5 MiB to 64 MiB. An object
	// has at most 10,000 parts. If its declared size needs larger parts, they
	// are larger, but never larger than the upload memory.
	// +kubebuilder:default=8388608
	// +kubebuilder:validation:Minimum=5242880
	// +kubebuilder:validation:Maximum=67108864
	// +optional
	MultipartChunkBytes int64 `json:"multipartChunkBytes,omitempty"`
	// CABundleRef references the PEM certificates to trust instead of the system's.
	// +optional
	CABundleRef *ValueRef `json:"caBundleRef,omitempty"`
	// ForcePathStyle puts the bucket into the path of URLs. Default: true if endpointURL is set.
	// +optional
	ForcePathStyle *bool `json:"forcePathStyle,omitempty"`
	// Checksums says how a part of a large object is protected in transit: by
	// the signed SHA-256 that S3 requires (WhenRequired), or by a CRC-32C header,
	// which is cheaper but not verified by every server (WhenSupported). Auto is
	// WhenSupported if the driver finds that the server verifies it, otherwise
	// WhenRequired. If the server does not verify it, WhenSupported signs the
	// SHA-256 as well.
	// +kubebuilder:validation:Enum=Auto;WhenRequired;WhenSupported
	// +kubebuilder:default=Auto
	// +optional
	Checksums string `json:"checksums,omitempty"`
	// Promote says how a large object that was sent without a declared SHA-256
	// gets from staging to its key: the server copies it (Copy, the default), or
	// the manager reads it and writes it again (Rewrite), for servers whose
	// copies share their content with the source and have lost it.
	// +kubebuilder:validation:Enum=Copy;Rewrite
	// +optional
	Promote string `json:"promote,omitempty"`
	// RequestTimeout is how long a connection may stay without progress, 1s to 10m.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$')",message="must be a duration such as 30s or 5m"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$') || duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="must be from 1s to 10m"
	// +optional
	RequestTimeout *metav1.Duration `json:"requestTimeout,omitempty"`
	// MaxConnections is the maximum number of concurrent connections to the endpoint.
	// +kubebuilder:default=512
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +optional
	MaxConnections int32 `json:"maxConnections,omitempty"`
}

// StorageClasses maps each retrieval tier to a storage class of the server.
type StorageClasses struct {
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, not starting with an underscore"
	// +optional
	Hot string `json:"hot,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, not starting with an underscore"
	// +optional
	Warm string `json:"warm,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[A-Z0-9][A-Z0-9_]*$')",message="must be at most 64 upper-case letters, digits and underscores, not starting with an underscore"
	// +optional
	Cold string `json:"cold,omitempty"`
}

// ValueRef references a value: a key of a Secret in the same namespace in a
// cluster; an environment variable or a file outside one. It is replaced as a whole.
// +structType=atomic
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

// StorageBackendStatus is the observed state. Values that change all the time
// (latency, numbers of objects and bytes) are metrics instead.
type StorageBackendStatus struct {
	// ObservedGeneration is the generation that the conditions describe; -1
	// until the first observation.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ID is the UUID in the place's marker object. Events name the backend by it.
	// +optional
	ID string `json:"id,omitempty"`
	// Driver is s3 or local.
	// +optional
	Driver string `json:"driver,omitempty"`
	// Place is where the bytes are, without secrets.
	// +optional
	Place string `json:"place,omitempty"`
	// InUse is true while the log names live locations in the backend: without it
	// they cannot be read.
	// +optional
	InUse bool `json:"inUse,omitempty"`
	// LastGoodServes is true while the declared credentials do not work and the
	// last working ones stay in use. Only the credentials may differ. It ends
	// when the server refuses the last working ones too.
	// +optional
	LastGoodServes bool `json:"lastGoodServes,omitempty"`
	// LastHandledRequest is the value of the annotation
	// artifactstore.dev/requested-at that the last probe was made for. A
	// request that still waits for an unresponsive endpoint is not included.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	LastHandledRequest string `json:"lastHandledRequest,omitempty"`
	// LastVerified is when an object was last reread and hashed.
	// +optional
	LastVerified *metav1.Time `json:"lastVerified,omitempty"`
	// FailedLocations are the ten blobs that verification most recently found
	// corrupt or missing, the most recent first. The condition Verified has
	// their total number.
	// +listType=map
	// +listMapKey=sha256
	// +kubebuilder:validation:MaxItems=10
	// +optional
	FailedLocations []FailedLocation `json:"failedLocations,omitempty"`
	// Capabilities are the results of the last full probe. They are kept until
	// the next one: on a new generation, a changed Secret, daily, or on
	// request.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Capabilities []Capability `json:"capabilities,omitempty"`
	// Conditions are CredentialsResolved, Reachable, Writable, Verified,
	// VerificationScheduled and Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Capability is the probe result of one verb or feature.
type Capability struct {
	// Name is put, head, get, range, list or delete; on S3 also multipart,
	// objectLock, listUploads, conditionalPut, checksums, storageClass, sse, clockSkew.
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`
	// Status is Unknown if the capability was not tested or got no answer.
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
