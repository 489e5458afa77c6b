package declared

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// Settings are what the manager's flags decide, and a StorageBackend cannot.
type Settings struct {
	// DataDir is where relative folders are; "" if there is none (in a cluster). Absolute and clean.
	DataDir string
	// LocalRoot is the folder that contains every local backend; "" refuses local backends. Absolute and clean.
	LocalRoot string
	// AllowAmbient lets S3 backends without credentials use the manager's own.
	AllowAmbient bool
}

// Lookup gives the value that a reference names, or a *Problem without the value in it.
type Lookup func(ref v1alpha1.ValueRef) (storage.Secret, *Problem)

// Config translates one StorageBackend. It does no I/O but what lookup does.
func Config(sb *v1alpha1.StorageBackend, lookup Lookup, settings Settings) (config backends.Config, wrong *Problem) {
	switch {
	case (sb.Spec.S3 == nil) == (sb.Spec.Local == nil):
		return backends.Config{}, Problemf(v1alpha1.ConditionCredentialsResolved, ReasonInvalidSpec, "spec: exactly one of s3 and local must be set")
	case sb.Spec.Local != nil:
		config, wrong = localConfig(sb.Spec.Local, settings)
	default:
		config, wrong = S3Config(sb.Spec.S3, lookup, settings)
	}
	return config, wrong
}

// Place describes where the declared place is, also where credentials are missing.
func Place(sb *v1alpha1.StorageBackend, settings Settings) string {
	switch {
	case sb.Spec.S3 != nil:
		spec := sb.Spec.S3
		return s3.Config{EndpointURL: spec.EndpointURL, Region: spec.Region, Bucket: spec.Bucket, KeyPrefix: spec.KeyPrefix}.Place()
	case sb.Spec.Local != nil && filepath.IsAbs(sb.Spec.Local.Path):
		return filepath.Clean(sb.Spec.Local.Path)
	case sb.Spec.Local != nil:
		return filepath.Join(settings.DataDir, sb.Spec.Local.Path)
	}
	return ""
}

func localConfig(spec *v1alpha1.LocalSpec, settings Settings) (backends.Config, *Problem) {
	path := spec.Path
	// A relative folder is one of the data directory's, which is ours to make.
	ours := !filepath.IsAbs(path)
	if ours {
		if settings.DataDir == "" {
			return backends.Config{}, Problemf(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: %q must be absolute", path)
		}
		path = filepath.Join(settings.DataDir, path)
	}
	path = filepath.Clean(path)
	if settings.LocalRoot == "" {
		return backends.Config{}, Problemf(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: local backends are refused, the manager was started without --local-root")
	}
	if !Beneath(settings.LocalRoot, path) {
		return backends.Config{}, Problemf(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: %q is not below the manager's --local-root %q", spec.Path, settings.LocalRoot)
	}
	return checked(backends.Config{Local: &local.Config{Path: path, Create: ours}})
}

// Beneath reports whether path lies within root and is not root itself. Both are clean.
func Beneath(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// S3Config turns spec.s3 into the driver's Config: its fields by their names,
// and for each reference the value that lookup returns.
func S3Config(spec *v1alpha1.S3Spec, lookup Lookup, settings Settings) (backends.Config, *Problem) {
	ambient := spec.AccessKeyRef == nil && spec.SecretKeyRef == nil
	if ambient && !settings.AllowAmbient {
		return backends.Config{}, Problemf(v1alpha1.ConditionCredentialsResolved, ReasonAmbientRefused,
			"spec.s3.accessKeyRef: is missing, and the manager was started without --allow-ambient-credentials")
	}
	c, err := byName(withoutRefs(spec))
	if err != nil {
		return backends.Config{}, Problemf(v1alpha1.ConditionReachable, ReasonInvalidSpec, "spec.s3.%s", err)
	}
	c.AllowAmbientCredentials = ambient
	for _, ref := range Refs(spec) {
		value, wrong := lookup(ref.ValueRef)
		if wrong != nil {
			wrong.Condition = v1alpha1.ConditionCredentialsResolved
			wrong.Message = "spec.s3." + ref.Field + ": " + wrong.Message
			return backends.Config{}, wrong
		}
		c.SetSecret(ref.Value(), value)
	}
	return checked(backends.Config{S3: &c})
}

// byName copies each field that is set to the one of the same name. A field that
// a Config does not have is an error.
func byName(spec *v1alpha1.S3Spec) (c s3.Config, err error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(text, &c)
}

// checked lets the driver judge its config.
func checked(c backends.Config) (backends.Config, *Problem) {
	err := c.Validate()
	if err == nil {
		return c, nil
	}
	message := "spec." + err.Error()
	for _, ref := range refFields {
		// The driver judges the value that a reference gave.
		if rest, is := strings.CutPrefix(message, "spec.s3."+ref.Value()+": "); is {
			return backends.Config{}, Problemf(v1alpha1.ConditionCredentialsResolved, ReasonInvalidValue, "spec.s3.%s: %s", ref.Field, rest)
		}
	}
	if strings.HasPrefix(message, "spec.s3.endpointURL") {
		return backends.Config{}, Problemf(v1alpha1.ConditionReachable, ReasonInvalidEndpoint, "%s", message)
	}
	return backends.Config{}, Problemf(v1alpha1.ConditionReachable, ReasonInvalidSpec, "%s", message)
}

// duration is that of a field, or otherwise where it is not set.
func duration(d *metav1.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Duration
}

// Driver names the driver of a declaration.
func Driver(sb *v1alpha1.StorageBackend) string {
	if sb.Spec.Local != nil {
		return backends.DriverLocal
	}
	return backends.DriverS3
}
