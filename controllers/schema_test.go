package controllers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
)

// apiClient reads and writes without a cache, in a namespace of the test's own.
func apiClient(t *testing.T) (client.Client, string) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(controlPlane(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return c, ns.Name
}

// object reads YAML without the types, so that what they cannot say can be said.
func object(t *testing.T, namespace, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	var parsed map[string]any
	if err := yaml.Unmarshal([]byte(spec), &parsed); err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": parsed}}
	o.SetAPIVersion(v1alpha1.GroupVersion.String())
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func TestSchemaOfStorageBackend(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	const good = "{s3: {bucket: bbb}}"
	for _, tt := range []struct{ name, spec, says string }{
		{"least-s3", good, ""},
		{"least-local", "{local: {path: /v/a}}", ""},
		{"all-of-s3", `{access: ReadOnly, probe: {interval: 5s, timeout: 5s, failureThreshold: 1, suspend: true}, s3: {endpointURL: "https://s3.example.com:9000", region: eu-1, bucket: b.b-b, keyPrefix: a/b_c,
			accessKeyRef: {name: keys, key: k}, secretKeyRef: {env: E}, sessionTokenRef: {file: /f}, storageClass: STANDARD_IA, sse: SSE-S3, multipartThresholdBytes: 5242880, multipartChunkBytes: 67108864,
			caBundleRef: {name: keys, key: ca}, forcePathStyle: true, checksums: WhenRequired, requestTimeout: 10m, maxConnections: 1024}}`, ""},
		{"neither", "{access: ReadWrite}", "exactly one of s3 and local must be set"},
		{"both", "{s3: {bucket: bbb}, local: {path: /a}}", "exactly one of s3 and local must be set"},
		{"access", "{access: WriteOnly, s3: {bucket: bbb}}", `Unsupported value: "WriteOnly"`},
		{"no-url", "{s3: {bucket: bbb, endpointURL: s3.example.com}}", "must be an http or https URL with only a host"},
		{"ftp", "{s3: {bucket: bbb, endpointURL: 'ftp://a'}}", "must be an http or https URL with only a host"},
		{"bucket", "{s3: {bucket: bad-}}", "spec.s3.bucket"},
		{"prefix", "{s3: {bucket: bbb, keyPrefix: /a}}", "spec.s3.keyPrefix"},
		{"prefix-dots", "{s3: {bucket: bbb, keyPrefix: a/../b}}", "spec.s3.keyPrefix"},
		{"one-key", "{s3: {bucket: bbb, accessKeyRef: {name: keys, key: k}}}", "accessKeyRef and secretKeyRef must be set together"},
		{"token-alone", "{s3: {bucket: bbb, sessionTokenRef: {name: keys, key: k}}}", "sessionTokenRef requires accessKeyRef and secretKeyRef"},
		{"ref-without-key", "{s3: {bucket: bbb, caBundleRef: {name: keys}}}", "exactly one of name with key, env and file must be set"},
		{"ref-of-two", "{s3: {bucket: bbb, caBundleRef: {name: keys, key: k, env: E}}}", "exactly one of name with key, env and file must be set"},
		{"ref-of-none", "{s3: {bucket: bbb, caBundleRef: {}}}", "exactly one of name with key, env and file must be set"},
		{"chunk", "{s3: {bucket: bbb, multipartChunkBytes: 5242879}}", "should be greater than or equal to 5242880"},
		{"threshold", "{s3: {bucket: bbb, multipartThresholdBytes: 5368709121}}", "should be less than or equal to 5368709120"},
		{"timeout", "{s3: {bucket: bbb, requestTimeout: 11m}}", "must be from 1s to 10m"},
		{"interval", "{s3: {bucket: bbb}, probe: {interval: 4s, timeout: 1s}}", "must be from 5s to 24h"},
		{"timeout-of-probe", "{s3: {bucket: bbb}, probe: {interval: 10s, timeout: 11s}}", "timeout must not be longer than interval"},
		{"threshold-of-probe", "{s3: {bucket: bbb}, probe: {failureThreshold: 21}}", "should be less than or equal to 20"},
		{"sse", "{s3: {bucket: bbb, sse: KMS}}", `Unsupported value: "KMS"`},
		{"climbs", "{local: {path: /a/../b}}", "path must not contain '..'"},
		{strings.Repeat("n", 64), good, "metadata.name must be at most 63 characters"},
	} {
		check(t, tt.name, c.Create(t.Context(), object(t, ns, "StorageBackend", tt.name, tt.spec)), tt.says)
	}

	var made v1alpha1.StorageBackend
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "least-s3"}, &made); err != nil {
		t.Fatal(err)
	}
	if s := made.Spec; s.Access != v1alpha1.ReadWrite || s.Probe.Interval.Duration != declared.DefaultInterval || s.Probe.Timeout.Duration != declared.DefaultTimeout || s.Probe.FailureThreshold != declared.DefaultFailureThreshold {
		t.Errorf("the schema's defaults are not those of files: %+v", s)
	}
}

// TestSchemaOfSchedules: what never occurs is refused, and nothing that does.
func TestSchemaOfSchedules(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	never := map[string]bool{
		"0 0 30 2 *": true, "0 0 31 2 *": true, "0 0 30-31 02 *": true, "0 0 31 feb,Apr *": true, "H H(0-5) 31 4,6,9,11 ?": true, "0 0 31,31 JUN */1": true, "0 0 31/2 11 *": true,
		"0 0 29 2 *": false, "0 0 30 2,3 *": false, "0 0 29-31 2 *": false, "0 0 31 2 0": false, "0 0 31 2 */2": false, "0 0 31 1-12 *": false, "0 0 1,31 2 *": false, "0 0 30 4 *": false, "0 0 ? 2 *": false,
	}
	for zone, says := range map[string]string{"Europe/Berlin": "", "Etc/GMT+5": "", "Europe/Berln": "must be the name of a time zone such as Europe/Berlin", "Berlin/Europe": "must be the name of a time zone"} {
		spec := "{local: {path: /a}, verification: {schedule: 0 3 * * *, timeZone: " + zone + "}}"
		check(t, zone, c.Create(t.Context(), object(t, ns, "StorageBackend", strings.ToLower(strings.NewReplacer("/", "-", "+", "-").Replace(zone)), spec)), says)
	}
	n := 0
	for schedule, refused := range never {
		spec := "{local: {path: /a}, verification: {schedule: '" + schedule + "'}}"
		says := ""
		if refused {
			says = "must occur: none of its months has such a day"
		}
		n++
		check(t, schedule, c.Create(t.Context(), object(t, ns, "StorageBackend", fmt.Sprintf("s-%d", n), spec)), says)
		// The manager agrees.
		sb := &v1alpha1.StorageBackend{Spec: v1alpha1.StorageBackendSpec{Verification: &v1alpha1.VerificationSpec{Schedule: schedule}}}
		if _, err := declared.PlanVerification(sb); (err != nil) != refused {
			t.Errorf("%s: %v", schedule, err)
		}
	}
}

// TestReferencesAreAtomic: who applies a reference of another kind replaces it,
// and does not mix the two.
func TestReferencesAreAtomic(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	apply := func(by, ref string) error {
		o := object(t, ns, "StorageBackend", "applied", "{s3: {bucket: bbb, caBundleRef: "+ref+"}}")
		return c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(by), client.ForceOwnership)
	}
	if err := errors.Join(apply("first", "{name: keys, key: ca.crt}"), apply("second", "{file: /ca.crt}")); err != nil {
		t.Fatal(err)
	}
	var sb v1alpha1.StorageBackend
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "applied"}, &sb); err != nil {
		t.Fatal(err)
	}
	if ref := *sb.Spec.S3.CABundleRef; ref != (v1alpha1.ValueRef{File: "/ca.crt"}) {
		t.Errorf("%+v", ref)
	}
}

// TestSelectableFields: the API server finds backends by their fields.
func TestSelectableFields(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	for name, spec := range map[string]string{"bucket": "{s3: {bucket: bbb}}", "folder": "{local: {path: /a}, access: ReadOnly}"} {
		o := object(t, ns, "StorageBackend", name, spec)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		patch := fmt.Appendf(nil, `{"status":{"id":"id of %s","driver":"driver of %s"}}`, name, name)
		if err := c.Status().Patch(t.Context(), o, client.RawPatch(types.MergePatchType, patch)); err != nil {
			t.Fatal(err)
		}
	}
	for field, value := range map[string]string{"spec.access": "ReadOnly", "status.id": "id of folder", "status.driver": "driver of folder"} {
		found := v1alpha1.StorageBackendList{}
		if err := c.List(t.Context(), &found, client.InNamespace(ns), client.MatchingFields{field: value}); err != nil || len(found.Items) != 1 || found.Items[0].Name != "folder" {
			t.Errorf("%s=%s: %d, %v", field, value, len(found.Items), err)
		}
	}
	found := v1alpha1.StorageBackendList{}
	if err := c.List(t.Context(), &found, client.InNamespace(ns), client.MatchingFields{"spec.s3.bucket": "bbb"}); err != nil || len(found.Items) != 1 || found.Items[0].Name != "bucket" {
		t.Errorf("by bucket: %d, %v", len(found.Items), err)
	}
}

// marked has the status of a StorageBackend say that its place was marked.
func marked(t *testing.T, c client.Client, o *unstructured.Unstructured) {
	t.Helper()
	if o.GetKind() != "StorageBackend" {
		return
	}
	if err := c.Status().Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"status":{"id":"an id"}}`))); err != nil {
		t.Fatal(err)
	}
}

// TestSchemaLetsAPlaceBeCorrected as long as nothing was ever marked there.
func TestSchemaLetsAPlaceBeCorrected(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	for i, tt := range []struct{ from, to string }{
		{"{s3: {bucket: bbb}}", "{s3: {bucket: ccc}}"},
		{"{s3: {bucket: bbb, keyPrefix: a}}", "{s3: {bucket: bbb, keyPrefix: b}}"},
		{"{s3: {bucket: bbb, keyPrefix: a}}", "{s3: {bucket: bbb}}"},
		{"{local: {path: /a}}", "{local: {path: /b}}"},
		{"{local: {path: /a}}", "{s3: {bucket: bbb}}"},
	} {
		name := string(rune('a'+i)) + "-corrected"
		o := object(t, ns, "StorageBackend", name, tt.from)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o.Object["spec"] = object(t, ns, "StorageBackend", name, tt.to).Object["spec"]
		check(t, tt.from+" to "+tt.to, c.Update(t.Context(), o), "")
	}
}

func TestSchemaKeepsThePlace(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	const why = "is immutable: stored bytes stay where they are"
	for i, tt := range []struct{ from, to, says string }{
		{"{s3: {bucket: bbb, endpointURL: 'http://a', region: r}}", "{s3: {bucket: bbb, endpointURL: 'https://b', region: s}, access: ReadOnly}", ""},
		{"{s3: {bucket: bbb}}", "{s3: {bucket: ccc}}", "bucket " + why},
		{"{s3: {bucket: bbb, keyPrefix: a}}", "{s3: {bucket: bbb, keyPrefix: b}}", "keyPrefix " + why},
		{"{s3: {bucket: bbb, keyPrefix: a}}", "{s3: {bucket: bbb}}", "keyPrefix " + why},
		{"{s3: {bucket: bbb}}", "{s3: {bucket: bbb, keyPrefix: b}}", "keyPrefix " + why},
		{"{local: {path: /a}}", "{local: {path: /b}}", "path " + why},
		{"{local: {path: /a}}", "{s3: {bucket: bbb}}", "the kind of storage " + why},
	} {
		name := string(rune('a'+i)) + "-moves"
		o := object(t, ns, "StorageBackend", name, tt.from)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		marked(t, c, o)
		o.Object["spec"] = object(t, ns, "StorageBackend", name, tt.to).Object["spec"]
		check(t, tt.from+" to "+tt.to, c.Update(t.Context(), o), tt.says)
	}
}

func TestSchemaOfRoutingPolicy(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	for _, tt := range []struct{ name, spec, says string }{
		{"good", "{rules: [{match: {producers: ['ci-*', 'a?b'], retentionClasses: [evidence]}, backends: [a, b]}, {backends: [c]}]}", ""},
		{"no-rules", "{rules: []}", "spec.rules"},
		{"no-backends", "{rules: [{backends: []}]}", "spec.rules[0].backends"},
		{"empty-match", "{rules: [{match: {}, backends: [a]}]}", "match must name producers or retentionClasses; omit match to match everything"},
		{"glob", "{rules: [{match: {producers: ['a/b']}, backends: [a]}]}", "spec.rules[0].match.producers[0]"},
		{"backend", "{rules: [{backends: [a, A]}]}", "spec.rules[0].backends[1]"},
		{"class", "{rules: [{match: {retentionClasses: ['a*']}, backends: [a]}]}", "spec.rules[0].match.retentionClasses[0]"},
	} {
		check(t, tt.name, c.Create(t.Context(), object(t, ns, "RoutingPolicy", tt.name, tt.spec)), tt.says)
	}
}

func check(t *testing.T, name string, err error, says string) {
	t.Helper()
	switch {
	case says == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case says != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says)):
		t.Errorf("%s: %v; want an Invalid that says %q", name, err, says)
	}
}
