package declared

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// aDuration is what the schema asks of a duration: hours and minutes, then
// seconds or milliseconds, none so large that it has no number.
const aDuration = `^([0-9]{1,5}([.][0-9]+)?[hm]|[0-9]{1,9}([.][0-9]+)?m?s){1,3}$`

// TestSchemaIsWhatFilesFollow compares the generated schema with what also
// stands in Go: the defaults, and what the driver and the parser of schedules
// ask for themselves. The bounds that the schema alone has are written out.
func TestSchemaIsWhatFilesFollow(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "artifactstore.dev_storagebackends.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(content, &crd); err != nil {
		t.Fatal(err)
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties
	fields, probe := spec["s3"].Properties, spec["probe"].Properties
	is := func(what string, got, want any) {
		t.Helper()
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("%s: the schema says %s, Go %s", what, a, b)
		}
	}
	text := func(what string, f apiextensionsv1.JSONSchemaProps, pattern string, most int64) {
		t.Helper()
		is(what+" rule", f.XValidations[0].Rule, "self.matches(r'"+pattern+"')")
		is(what+" maxLength", f.MaxLength, most)
	}
	number := func(what string, f apiextensionsv1.JSONSchemaProps, standard, least, most int64) {
		t.Helper()
		is(what+" default", f.Default, standard)
		is(what+" minimum", f.Minimum, least)
		is(what+" maximum", f.Maximum, most)
	}
	period := func(what string, f apiextensionsv1.JSONSchemaProps, standard, least, most time.Duration) {
		t.Helper()
		var declared v1alpha1.ProbeSpec
		if err := json.Unmarshal([]byte(`{"interval":`+string(f.Default.Raw)+`}`), &declared); err != nil {
			t.Fatal(err)
		}
		is(what+" default", declared.Interval.Duration, standard)
		form := "self.matches(r'" + aDuration + "')"
		is(what+" form", f.XValidations[0].Rule, form)
		is(what+" maxLength", f.MaxLength, 32)
		is(what+" rule", f.XValidations[1].Rule, fmt.Sprintf("!%s || duration(self) >= duration('%s') && duration(self) <= duration('%s')", form, short(least), short(most)))
	}
	is("endpointURL maxLength", fields["endpointURL"].MaxLength, s3.MaxEndpoint)
	const saidApart = "self.contains('@') || self.matches('[?#]') || self.matches('^https?://[^/?#]+/[^?#]') || "
	is("endpointURL rule", fields["endpointURL"].XValidations[3].Rule, saidApart+"self.matches(r'"+s3.EndpointPattern+"')")
	text("region", fields["region"], s3.RegionPattern, s3.MaxRegion)
	is("region default", fields["region"].Default, s3.DefaultRegion)
	is("bucket rule", fields["bucket"].XValidations[0].Rule, "self.matches(r'"+s3.BucketPattern+"') && !self.contains('..')")
	is("bucket maxLength", fields["bucket"].MaxLength, s3.MaxBucket)
	is("bucket minLength", fields["bucket"].MinLength, s3.MinBucket)
	text("keyPrefix", fields["keyPrefix"], s3.KeyPrefixPattern, s3.MaxKeyPrefix)
	text("storageClass", fields["storageClass"], s3.StorageClassPattern, s3.MaxStorageClass)
	for tier, field := range fields["storageClasses"].Properties {
		text("storageClasses."+tier, field, s3.StorageClassPattern, s3.MaxStorageClass)
	}
	number("multipartThresholdBytes", fields["multipartThresholdBytes"], s3.DefaultMultipartThresholdBytes, s3.MinMultipartThresholdBytes, s3.MaxMultipartThresholdBytes)
	number("multipartChunkBytes", fields["multipartChunkBytes"], s3.DefaultMultipartChunkBytes, s3.MinMultipartChunkBytes, s3.MaxMultipartChunkBytes)
	number("maxConnections", fields["maxConnections"], s3.DefaultMaxConnections, 1, s3.MaxMaxConnections)
	period("requestTimeout", fields["requestTimeout"], s3.DefaultRequestTimeout, s3.MinRequestTimeout, s3.MaxRequestTimeout)
	for _, mode := range fields["sse"].Enum {
		var word string
		if err := json.Unmarshal(mode.Raw, &word); err != nil {
			t.Fatal(err)
		}
		if err := new(s3.SSE).UnmarshalText([]byte(word)); err != nil {
			t.Errorf("Go knows no sse %s", word)
		}
	}
	is("sse", len(fields["sse"].Enum), 2)
	period("interval", probe["interval"], DefaultInterval, 5*time.Second, 24*time.Hour)
	period("timeout", probe["timeout"], DefaultTimeout, time.Second, MaxProbeTimeout)
	number("failureThreshold", probe["failureThreshold"], DefaultFailureThreshold, 1, 20)
	verification := spec["verification"].Properties
	is("schedule rule", verification["schedule"].XValidations[0].Rule, "self.matches(r'"+scheduleShape.String()+"')")
	is("schedule minLength", verification["schedule"].MinLength, minSchedule)
	is("schedule maxLength", verification["schedule"].MaxLength, maxSchedule)
	is("timeZone default", verification["timeZone"].Default, defaultTimeZone)
	period("rollingPeriod", verification["rollingPeriod"], defaultRollingPeriod, time.Hour, 87600*time.Hour)
	number("concurrency", verification["concurrency"], DefaultVerificationConcurrency, 1, 64)
	period("deadline", verification["deadline"], DefaultDeadline, time.Minute, 168*time.Hour)
	is("requests default", verification["resources"].Properties["requests"].Default, DefaultRequests)
	is("limits default", verification["resources"].Properties["limits"].Default, DefaultLimits)
	is("path", spec["local"].Properties["path"].MaxLength, 1024)
	for name, most := range map[string]int{"name": 253, "key": 253, "env": 253, "file": 1024} {
		is("reference "+name, fields["caBundleRef"].Properties[name].MaxLength, most)
	}
}

// short spells a duration as the schema does: 10m, not 10m0s.
func short(d time.Duration) string {
	return strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(d.String())
}
