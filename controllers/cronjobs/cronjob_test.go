package cronjobs

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden is what a *.in.yaml declares: objects as an API server would hold
// them, and in a document of kind Settings how the manager was started.
type golden struct {
	backends []v1alpha1.StorageBackend
	settings declared.Settings
	pods     PodSettings
}

func readGolden(t *testing.T, path string) (in golden) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(content), "\n---\n") {
		var read struct {
			metav1.TypeMeta
			declared.Settings
			Pods PodSettings
		}
		if err := yaml.Unmarshal([]byte(document), &read); err != nil {
			t.Fatal(err)
		}
		if read.Kind == "Settings" {
			in.settings, in.pods = read.Settings, read.Pods
			continue
		}
		var sb v1alpha1.StorageBackend
		if err := yaml.UnmarshalStrict([]byte(document), &sb); err != nil {
			t.Fatal(err)
		}
		in.backends = append(in.backends, sb)
	}
	return in
}

// TestVerificationCronJob compares what backends give with golden files.
func TestVerificationCronJob(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) < 4 {
		t.Fatalf("%d golden files, %v", len(inputs), err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".in.yaml"), func(t *testing.T) {
			t.Parallel()
			in := readGolden(t, input)
			var got bytes.Buffer
			for i := range in.backends {
				made, wrong := cronJobFor(&in.backends[i], in.settings, in.pods)
				var value any = made
				if wrong != nil {
					value = wrong
				}
				text, err := yaml.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "# %s\n%s---\n", in.backends[i].Name, text)
			}
			output := strings.TrimSuffix(input, ".in.yaml") + ".out.yaml"
			if *update {
				if err := os.WriteFile(output, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s differs (-update writes it):\n%s", output, &got)
			}
		})
	}
}

// What the pod is given, its program reads back as the backend's own configuration.
func TestPodConfigIsReadBack(t *testing.T) {
	t.Parallel()
	in := readGolden(t, "testdata/modes.in.yaml")
	sb := &in.backends[1] // everything set
	made, wrong := cronJobFor(sb, in.settings, in.pods)
	if wrong != nil {
		t.Fatal(wrong)
	}
	container := podOf(made).Containers[0]
	document := ""
	for _, e := range container.Env {
		if e.Name == "ARTIFACTSTORE_BACKEND_CONFIG" {
			document = e.Value
		}
	}
	value := storage.NewSecret("placeholder")
	got, err := backends.Parse([]byte(document), backends.Secrets{AccessKey: value, SecretKey: value, SessionToken: value})
	if err != nil {
		t.Fatal(err)
	}
	want, wrong := declared.S3Config(sb.Spec.S3, func(ref v1alpha1.ValueRef) (storage.Secret, *declared.Problem) { return value, nil }, in.settings)
	if wrong != nil {
		t.Fatal(wrong)
	}
	want.S3.CABundle = nil // none, which is empty there
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", *got.S3, *want.S3)
	}
}

func podOf(c *batchv1.CronJob) corev1.PodSpec { return c.Spec.JobTemplate.Spec.Template.Spec }

func TestVerificationName(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, backend := range []string{
		"a", "objects", strings.Repeat("b", 45), strings.Repeat("b", 46), strings.Repeat("b", 47), strings.Repeat("b", 63),
		strings.Repeat("b", 35) + "." + strings.Repeat("c", 20), strings.Repeat("b", 35) + "-" + strings.Repeat("c", 20),
	} {
		name := cronJobName(backend)
		if wrong := validation.IsDNS1123Subdomain(name); wrong != nil || len(name) > maxCronJobName || !strings.HasSuffix(name, "-verify") || seen[name] != "" {
			t.Errorf("%s: %s (%d, %v), as of %q", backend, name, len(name), wrong, seen[name])
		}
		seen[name] = backend
		if len(backend) <= 45 && name != backend+"-verify" {
			t.Errorf("%s: %s", backend, name)
		}
	}
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	in := readGolden(t, "testdata/modes.in.yaml")
	wanted, wrong := cronJobFor(&in.backends[0], in.settings, in.pods)
	if wrong != nil {
		t.Fatal(wrong)
	}
	for name, tt := range map[string]struct {
		change func(c *batchv1.CronJob)
		want   bool
	}{
		"the same": {func(*batchv1.CronJob) {}, false},
		"defaults of the API server": {func(c *batchv1.CronJob) {
			c.Spec.JobTemplate.Spec.Template.Spec.DNSPolicy, c.Spec.JobTemplate.Spec.Completions = corev1.DNSClusterFirst, new(int32(1))
		}, false},
		"what others added": {func(c *batchv1.CronJob) {
			c.Labels["team"], c.Spec.JobTemplate.Spec.Template.Spec.NodeSelector = "a", map[string]string{"disk": "ssd"}
		}, false},
		"suspended by hand": {func(c *batchv1.CronJob) { *c.Spec.Suspend = true }, true},
		"another image":     {func(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image = "evil:1" }, true},
		"another container": {func(c *batchv1.CronJob) {
			pod := &c.Spec.JobTemplate.Spec.Template.Spec
			pod.Containers = append(pod.Containers, corev1.Container{Name: "b"})
		}, true},
		"a right more":           {func(c *batchv1.CronJob) { *podOf(c).Containers[0].SecurityContext.AllowPrivilegeEscalation = true }, true},
		"made of something else": {func(c *batchv1.CronJob) { c.Annotations[appliedAnnotation] = "0" }, true},
		"a label of ours":        {func(c *batchv1.CronJob) { delete(c.Labels, backendLabel) }, true},
	} {
		there := wanted.DeepCopy()
		tt.change(there)
		if got := differs(wanted, there); got != tt.want {
			t.Errorf("%s: differs is %v", name, got)
		}
	}
}
