package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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
