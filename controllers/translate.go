package controllers

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// Settings are what whoever starts the manager decides, and whoever writes a
// StorageBackend cannot.
type Settings struct {
	// DataDir is where relative folders lie; "" where there is none (in a cluster). Absolute and clean.
	DataDir string
	// LocalRoot is the folder that every local backend lies beneath; "" refuses local backends. Absolute and clean.
	LocalRoot string
	// AllowAmbient lets S3 backends without credentials use the manager's own.
	AllowAmbient bool
	// Pods are those that verify.
	Pods PodSettings
}

// Lookup gives the value that a reference names, or a *Problem without the value in it.
type Lookup func(ref v1alpha1.ValueRef) (storage.Secret, *Problem)

// backendConfig translates one StorageBackend. It does no I/O but what lookup does.
func backendConfig(sb *v1alpha1.StorageBackend, lookup Lookup, settings Settings) (config backends.Config, wrong *Problem) {
	switch {
	case (sb.Spec.S3 == nil) == (sb.Spec.Local == nil):
		return backends.Config{}, problem(v1alpha1.ConditionCredentialsResolved, ReasonInvalidSpec, "spec: exactly one of s3 and local must be set")
	case sb.Spec.Local != nil:
		config, wrong = localConfig(sb.Spec.Local, settings)
	default:
		config, wrong = s3Config(sb.Spec.S3, lookup, settings)
	}
	return config, wrong
}

// placeInWords says in words where the declared place is, also where credentials are missing.
func placeInWords(sb *v1alpha1.StorageBackend, settings Settings) string {
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
			return backends.Config{}, problem(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: %q must be absolute", path)
		}
		path = filepath.Join(settings.DataDir, path)
	}
	path = filepath.Clean(path)
	if settings.LocalRoot == "" {
		return backends.Config{}, problem(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: local backends are refused, the manager was started without --local-root")
	}
	if !beneath(settings.LocalRoot, path) {
		return backends.Config{}, problem(v1alpha1.ConditionReachable, ReasonPathRefused, "spec.local.path: %q does not lie beneath the manager's --local-root", spec.Path)
	}
	return checked(backends.Config{Local: &local.Config{Path: path, Create: ours}})
}

// beneath reports whether path lies within root and is not root itself. Both are clean.
func beneath(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// sseModes are the driver's words for those of spec.s3.sse.
var sseModes = map[string]s3.SSE{"": s3.SSENone, "None": s3.SSENone, "SSE-S3": s3.SSEAES256}

// classesOf returns the classes by tier, as the registry spells tiers; nil for none.
func classesOf(spec *v1alpha1.StorageClasses) map[string]string {
	if spec == nil {
		return nil
	}
	classes := map[string]string{"hot": spec.Hot, "warm": spec.Warm, "cold": spec.Cold}
	maps.DeleteFunc(classes, func(_, class string) bool { return class == "" })
	return classes
}

func s3Config(spec *v1alpha1.S3Spec, lookup Lookup, settings Settings) (backends.Config, *Problem) {
	sse, known := sseModes[spec.SSE]
	if !known {
		return backends.Config{}, problem(v1alpha1.ConditionReachable, ReasonInvalidSpec, "spec.s3.sse: %.40q must be None or SSE-S3", spec.SSE)
	}
	c := s3.Config{
		EndpointURL:             spec.EndpointURL,
		Region:                  spec.Region,
		Bucket:                  spec.Bucket,
		KeyPrefix:               spec.KeyPrefix,
		StorageClass:            spec.StorageClass,
		StorageClasses:          classesOf(spec.StorageClasses),
		SSE:                     sse,
		MultipartThresholdBytes: spec.MultipartThresholdBytes,
		MultipartChunkBytes:     spec.MultipartChunkBytes,
		ForcePathStyle:          spec.ForcePathStyle,
		Checksums:               s3.Checksums(spec.Checksums),
		RequestTimeout:          duration(spec.RequestTimeout, 0),
		MaxConnections:          int(spec.MaxConnections),
	}
	if spec.AccessKeyRef == nil && spec.SecretKeyRef == nil {
		if !settings.AllowAmbient {
			return backends.Config{}, problem(v1alpha1.ConditionCredentialsResolved, ReasonAmbientRefused,
				"spec.s3.accessKeyRef: is missing, and the manager was started without --allow-ambient-credentials")
		}
		c.AllowAmbientCredentials = true
	}
	var bundle storage.Secret
	for _, value := range []struct {
		field string
		ref   *v1alpha1.ValueRef
		into  *storage.Secret
	}{
		{"accessKeyRef", spec.AccessKeyRef, &c.AccessKey},
		{"secretKeyRef", spec.SecretKeyRef, &c.SecretKey},
		{"sessionTokenRef", spec.SessionTokenRef, &c.SessionToken},
		{"caBundleRef", spec.CABundleRef, &bundle},
	} {
		if value.ref == nil {
			continue
		}
		found, wrong := lookup(*value.ref)
		if wrong != nil {
			wrong.Condition = v1alpha1.ConditionCredentialsResolved
			wrong.Message = "spec.s3." + value.field + ": " + wrong.Message
			return backends.Config{}, wrong
		}
		*value.into = found
	}
	c.CABundle = []byte(bundle.Reveal()) // certificates are public
	return checked(backends.Config{S3: &c})
}

// checked lets the driver judge its config.
func checked(c backends.Config) (backends.Config, *Problem) {
	err := c.Validate()
	if err == nil {
		return c, nil
	}
	message := "spec." + err.Error()
	for _, value := range []string{"accessKey", "secretKey", "sessionToken", "caBundle"} {
		// What the driver judges is the value that a reference gave.
		if rest, is := strings.CutPrefix(message, "spec.s3."+value+": "); is {
			return backends.Config{}, problem(v1alpha1.ConditionCredentialsResolved, ReasonInvalidValue, "spec.s3.%sRef: %s", value, rest)
		}
	}
	if strings.HasPrefix(message, "spec.s3.endpointURL") {
		return backends.Config{}, problem(v1alpha1.ConditionReachable, ReasonInvalidEndpoint, "%s", message)
	}
	return backends.Config{}, problem(v1alpha1.ConditionReachable, ReasonInvalidSpec, "%s", message)
}

func duration(d *metav1.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Duration
}

// Opened is what this process has of a backend: the driver that serves and the
// id in its marker.
type Opened struct {
	Store storage.Backend
	ID    string
	Place string // of Store, in words
	// Problem is what is wrong with the backend as it is declared now, of which
	// Store need not be; LastGood is what goes on all the same.
	Problem  *Problem
	LastGood LastGood
	// At is when it was last looked at.
	At time.Time
	// Prober tries it on demand.
	Prober registrar.Prober
}

// snapshot translates what is declared, as the statuses and this process's
// drivers have it, into a routing table. Objects come from one namespace.
func snapshot(declared []v1alpha1.StorageBackend, policies []v1alpha1.RoutingPolicy, opened map[string]Opened) routing.Snapshot {
	var s routing.Snapshot
	for i := range declared {
		s.Backends = append(s.Backends, tableEntry(&declared[i], opened[declared[i].Name]))
	}
	for _, p := range byAge(policies) {
		s.Rules = append(s.Rules, policyRules(&p)...)
	}
	return s
}

// tableEntry joins a backend's recorded status with this process's own driver:
// it takes bytes only where both agree on the place.
func tableEntry(sb *v1alpha1.StorageBackend, opened Opened) placement.Backend {
	b := placement.Backend{Name: sb.Name, ID: opened.ID, Driver: driverOf(sb), ReadOnly: sb.Spec.Access == v1alpha1.ReadOnly, LastProbe: opened.At}
	if opened.Store != nil {
		b.Store, b.Place = opened.Store, opened.Place
	}
	b.Prober, b.Capabilities = opened.Prober, placementCapabilities(sb.Status.Capabilities)
	b.Ready, b.Reason, b.Message = readiness(sb)
	switch {
	case !b.Ready && (opened.Problem == nil || b.Reason != ReasonNotObserved):
		// The status knows best, unless it knows nothing yet.
	case opened.Problem != nil && !(opened.ID != "" && (opened.Problem.Lost || opened.LastGood == LastGoodServes)):
		// One lost look at a place that was known does not outweigh the status, which counts them,
		// nor do new credentials that do not work from here yet: the last that did serve on.
		b.Ready, b.Reason, b.Message = false, opened.Problem.Reason, opened.Problem.Message
	case opened.Store == nil:
		b.Ready, b.Reason, b.Message = false, ReasonNotObserved, "it was not opened here yet"
	case opened.ID != sb.Status.ID:
		// The same declaration leads elsewhere from here: a folder that is not shared, a name that resolves differently.
		b.Ready, b.Reason, b.Message = false, ReasonForeignMarker, "this replica reaches another place than the one in the status"
	}
	return b
}

func placementCapabilities(found []v1alpha1.Capability) []storage.Capability {
	var all []storage.Capability
	for _, c := range found {
		all = append(all, storage.Capability{Name: c.Name, Status: storage.Support(c.Status), Message: c.Message})
	}
	return all
}

// readiness reads a backend's status as routing does.
func readiness(sb *v1alpha1.StorageBackend) (ready bool, reason, message string) {
	if !sb.DeletionTimestamp.IsZero() {
		return false, ReasonTerminating, "it is being deleted"
	}
	c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case c == nil:
		return false, ReasonNotObserved, "it was not probed yet as it is declared now"
	case c.Status == metav1.ConditionTrue:
		// Also where an edit was not looked at yet: the driver that was tried goes on until then.
		return true, "", ""
	case sb.Status.LastGoodServes:
		return true, c.Reason, c.Message
	case c.ObservedGeneration != sb.Generation:
		return false, ReasonNotObserved, "it was not probed yet as it is declared now"
	}
	return false, c.Reason, c.Message
}

func driverOf(sb *v1alpha1.StorageBackend) string {
	if sb.Spec.Local != nil {
		return backends.DriverLocal
	}
	return backends.DriverS3
}

// byAge orders policies by precedence: the oldest first, by name where they are
// equally old (as all are that come from files).
func byAge(policies []v1alpha1.RoutingPolicy) []v1alpha1.RoutingPolicy {
	sorted := slices.Clone(policies)
	slices.SortStableFunc(sorted, func(a, b v1alpha1.RoutingPolicy) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return sorted
}

func policyRules(p *v1alpha1.RoutingPolicy) []routing.Rule {
	var rules []routing.Rule
	for i, r := range p.Spec.Rules {
		rule := routing.Rule{Policy: p.Name, Index: i, Backends: r.Backends}
		if r.Match != nil {
			rule.Producers, rule.RetentionClasses = r.Match.Producers, r.Match.RetentionClasses
		}
		rules = append(rules, rule)
	}
	return rules
}

// allTried reports whether every declared backend was tried once: only then is
// the first table a picture of what is there, and the replica ready.
func allTried(declared []v1alpha1.StorageBackend, opened map[string]Opened) bool {
	return !slices.ContainsFunc(declared, func(sb v1alpha1.StorageBackend) bool {
		_, tried := opened[sb.Name]
		return !tried
	})
}
