package cronjobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// PodSettings are the settings of verification pods that the manager's flags
// decide, and a StorageBackend cannot.
type PodSettings struct {
	// Image has /usr/local/bin/artifactstore; "" starts no pods.
	Image string
	// Server is the registry's URL as pods reach it.
	Server string
	// CA holds the certificates that Server's is checked with; nil are the image's.
	CA *CASource
	// Audience of the token that a pod shows the registry.
	Audience string
}

// Reasons for which there is no CronJob as declared.
const (
	ReasonNoImage        = "NoImage"
	ReasonCronJobTaken   = "CronJobTaken"
	ReasonCronJobRefused = "CronJobRefused"
)

// CASource is a key of a Secret or ConfigMap of the namespace.
type CASource struct{ Kind, Name, Key string }

// The kinds of a CASource.
const (
	CASecret    = "secret"
	CAConfigMap = "configmap"
)

// ParseCASource reads kind/name/key.
func ParseCASource(text string) (*CASource, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] != CASecret && parts[0] != CAConfigMap || parts[1] == "" || parts[2] == "" {
		return nil, fmt.Errorf("%.100q must be secret/NAME/KEY or configmap/NAME/KEY", text)
	}
	return &CASource{parts[0], parts[1], parts[2]}, nil
}

const (
	// VerifierAccount is the ServiceAccount of the pods. It may report findings.
	VerifierAccount = "artifact-store-verifier"

	backendLabel = "artifactstore.dev/backend"
	// appliedAnnotation holds a hash of what the CronJob was made of: a field
	// that is no longer wanted cannot be told from a default by looking.
	appliedAnnotation = "artifactstore.dev/applied"

	cliPath           = "/usr/local/bin/artifactstore"
	tokenFolder       = "/var/run/secrets/artifactstore.dev/token"
	credentialsFolder = "/var/run/secrets/artifactstore.dev/credentials" //nolint:gosec // a folder
	caFolder          = "/var/run/secrets/artifactstore.dev/ca"
	tokenLifetime     = 3600 // seconds; the kubelet renews it long before
	podUser           = 65532
	maxCronJobName    = 52 // so that the names of its Jobs are names
)

// cronJobName is the CronJob's: <backend>-verify, shortened by a hash.
func cronJobName(backend string) string {
	const suffix = "-verify"
	if len(backend)+len(suffix) <= maxCronJobName {
		return backend + suffix
	}
	sum := sha256.Sum256([]byte(backend))
	hash := "-" + hex.EncodeToString(sum[:4])
	return strings.TrimRight(backend[:maxCronJobName-len(suffix)-len(hash)], "-.") + hash + suffix
}

// cronJobFor is the CronJob that follows sb's spec.verification; nil
// where there is none. It does no I/O.
func cronJobFor(sb *v1alpha1.StorageBackend, settings declared.Settings, pods PodSettings) (*batchv1.CronJob, *declared.Problem) {
	if sb.Spec.Verification == nil {
		return nil, nil
	}
	plan, err := declared.PlanVerification(sb)
	if err != nil {
		return nil, declared.Problemf(v1alpha1.ConditionVerificationScheduled, declared.ReasonScheduleInvalid, "%s", err)
	}
	if pods.Image == "" {
		return nil, declared.Problemf(v1alpha1.ConditionVerificationScheduled, ReasonNoImage, "the manager was started without --image, so it cannot create pods")
	}
	pod, wrong := podFor(sb, plan, settings, pods)
	if wrong != nil {
		return nil, wrong
	}
	labels := map[string]string{
		"app.kubernetes.io/name":       "artifact-store-verification", // not the Service's
		"app.kubernetes.io/managed-by": "artifact-store-manager",
		backendLabel:                   sb.Name,
	}
	onCodes := func(codes ...int32) *batchv1.PodFailurePolicyOnExitCodesRequirement {
		return &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: codes}
	}
	c := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{
			Name: cronJobName(sb.Name), Namespace: sb.Namespace, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "StorageBackend", Name: sb.Name, UID: sb.UID,
				// Its deletion need not wait for us, which would take a right more.
				Controller: new(true), BlockOwnerDeletion: new(false),
			}},
		},
		Spec: batchv1.CronJobSpec{
			Schedule: plan.Schedule.Spec, TimeZone: new(plan.Schedule.Zone.String()),
			ConcurrencyPolicy:          batchv1.ForbidConcurrent,
			Suspend:                    new(plan.Suspended != ""),
			StartingDeadlineSeconds:    new(int64(3600)), // a controller that was away for an hour
			SuccessfulJobsHistoryLimit: new(int32(3)),
			FailedJobsHistoryLimit:     new(int32(3)),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: batchv1.JobSpec{
					BackoffLimit:            new(int32(2)),
					ActiveDeadlineSeconds:   new(int64((plan.Deadline + declared.DeadlineGrace).Seconds())),
					TTLSecondsAfterFinished: new(int32((7 * 24 * time.Hour).Seconds())),
					PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
						// Damage that was found, and wrong usage, do not go away by reading again.
						{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: onCodes(2, 3)},
						// A node that is drained is no failure; the next pod goes on.
						{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}},
					}},
					Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
				},
			},
		},
	}
	made, err := json.Marshal(c)
	if err != nil {
		return nil, declared.Problemf(v1alpha1.ConditionVerificationScheduled, declared.ReasonScheduleInvalid, "the CronJob cannot be written: %s", err)
	}
	sum := sha256.Sum256(made)
	c.Annotations = map[string]string{appliedAnnotation: hex.EncodeToString(sum[:8])}
	return c, nil
}

func podFor(sb *v1alpha1.StorageBackend, plan declared.Plan, settings declared.Settings, pods PodSettings) (corev1.PodSpec, *declared.Problem) {
	args := []string{
		"storage", "verify", "--backend=" + sb.Name, "--concurrency=" + strconv.Itoa(plan.Concurrency), "--time-limit=" + plan.Deadline.String(),
	}
	if plan.Rolling {
		args = append(args, "--mode=rolling", "--rolling-period="+plan.RollingPeriod.String(), "--rolling-interval="+plan.RollingInterval.String())
	}
	if plan.Bandwidth > 0 {
		args = append(args, "--bandwidth="+strconv.FormatInt(plan.Bandwidth, 10))
	}
	env := []corev1.EnvVar{
		{Name: "ARTIFACTSTORE_SERVER", Value: pods.Server},
		{Name: "ARTIFACTSTORE_TOKEN_FILE", Value: tokenFolder + "/token"},
	}
	if strings.HasPrefix(pods.Server, "http:") {
		// A manager that is started without TLS trusts the network.
		env = append(env, corev1.EnvVar{Name: "ARTIFACTSTORE_INSECURE_TOKEN", Value: "true"})
	}
	var sources volumes
	sources.add("token", tokenFolder, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience: pods.Audience, ExpirationSeconds: new(int64(tokenLifetime)), Path: "token",
	}})
	if ca := pods.CA; ca != nil {
		env = append(env, corev1.EnvVar{Name: "ARTIFACTSTORE_CA_FILE", Value: caFolder + "/ca.crt"})
		items, name := []corev1.KeyToPath{{Key: ca.Key, Path: "ca.crt"}}, corev1.LocalObjectReference{Name: ca.Name}
		source := corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: name, Items: items}}
		if ca.Kind == CAConfigMap {
			source = corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: name, Items: items}}
		}
		sources.add("ca", caFolder, source)
	}
	// A folder is not seen by a pod: the manager, which sees it, reads it.
	if sb.Spec.S3 != nil {
		config, secrets, wrong := podConfig(sb.Spec.S3, settings)
		if wrong != nil {
			return corev1.PodSpec{}, wrong
		}
		env = append(env, corev1.EnvVar{Name: "ARTIFACTSTORE_BACKEND_CONFIG", Value: string(config)})
		if len(secrets) > 0 {
			args = append(args, "--credentials-dir="+credentialsFolder)
			sources.add("credentials", credentialsFolder, secrets...)
		}
	}
	return corev1.PodSpec{
		ServiceAccountName: VerifierAccount,
		// It has a token for the registry, and none for the API server.
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: new(int64(30)), // what was found is reported in 10
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(podUser)), RunAsGroup: new(int64(podUser)), FSGroup: new(int64(podUser)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "verify", Image: pods.Image, ImagePullPolicy: corev1.PullIfNotPresent,
			Command: []string{cliPath}, Args: args, Env: env,
			Resources:                resourcesOf(sb.Spec.Verification.Resources),
			VolumeMounts:             sources.mounts,
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
		Volumes: sources.volumes,
	}, nil
}

func resourcesOf(r v1alpha1.VerificationResources) corev1.ResourceRequirements {
	requests, limits := r.Requests, r.Limits
	if requests == nil {
		requests = declared.DefaultRequests
	}
	if limits == nil {
		limits = declared.DefaultLimits
	}
	return corev1.ResourceRequirements{Requests: maps.Clone(requests), Limits: maps.Clone(limits)}
}

// volumes collects projected volumes and where they are mounted.
type volumes struct {
	volumes []corev1.Volume
	mounts  []corev1.VolumeMount
}

func (v *volumes) add(name, folder string, sources ...corev1.VolumeProjection) {
	v.volumes = append(v.volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: new(int32(0o440))},
	}})
	v.mounts = append(v.mounts, corev1.VolumeMount{Name: name, MountPath: folder, ReadOnly: true})
}

// podConfig is the backend's configuration as a pod gets it: what is no secret
// as a document, and of each reference exactly the key that it names.
func podConfig(spec *v1alpha1.S3Spec, settings declared.Settings) (document []byte, secrets []corev1.VolumeProjection, wrong *declared.Problem) {
	// Values stand in for those that the pod finds in its volume: the manager
	// need not read them to say where they are.
	placeholder := func(ref v1alpha1.ValueRef) (storage.Secret, *declared.Problem) {
		return storage.NewSecret("placeholder"), declared.RefusedInCluster(ref)
	}
	unbundled := *spec
	unbundled.CABundleRef = nil // its value would be judged
	config, wrong := declared.S3Config(&unbundled, placeholder, settings)
	if wrong == nil && spec.CABundleRef != nil {
		if _, wrong = placeholder(*spec.CABundleRef); wrong != nil {
			wrong.Message = "spec.s3.caBundleRef: " + wrong.Message
		}
	}
	if wrong != nil {
		wrong.Condition = v1alpha1.ConditionVerificationScheduled
		return nil, nil, wrong
	}
	document, err := config.Document()
	if err != nil {
		return nil, nil, declared.Problemf(v1alpha1.ConditionVerificationScheduled, declared.ReasonInvalidSpec, "spec.s3: %s", err)
	}
	for _, ref := range declared.Refs(spec) {
		secrets = append(secrets, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: ref.Name},
			Items:                []corev1.KeyToPath{{Key: ref.Key, Path: ref.Value()}},
		}})
	}
	return document, slices.Clip(secrets), nil
}
