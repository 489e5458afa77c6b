package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
)

// inFiles is what the manager says of a spec that stands in a file: an error of
// the file or a problem of the backend.
func inFiles(spec string) error {
	var peers declared.Declaration
	document := "apiVersion: artifactstore.dev/v1alpha1\nkind: StorageBackend\nmetadata: {name: b}\nspec: " + spec + "\n"
	if err := peers.Read("b.yaml", []byte(document)); err != nil {
		return err
	}
	settings := declared.Settings{DataDir: "/data", LocalRoot: "/", AllowAmbient: true}
	if _, wrong := declared.Config(&peers.Backends[0], observe.HostLookup, settings); wrong != nil {
		return wrong
	}
	return nil
}

// causes lists what an API server says against an object, in order. What it
// adds where it did not evaluate rules is left out.
func causes(err error) []string {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Details == nil {
		return []string{fmt.Sprint(err)}
	}
	var all []string
	for _, cause := range status.ErrStatus.Details.Causes {
		if !strings.Contains(cause.Message, "some validation rules were not checked") {
			all = append(all, cause.Field+": "+cause.Message)
		}
	}
	slices.Sort(all)
	return all
}

// fileCauses lists the same of a file.
func fileCauses(err error) []string {
	var invalid *declared.Invalid
	if !errors.As(err, &invalid) {
		return []string{fmt.Sprint(err)}
	}
	var all []string
	for _, cause := range invalid.Errors {
		all = append(all, cause.Field+": "+cause.ErrorBody())
	}
	slices.Sort(all)
	return all
}

// TestBothModesRefuse sends the same bad objects to a real API server and
// through a file: both name the field as it was written, and give the same causes.
func TestBothModesRefuse(t *testing.T) {
	t.Parallel()
	c, ns := apiClient(t)
	bad := map[string]string{} // a spec, and the field that errors name
	s3 := func(field, rest string) { bad["{s3: {bucket: bbb, "+rest+"}}"] = "spec.s3." + field }
	for _, endpoint := range []string{"s3.example.com", "ftp://a", "http://", "http://:9000", "http://user:pass@host", "http://host/path", "http://host?a=b", "http://host#f", "http://a b", "",
		"http://[1.2.3.4]", "http://[]", "http://[::1", "http://[:]", "http://[1:2]", "http://[::1::2]", "http://[::ffff:1.2.3.4]", "http://[fe80::1%25eth0]", "http://[::1]x", "http://[::1]/[::1]", "http://::1", "http://127.0.0.1:99999", "http://a:65536", "http://a:0", "http://a:080", "http://a:", "http://a:-1", "http://[::1]:70000", "https://" + strings.Repeat("a", 512)} {
		s3("endpointURL", fmt.Sprintf("endpointURL: %q", endpoint))
	}
	for _, region := range []string{"", "EU", "eu/1", "-eu", strings.Repeat("a", 65)} {
		s3("region", fmt.Sprintf("region: %q", region))
	}
	for _, bucket := range []string{"", "ab", "bad-", "a/b", "a..b", "a b", strings.Repeat("b", 64)} {
		bad[fmt.Sprintf("{s3: {bucket: %q}}", bucket)] = "spec.s3.bucket"
	}
	bad["{s3: {region: a}}"] = "spec.s3.bucket"
	for _, prefix := range []string{"", "/a", "a/", "a//b", "a/../b", "./a", ".artifactstore", "a b", "a\\b", "a\nb", "é", strings.Repeat("a", 256), strings.Repeat("a/", 256) + "a"} {
		s3("keyPrefix", fmt.Sprintf("keyPrefix: %q", prefix))
	}
	for _, class := range []string{"", "standard", "STANDARD-IA", "_A", strings.Repeat("A", 65)} {
		s3("storageClass", fmt.Sprintf("storageClass: %q", class))
		for _, tier := range []string{"hot", "warm", "cold"} {
			s3("storageClasses."+tier, fmt.Sprintf("storageClasses: {%s: %q}", tier, class))
		}
	}
	for _, sse := range []string{"", "AES256", "aws:kms", "none"} {
		s3("sse", fmt.Sprintf("sse: %q", sse))
	}
	for _, checksums := range []string{"", "auto", "CRC32C"} {
		s3("checksums", fmt.Sprintf("checksums: %q", checksums))
	}
	for field, values := range map[string][]string{
		"multipartThresholdBytes": {"0", "-1", "5242879", "5368709121", "16Mi", "1.5"},
		"multipartChunkBytes":     {"0", "-1", "5242879", "67108865"},
		"maxConnections":          {"0", "-1", "1025", "many"},
		"requestTimeout":          {"0s", "-1s", "999ms", "10m1s", "soon", `""`, "30"},
		"forcePathStyle":          {`"yes"`},
	} {
		for _, value := range values {
			s3(field, field+": "+value)
		}
	}
	for _, ref := range []string{"accessKeyRef", "secretKeyRef", "sessionTokenRef", "caBundleRef"} {
		keys := "accessKeyRef: {env: A}, secretKeyRef: {env: B}, "
		if ref != "caBundleRef" {
			keys = strings.ReplaceAll(keys, ref+": {env: A}, ", "")
			keys = strings.ReplaceAll(keys, ref+": {env: B}, ", "")
		}
		for _, value := range []string{
			"{}", "{name: a}", "{key: a}", "{name: a, key: b, env: C}", "{env: A, file: /f}", `{env: ""}`,
			"{env: " + strings.Repeat("E", 254) + "}", "{file: /" + strings.Repeat("f", 1024) + "}", "{name: a, key: " + strings.Repeat("k", 254) + "}",
		} {
			s3(ref, keys+ref+": "+value)
		}
	}
	bad["{s3: {bucket: bbb, accessKeyRef: {env: A}}}"] = "accessKeyRef and secretKeyRef must be set together"
	bad["{s3: {bucket: bbb, sessionTokenRef: {env: A}}}"] = "sessionTokenRef requires accessKeyRef and secretKeyRef"
	for _, rest := range []string{"interval: 4s", "interval: 25h", "interval: often", "timeout: 999ms", "timeout: 6m", "failureThreshold: 0", "failureThreshold: 21"} {
		field, _, _ := strings.Cut(rest, ":")
		bad["{s3: {bucket: bbb}, probe: {"+rest+"}}"] = "spec.probe." + field
	}
	for _, both := range []string{"interval: 10s", "timeout: 61s", "interval: 10s, timeout: 11s"} {
		bad["{s3: {bucket: bbb}, probe: {"+both+"}}"] = "timeout must not be longer than interval; the defaults are 15s and 1m"
	}
	for _, rest := range []string{"interval: 1d", "interval: -5s", "timeout: '1'", "interval: 9999999h", "timeout: 1m 30s", "timeout: 1us"} {
		bad["{s3: {bucket: bbb}, probe: {"+rest+"}}"] = "must be a duration such as 30s or 5m"
	}
	verification := func(field, rest string) {
		bad["{local: {path: a}, verification: {schedule: 0 3 * * *, "+rest+"}}"] = "spec.verification." + field
	}
	for _, schedule := range []string{`""`, "0 3 * *", "0 3 * * * *", "'0  3 * * *'", "'@daily'", "0 3 H * *", "H/15 3 * * *", "H 99 * * *", "H(0-60) 3 * * *", "0 3 0 * *", "0 3 * 13 *", "0 3 * * 7", "'" + strings.Repeat("1,", 60) + "1 3 * * *'", "daily"} {
		bad["{local: {path: a}, verification: {schedule: "+schedule+"}}"] = "spec.verification.schedule"
	}
	bad["{local: {path: a}, verification: {mode: Full}}"] = "schedule"
	for field, values := range map[string][]string{
		"timeZone":      {`""`, "Local", "Europe/", "'Europe/Ber lin'", "../etc/passwd", strings.Repeat("Z", 65)},
		"mode":          {`""`, "full", "Half"},
		"rollingPeriod": {"0s", "59m", "87601h", "often", `""`, "30"},
		"concurrency":   {"0", "-1", "65", "many"},
		"bandwidth":     {"0", "65535", "63Ki", "-1Mi", "fast", `""`},
		"deadline":      {"0s", "59s", "169h", "late", `""`},
		"suspend":       {`"yes"`},
	} {
		for _, value := range values {
			verification(field, field+": "+value)
		}
	}
	verification("resources.requests", "resources: {requests: {nvidia.com/gpu: 1}}")
	verification("resources.limits", "resources: {limits: {hugepages-2Mi: 1Gi}}")
	verification("resources.limits.memory", "resources: {limits: {memory: much}}")
	bad["{s3: {bucket: bbb}, access: WriteOnly}"] = "spec.access"
	bad[`{local: {path: ""}}`] = "spec.local.path"
	bad["{local: {path: a/../b}}"] = "spec.local.path"
	bad["{local: {path: /"+strings.Repeat("p", 1024)+"}}"] = "spec.local.path"

	n := 0
	for spec, field := range bad {
		n++
		err := c.Create(t.Context(), object(t, ns, "StorageBackend", fmt.Sprintf("bad-%d", n), spec))
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), field) {
			t.Errorf("%.200s: the API server says %.300v; want an Invalid that names %s", spec, err, field)
		}
		said := inFiles(spec)
		if said == nil || !strings.Contains(said.Error(), field) {
			t.Errorf("%.200s: of a file is said %.300v; want an error that names %s", spec, said, field)
		} else if strings.Contains(said.Error(), "user:pass") {
			t.Errorf("%.200s: the error holds a password", spec)
		}
		if api, file := causes(err), fileCauses(said); !slices.Equal(api, file) {
			t.Errorf("%.200s: the API server says %q, a file %q", spec, api, file)
		}
	}
	for i, spec := range []string{
		"{s3: {bucket: b.b_b, endpointURL: 'http://[::1]:65535/', keyPrefix: a/b.c, storageClass: A, storageClasses: {hot: B, cold: C}}}",
		"{s3: {bucket: bbb}, probe: {interval: 15s}}",
		"{s3: {bucket: bbb}, probe: {interval: 10s, timeout: 10s}}",
		"{s3: {bucket: bbb, region: null, sse: null, checksums: WhenSupported, requestTimeout: 1s, maxConnections: 1, forcePathStyle: false}}",
	} {
		if err := c.Create(t.Context(), object(t, ns, "StorageBackend", fmt.Sprintf("good-%d", i), spec)); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if err := inFiles(spec); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
