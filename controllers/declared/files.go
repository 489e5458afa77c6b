package declared

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

const (
	// maxConfigFile bounds one file, in bytes.
	maxConfigFile = 1 << 20
	// maxBackendName is as long as a label may be.
	maxBackendName = 63 // characters
)

// Declaration is what a folder of YAML files declares.
type Declaration struct {
	Backends []v1alpha1.StorageBackend
	Policies []v1alpha1.RoutingPolicy
}

// LoadDir reads every *.yaml and *.yml file of dir (not of folders in it).
// Errors name the file, the document in it and the field; one is enough to refuse the whole.
func LoadDir(dir string) (Declaration, error) {
	names, err := filesIn(dir)
	if err != nil {
		return Declaration{}, err
	}
	var all Declaration
	for _, name := range names {
		content, err := readBounded(filepath.Join(dir, name))
		if err != nil {
			return Declaration{}, err
		}
		if err := all.Read(name, content); err != nil {
			return Declaration{}, err
		}
	}
	return all, nil
}

// Paths are those of the files that LoadDir reads, and the folder's own.
func Paths(dir string) []string {
	paths := []string{dir}
	names, _ := filesIn(dir) // the folder's own path stands for the error
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

func filesIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) {
			names = append(names, name)
		}
	}
	return names, err
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	content, err := io.ReadAll(io.LimitReader(file, maxConfigFile+1))
	if err == nil && len(content) > maxConfigFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxConfigFile)
	}
	return content, err
}

// Read adds the documents of one file.
func (d *Declaration) Read(file string, content []byte) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for i := 1; ; i++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = d.add(document)
		}
		if err != nil {
			return fmt.Errorf("%s, document %d: %w", file, i, err)
		}
	}
}

func (d *Declaration) add(document []byte) error {
	var content any
	if err := yaml.Unmarshal(document, &content); err != nil {
		return err
	}
	if content == nil {
		return nil // only comments
	}
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	if kind.APIVersion != v1alpha1.GroupVersion.String() {
		return fmt.Errorf("apiVersion: %q is not %s", kind.APIVersion, v1alpha1.GroupVersion)
	}
	switch kind.Kind {
	case "StorageBackend":
		var sb v1alpha1.StorageBackend
		if err := checkWritten(content); err != nil {
			return err
		}
		if err := DecodeStrictly(document, &sb); err != nil {
			return err
		}
		sb.Status = v1alpha1.StorageBackendStatus{}
		if slices.ContainsFunc(d.Backends, func(o v1alpha1.StorageBackend) bool { return o.Name == sb.Name }) {
			return fmt.Errorf("metadata.name: a StorageBackend %q is declared twice", sb.Name)
		}
		d.Backends = append(d.Backends, sb)
		return validateBackend(&sb)
	case "RoutingPolicy":
		var p v1alpha1.RoutingPolicy
		if err := DecodeStrictly(document, &p); err != nil {
			return err
		}
		p.Status = v1alpha1.RoutingPolicyStatus{}
		if slices.ContainsFunc(d.Policies, func(o v1alpha1.RoutingPolicy) bool { return o.Name == p.Name }) {
			return fmt.Errorf("metadata.name: a RoutingPolicy %q is declared twice", p.Name)
		}
		d.Policies = append(d.Policies, p)
		return validatePolicy(&p)
	default:
		return fmt.Errorf("kind: %q is neither StorageBackend nor RoutingPolicy", kind.Kind)
	}
}

// DecodeStrictly refuses what the type does not have, by its path, and keys that stand twice.
func DecodeStrictly(document []byte, into any) error {
	asJSON, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(asJSON, into)
	return errors.Join(append(strict, err)...)
}

var (
	objectName     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	producerGlob   = regexp.MustCompile(`^[A-Za-z0-9_.*?-]{1,128}$`)
	retentionClass = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
)

// validateBackend checks what the schema checks in a cluster and the driver's
// Config does not. What the driver judges becomes a condition of that backend alone.
func validateBackend(sb *v1alpha1.StorageBackend) error {
	spec := &sb.Spec
	probe := &spec.Probe
	within := func(d *metav1.Duration, least, most time.Duration) bool {
		return d == nil || (d.Duration >= least && d.Duration <= most)
	}
	switch {
	case len(sb.Name) > maxBackendName || !objectName.MatchString(sb.Name):
		return fmt.Errorf("metadata.name: %.80q must be at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at its ends", sb.Name)
	case (spec.S3 == nil) == (spec.Local == nil):
		return errors.New("spec: exactly one of s3 and local must be set")
	case spec.Access != "" && spec.Access != v1alpha1.ReadWrite && spec.Access != v1alpha1.ReadOnly:
		return fmt.Errorf("spec.access: %.40q must be ReadWrite or ReadOnly", string(spec.Access))
	case !within(probe.Interval, minInterval, maxInterval):
		return errors.New("spec.probe.interval: must be from 5s to 24h")
	case !within(probe.Timeout, minTimeout, MaxTimeout):
		return errors.New("spec.probe.timeout: must be from 1s to 5m")
	case duration(probe.Timeout, DefaultTimeout) > duration(probe.Interval, DefaultInterval):
		return errors.New("spec.probe: timeout must not be longer than interval; unset, they are 15s and 1m")
	case probe.FailureThreshold < 0 || probe.FailureThreshold > maxFailureThreshold:
		return errors.New("spec.probe.failureThreshold: must be from 1 to 20")
	case spec.Local != nil && spec.Local.Path == "":
		return errors.New("spec.local.path: must not be empty")
	case spec.Local != nil && utf8.RuneCountInString(spec.Local.Path) > maxPath:
		return fmt.Errorf("spec.local.path: must be at most %d characters", maxPath)
	case spec.Local != nil && slices.Contains(strings.Split(spec.Local.Path, "/"), ".."):
		return errors.New("spec.local.path: path must not contain '..'")
	case spec.S3 != nil && !within(spec.S3.RequestTimeout, s3.MinRequestTimeout, s3.MaxRequestTimeout):
		return errors.New("spec.s3.requestTimeout: must be from 1s to 10m")
	case spec.S3 != nil:
		if err := validateRefs(spec.S3); err != nil {
			return err
		}
	}
	return validateVerification(sb)
}

func validatePolicy(p *v1alpha1.RoutingPolicy) error {
	if len(p.Name) > 253 || !objectName.MatchString(p.Name) {
		return fmt.Errorf("metadata.name: %.80q must be lower-case letters, digits, '-' and '.'", p.Name)
	}
	if n := len(p.Spec.Rules); n < 1 || n > 64 {
		return fmt.Errorf("spec.rules: must be from 1 to 64, are %d", n)
	}
	for i, rule := range p.Spec.Rules {
		field := fmt.Sprintf("spec.rules[%d]", i)
		if n := len(rule.Backends); n < 1 || n > 16 {
			return fmt.Errorf("%s.backends: must be from 1 to 16, are %d", field, n)
		}
		for j, name := range rule.Backends {
			if len(name) > maxBackendName || !objectName.MatchString(name) {
				return fmt.Errorf("%s.backends[%d]: %.80q must be the name of a StorageBackend: at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at its ends", field, j, name)
			}
		}
		if rule.Match == nil {
			continue
		}
		if len(rule.Match.Producers) == 0 && len(rule.Match.RetentionClasses) == 0 {
			return fmt.Errorf("%s.match: must name producers or retentionClasses; leave match out to take everything", field)
		}
		for j, glob := range rule.Match.Producers {
			if !producerGlob.MatchString(glob) {
				return fmt.Errorf("%s.match.producers[%d]: %.130q must be 1 to 128 letters, digits, '_', '.' and '-', and '*' and '?' for any", field, j, glob)
			}
		}
		for j, class := range rule.Match.RetentionClasses {
			if !retentionClass.MatchString(class) {
				return fmt.Errorf("%s.match.retentionClasses[%d]: %.130q must be 1 to 128 letters, digits, '_', '.' and '-', with a letter or digit first", field, j, class)
			}
		}
	}
	return nil
}

// SamePlace checks what is immutable in a cluster: where bytes are.
func SamePlace(old, now *v1alpha1.StorageBackend) error {
	const why = "is immutable: stored bytes stay where they are; declare another StorageBackend"
	switch {
	case (old.Spec.S3 == nil) != (now.Spec.S3 == nil):
		return fmt.Errorf("StorageBackend %q: spec: the kind of storage %s", now.Name, why)
	case now.Spec.Local != nil && old.Spec.Local.Path != now.Spec.Local.Path:
		return fmt.Errorf("StorageBackend %q: spec.local.path: %s", now.Name, why)
	case now.Spec.S3 != nil && old.Spec.S3.Bucket != now.Spec.S3.Bucket:
		return fmt.Errorf("StorageBackend %q: spec.s3.bucket: %s", now.Name, why)
	case now.Spec.S3 != nil && old.Spec.S3.KeyPrefix != now.Spec.S3.KeyPrefix:
		return fmt.Errorf("StorageBackend %q: spec.s3.keyPrefix: %s", now.Name, why)
	}
	return nil
}
